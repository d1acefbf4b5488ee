//! `effgan federation run`

use std::path::PathBuf;

use clap::Args;
use effgan_run::failure::Result;

use crate::commands::interrupt::stop_flag;
use crate::setup::{self, Launch};

/// At the server: train from a config file across the sites, or resume the run in --out
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation run federation/server/federation.toml --server federation/server --out runs/first
  effgan federation run federation.toml --out runs/first")]
pub(crate) struct Run {
    /// The config file
    config: PathBuf,
    /// The run folder; a run that it holds already is resumed
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The server folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

impl Run {
    pub(super) fn run(self) -> Result<()> {
        let Self { config, out, server } = self;
        let stop = stop_flag()?;
        setup::launch(&Launch { config, out, server }, &stop)
    }
}
