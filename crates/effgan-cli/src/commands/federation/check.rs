//! `effgan federation check`

use std::path::PathBuf;

use clap::Args;
use effgan_data::DatasetName;
use effgan_run::failure::Result;

use crate::setup::{self, Target};

/// Check a site or the server, and report the first thing that is wrong
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation check kits/north --data images
  effgan federation check federation/server")]
pub(crate) struct Check {
    /// The site's kit, or the server folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// At a site: the folder of its images
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// At a site: what the images are, as `dataset.name` in the config
    #[arg(long, default_value = "folder", value_name = "NAME")]
    dataset: DatasetName,
    /// At a site: the config of a planned run [default: what the last run in the ledger asked for]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> Result<()> {
        let Self { folder, data, dataset, config } = self;
        setup::check(&Target { folder, data: data.map(|data| (data, dataset)), config })
    }
}
