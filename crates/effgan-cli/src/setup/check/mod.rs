//! `effgan federation check`: whether all is right, or in one line what is not. It ends well only where a run would work.

mod files;
mod gate;
mod images;
mod server;
mod site;
mod tls;

use std::path::PathBuf;

use anyhow::anyhow;
use effgan_data::DatasetName;

use super::flower::{self, FLWR};
use super::kit::{self, SITE};
use super::server::SERVER;
use crate::output::say;
use effgan_run::failure::{Failure, Result};

/// Whose folder is checked.
#[derive(Debug)]
pub(crate) struct Side {
    /// A kit, or the server's folder.
    pub folder: PathBuf,
    /// For a site: where its images lie, and what they are where no config says it.
    pub data: Option<(PathBuf, DatasetName)>,
    /// For a site: a config that is going to be run.
    pub config: Option<PathBuf>,
}

/// Says of each thing that it is right, until one is not.
///
/// # Errors
/// The first thing that is wrong, with what to do.
pub(crate) fn check(side: &Side) -> Result<()> {
    let folder = &side.folder;
    if folder.join(SITE).is_file() {
        return site::check(side, &kit::read(folder)?);
    }
    if !folder.join(SERVER).is_file() {
        let line = format!("{} is neither a site's kit ({SITE}) nor a server's folder ({SERVER})", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    if side.data.is_some() || side.config.is_some() {
        let line = format!("{} is no site's kit, and --data and --config are for one", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    server::check(folder, &super::server::read(folder)?)
}

fn versions(wanted: &str) -> Result<()> {
    let ours = env!("CARGO_PKG_VERSION");
    if ours != wanted {
        return wrong(
            "wheel",
            &format!("effgan here is {ours}, and the federation's is {wanted}; install the wheel of {wanted}"),
        );
    }
    let flwr = flower::version()?;
    if !flower::is_tested(&flwr) {
        return wrong(
            "wheel",
            &format!("flwr here is {flwr}, which effgan was not tested with; pip install \"{FLWR}\""),
        );
    }
    right("wheel", &format!("effgan {ours}, flwr {flwr}"));
    Ok(())
}

fn right(what: &str, said: &str) {
    say(format!("{what:<12} ok: {said}"));
}

fn wrong<T>(what: &str, why: &str) -> Result<T> {
    Err(Failure::from(anyhow!("{what}: {why}")))
}
