//! `effgan federation join` and `check`: what a site's people run.

use std::path::PathBuf;

use clap::Args;
use effgan_data::DatasetName;

use crate::output::say;
use crate::setup::{self, Joined, Side};
use effgan_run::failure::Result;

/// At a site: make its key, and print what the server's operator is to be sent and told
#[derive(Args)]
pub(crate) struct Join {
    /// The kit that the server's operator sent
    #[arg(default_value = ".")]
    kit: PathBuf,
}

/// Say whether all is right at a site or at the server, or in one line what is not
#[derive(Args)]
pub(crate) struct Check {
    /// The site's kit, or the server's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// At a site: the folder of its images
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What the images are, as dataset.name of the config
    #[arg(long, default_value = "folder", value_name = "NAME")]
    dataset: DatasetName,
    /// At a site: a config that the server's operator is going to run [default: what was asked last]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Join {
    pub(crate) fn run(self) -> Result<()> {
        let Joined { key, fingerprint } = setup::join(&self.kit)?;
        say(key);
        eprintln!("send this line to the server's operator, who runs effgan federation admit with it");
        eprintln!("and read them its fingerprint by telephone, all of it:\n  {fingerprint}");
        Ok(())
    }
}

impl Check {
    pub(crate) fn run(self) -> Result<()> {
        let Self { folder, data, dataset, config } = self;
        setup::check(&Side { folder, data: data.map(|data| (data, dataset)), config })
    }
}
