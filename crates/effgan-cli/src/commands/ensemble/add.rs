//! `effgan ensemble add`

use std::path::PathBuf;

use clap::Args;
use effgan_run::failure::Result;
use effgan_run::pipeline::{self, Execution};

use crate::commands::interrupt::stop_flag;
use crate::output::say;
use crate::terminal;

/// At the server: add the site's generator to the ensemble of a federation's run
#[derive(Args)]
#[command(after_help = "Examples:
  effgan ensemble add runs/first north.generator
  effgan ensemble add runs/first north.generator --jobs 4")]
pub(crate) struct Add {
    /// The run folder
    run_dir: PathBuf,
    /// The file that `effgan ensemble fine-tune` made at the site
    file: PathBuf,
    /// Threads; no result depends on them [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Add {
    pub(super) fn run(self) -> Result<()> {
        let jobs = self.jobs.map(usize::from);
        let (progress, stop) = (terminal::progress(false), stop_flag()?);
        let name = pipeline::add_late_member(&self.run_dir, &self.file, Execution::new(jobs, &progress, &stop))?;
        say(format!("{name} is in the ensemble"));
        Ok(())
    }
}
