//! `effgan federation split`

use std::path::PathBuf;

use clap::Args;
use effgan_data::Partition;
use effgan_run::config::Config;
use effgan_run::failure::Result;
use effgan_run::protocol::{self, POLICY, SiteSettings};
use effgan_run::record::run_dir::check_new_file;

use super::write_private;
use crate::commands::site_images::site_images;
use crate::output::say;

/// At a site: write a partition file of the images that train and those that are held out
///
/// The file reveals the hold-out: it is for the site itself, and for experiments that compare a federation with a simulation
/// ([partition] kind = "file").
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation split federation.toml --site kits/north --client north --data images --out split.json
  effgan federation split configs/quickstart.toml --site kits/north --partition-id 0 --out split.json")]
pub(crate) struct Split {
    /// The config file of the run
    config: PathBuf,
    /// The site's kit
    #[arg(long, value_name = "DIR", default_value = ".")]
    site: PathBuf,
    /// Name of the client in the file
    #[arg(long, value_name = "NAME", required_unless_present = "partition_id")]
    client: Option<String>,
    /// The folder of the site's images
    #[arg(long, value_name = "DIR", required_unless_present = "partition_id")]
    data: Option<PathBuf>,
    /// For experiments: use the images that the config assigns to client number N, counted from 0
    #[arg(long, conflicts_with = "client", value_name = "N")]
    partition_id: Option<usize>,
    /// The partition file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Split {
    pub(super) fn run(self) -> Result<()> {
        check_new_file(&self.out)?;
        let config = Config::load(&self.config, &[])?;
        let images = site_images(self.client, self.data, self.partition_id)?;
        let policy = Some(self.site.join(POLICY));
        let settings = SiteSettings { images, state_dir: self.site.join("state"), policy, jobs: 1 };
        let share = protocol::split(&settings, config)?;
        let (train, held_out) = (share.train.len(), share.held_out.len());
        let json = serde_json::to_vec(&Partition { clients: vec![share] }).expect("a partition is plain data");
        write_private(&self.out, |out| Ok(out.write_all(&json)?))?;
        say(format!("{}: {train} images train, {held_out} are held out", self.out.display()));
        Ok(())
    }
}
