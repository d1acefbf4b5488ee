//! `effgan run`

use std::path::PathBuf;

use clap::Args;
use effgan_nn::DeviceName;
use effgan_run::config::Config;
use effgan_run::failure::Result;
use effgan_run::pipeline::{self, Execution};

use super::devices::device_setting;
use super::interrupt::{stop_flag, with_resume_hint};
use crate::terminal;

/// Train from a config file, into a new run folder
#[derive(Args)]
#[command(after_help = "Examples:
  effgan run configs/quickstart.toml
  effgan run configs/quickstart.toml --set algorithm.rounds=6 --seed 2 --out runs/seed-2")]
pub(super) struct Run {
    /// The config file
    config: PathBuf,
    /// Override a value of the config; repeatable
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// The run folder, which must not exist [default: runs/NAME, with the config's `name`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads, shared by the clients that train at the same time; no result depends on them [default: all cores; on a GPU one client at a time]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// What trains, samples and scores: cpu, auto, or a GPU as `effgan devices` lists it, such as gpu:0 [default: run.device of the config, cpu]
    #[arg(long)]
    device: Option<DeviceName>,
    /// Override the config's seed
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// Print JSON lines, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(self) -> Result<()> {
        let mut settings = self.settings;
        settings.extend(self.seed.map(|seed| format!("seed={seed}")));
        settings.extend(self.device.map(device_setting));
        let config = Config::load_for(&self.config, &settings, Config::check_simulated)?;
        let out = self.out.unwrap_or_else(|| PathBuf::from("runs").join(&config.name));
        let jobs = self.jobs.map(usize::from);
        let progress = terminal::progress(self.json);
        let stop = stop_flag()?;
        let outcome = pipeline::run(&config, &out, Execution::new(jobs, &progress, &stop).of_file(&self.config));
        with_resume_hint(outcome, &out)
    }
}
