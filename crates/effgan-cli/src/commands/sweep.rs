//! `effgan sweep`

use std::path::PathBuf;

use clap::Args;

use super::run::interrupt;
use crate::output::say;
use effgan_run::failure::Result;
use effgan_run::record::machine;
use effgan_run::sweep;

/// Run a grid of configs and seeds, and make one table and figures of it
///
/// Each cell is a run folder; cells that are done are not run again, so the same command goes on where it was stopped.
/// Cells that share rounds share their computation.
#[derive(Args)]
pub(super) struct Sweep {
    /// What is varied
    #[arg(value_name = "SWEEP")]
    file: PathBuf,
    /// Replace a value of the config in all cells; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// The folder for the cells, the table and the figures [default: sweeps/ and the name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads, shared out among the cells at work; changes no result [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// The table as JSON on standard output, and nothing else there
    #[arg(long)]
    json: bool,
}

impl Sweep {
    pub(super) fn run(self) -> Result<()> {
        let swept = sweep::Sweep::load(&self.file, &self.settings)?;
        let out = self.out.unwrap_or_else(|| PathBuf::from("sweeps").join(&swept.name));
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let tell = |line: &str| if self.json { eprintln!("{line}") } else { say(line) };
        let written = sweep::run(&swept, &out, jobs, &*interrupt()?, &tell)?;
        if self.json {
            crate::output::write(&std::fs::read(out.join("table.json")).unwrap_or_default());
            return Ok(());
        }
        say("");
        crate::output::write(&std::fs::read(out.join("table.md")).unwrap_or_default());
        say("");
        for path in written {
            say(path.display());
        }
        Ok(())
    }
}
