//! `effgan run`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::terminal;
use effgan_run::config::Config;
use effgan_run::failure::{Failure, Kind, Result};
use effgan_run::pipeline;
use effgan_run::record::machine;

/// Train as a config says, into a new run folder
#[derive(Args)]
pub(super) struct Run {
    /// The experiment
    config: PathBuf,
    /// Replace a value of the config; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// The run folder, which must not exist [default: runs/ and the name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads, shared out among the clients at work; changes no result [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Replace the config's seed
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// JSON lines on standard output, and nothing else there
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(self) -> Result<()> {
        let mut settings = self.settings;
        settings.extend(self.seed.map(|seed| format!("seed={seed}")));
        let config = Config::load(&self.config, &settings)?;
        let out = self.out.unwrap_or_else(|| PathBuf::from("runs").join(&config.name));
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let progress = terminal::progress(self.json);
        let outcome = pipeline::run(&config, &out, jobs, &progress, &*interrupt()?);
        with_the_way_on(outcome, &out)
    }
}

/// Says how a run that was interrupted goes on.
pub(super) fn with_the_way_on(outcome: Result<()>, dir: &Path) -> Result<()> {
    outcome.map_err(|failure| match failure.kind() {
        Kind::Interrupted => Failure::interrupted(anyhow!("interrupted; effgan resume {} goes on", dir.display())),
        _ => failure,
    })
}

/// Becomes true at Ctrl-C or SIGTERM, and the run ends after the step at hand; a second one ends the program at once.
pub(super) fn interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag set by the first.
        flag::register_conditional_shutdown(signal, Kind::Interrupted as i32, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("listening for Ctrl-C")?;
    }
    Ok(stop)
}
