//! `effgan report`

use std::path::PathBuf;

use clap::Args;

use crate::output::say;
use effgan_run::failure::{Failure, Result};
use effgan_run::report;

/// Make a run's report.html again from its folder
#[derive(Args)]
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
