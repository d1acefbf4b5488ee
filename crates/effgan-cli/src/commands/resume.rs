//! `effgan resume`

use std::path::PathBuf;

use clap::Args;
use effgan_nn::DeviceName;
use effgan_run::failure::Result;
use effgan_run::pipeline::{self, Execution};

use super::devices::device_setting;
use super::interrupt::{stop_flag, with_resume_hint};
use crate::terminal;

/// Resume a run that was interrupted, killed or failed, or extend it by more rounds
///
/// The run continues from its checkpoints, and its model and metrics are bit-identical to those of an uninterrupted run.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan resume runs/quickstart
  effgan resume runs/quickstart --set algorithm.rounds=6")]
pub(super) struct Resume {
    /// The run folder
    run_dir: PathBuf,
    /// Override a value that may change, such as the total number of rounds; repeatable
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Threads, shared by the clients that train at the same time; no result depends on them [default: all cores; on a GPU one client at a time]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// What trains, samples and scores from here on: cpu, auto, or a GPU as `effgan devices` lists it, such as gpu:0 [default: that of the run]
    #[arg(long)]
    device: Option<DeviceName>,
    /// Print JSON lines, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub(super) fn run(self) -> Result<()> {
        let jobs = self.jobs.map(usize::from);
        let progress = terminal::progress(self.json);
        let stop = stop_flag()?;
        let execution = Execution::new(jobs, &progress, &stop);
        let mut settings = self.settings;
        settings.extend(self.device.map(device_setting));
        let outcome = pipeline::resume(&self.run_dir, &settings, execution);
        with_resume_hint(outcome, &self.run_dir)
    }
}
