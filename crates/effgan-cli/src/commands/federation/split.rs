//! `effgan federation split`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use effgan_data::{ClientName, Partition};

use crate::output::say;
use effgan_run::config::Config;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::{self, POLICY, SiteImages, SiteSettings};
use effgan_run::record::run_dir::check_new_file;

use super::write_private;

/// At a site: write which images train under a config and which its secret holds out, as a partition file
///
/// Whoever has the file knows the hold-out: it is for the site itself, and for experiments that compare a federation with a simulation
/// ([partition] kind = "file").
#[derive(Args)]
pub(crate) struct Split {
    /// The config of the run
    config: PathBuf,
    /// The site's kit
    #[arg(long, value_name = "DIR", default_value = ".")]
    site: PathBuf,
    /// What the images are called in the file
    #[arg(long, value_name = "NAME", required_unless_present = "partition_id")]
    client: Option<String>,
    /// The folder of the site's images
    #[arg(long, value_name = "DIR", required_unless_present = "partition_id")]
    data: Option<PathBuf>,
    /// For experiments: what the config deals to the client with this number, from 0
    #[arg(long, conflicts_with = "client", value_name = "N")]
    partition_id: Option<usize>,
    /// The file to make
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Split {
    pub(crate) fn run(self) -> Result<()> {
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

/// The images of a site as a command line names them.
///
/// # Errors
/// A name that cannot be a client's.
pub(crate) fn site_images(
    client: Option<String>,
    data_dir: Option<PathBuf>,
    partition_id: Option<usize>,
) -> Result<SiteImages> {
    match (client, data_dir, partition_id) {
        (Some(client), Some(data_dir), None) => {
            let client = ClientName::new(client).map_err(|error| Failure::usage(anyhow!("--client: {error}")))?;
            Ok(SiteImages::Own { data_dir, client })
        }
        (_, data_dir, partition_id) => {
            Ok(SiteImages::Assigned { partition_id: partition_id.unwrap_or_default(), data_dir })
        }
    }
}
