//! `effgan resume`

use std::path::PathBuf;

use clap::Args;

use super::run::{interrupt, with_the_way_on};
use crate::terminal;
use effgan_run::failure::Result;
use effgan_run::pipeline;
use effgan_run::record::machine;

/// Go on with a run that was interrupted, killed or failed, or give it more rounds
///
/// It goes on from its checkpoints and ends as it would have in one go: the same model, the same metrics.
#[derive(Args)]
pub(super) struct Resume {
    /// The run folder
    run_dir: PathBuf,
    /// Change what may change, such as the total of rounds; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Threads, shared out among the clients at work; changes no result [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// JSON lines on standard output, and nothing else there
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub(super) fn run(self) -> Result<()> {
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let progress = terminal::progress(self.json);
        let outcome = pipeline::resume(&self.run_dir, &self.settings, jobs, &progress, &*interrupt()?);
        with_the_way_on(outcome, &self.run_dir)
    }
}
