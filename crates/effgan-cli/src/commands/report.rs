//! `effgan report`

use std::path::PathBuf;

use clap::Args;
use effgan_run::failure::{Failure, Result};
use effgan_run::report;

use crate::output::say;

/// Rebuild report.html, the tables and the animation of a run folder
#[derive(Args)]
#[command(after_help = "Examples:
  effgan report runs/quickstart
  effgan report runs/seed-2")]
pub(super) struct Report {
    /// The run folder
    run_dir: PathBuf,
}

impl Report {
    pub(super) fn run(self) -> Result<()> {
        let page = report::write(&self.run_dir).map_err(Failure::data)?;
        say(page.display());
        Ok(())
    }
}
