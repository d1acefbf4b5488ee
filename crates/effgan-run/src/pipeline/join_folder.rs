//! The folder `join/` of a run: what a site needs that missed the collection.

use effgan_nn::file::{make_private_folder, write_private_file};
use effgan_nn::{Params, checkpoint};

use crate::config::Config;
use crate::protocol::{JOIN_CONFIG, NETWORKS};
use crate::record::run_dir::RunDir;

/// Saves both networks of the last averaged round, and the config as sites get it. Where discriminators stay at the clients, the one saved
/// here is the one they started from.
pub(super) fn save(dir: &RunDir, config: &Config, params: &Params) -> anyhow::Result<()> {
    make_private_folder(&dir.join("join"))?;
    write_private_file(&dir.join("join").join(JOIN_CONFIG), config.for_sites().to_toml().as_bytes())?;
    for network in NETWORKS {
        let bytes = checkpoint::to_bytes(&params.under(network));
        write_private_file(&dir.join(format!("join/{network}.safetensors")), &bytes)?;
    }
    Ok(())
}
