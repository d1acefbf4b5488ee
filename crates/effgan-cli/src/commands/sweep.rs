//! `effgan sweep`

use std::path::PathBuf;

use clap::Args;
use effgan_data::datasets::Report;
use effgan_nn::DeviceName;
use effgan_run::failure::Result;
use effgan_run::sweep;

use super::devices::device_setting;
use super::interrupt::stop_flag;
use crate::output::{advise, say, write};
use crate::terminal::ReadingBar;

/// Run a grid of configs and seeds, and summarise it in a table and figures
///
/// Each cell of the grid is a run folder. Finished cells are not run again, so repeating the command resumes a sweep. First rounds that are
/// the same in several cells are computed once.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan sweep configs/paper/epochs.sweep.toml
  effgan sweep configs/paper/epochs.sweep.toml --set dataset.dir=data --out sweeps/epochs")]
pub(super) struct Sweep {
    /// The sweep file
    #[arg(value_name = "SWEEP")]
    file: PathBuf,
    /// Override a value of the config in all cells; repeatable
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Only the cells with these seeds: some at first, and the others later into the same folder
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// The folder for the cells, the table and the figures [default: sweeps/NAME, with the sweep's `name`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads, shared by the cells that run at the same time; no result depends on them [default: all cores; on a GPU one cell at a time]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// What trains, samples and scores all cells: cpu, auto, or a GPU as `effgan devices` lists it, such as gpu:0 [default: run.device of the config, cpu]
    #[arg(long)]
    device: Option<DeviceName>,
    /// Print the table as JSON, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl Sweep {
    pub(super) fn run(self) -> Result<()> {
        let mut settings = self.settings;
        settings.extend(self.device.map(device_setting));
        let swept = sweep::Sweep::load(&self.file, &settings, &self.seeds)?;
        let out = self.out.unwrap_or_else(|| PathBuf::from("sweeps").join(&swept.name));
        let jobs = self.jobs.map(usize::from);
        let (bar, tell) = (ReadingBar::default(), |line: &str| if self.json { advise(line) } else { say(line) });
        let report = |report: Report<'_>| bar.report(report, tell);
        let written = sweep::run(&swept, &out, jobs, &*stop_flag()?, &report)?;
        if self.json {
            write(&std::fs::read(out.join("table.json")).unwrap_or_default());
            return Ok(());
        }
        say("");
        write(&std::fs::read(out.join("table.md")).unwrap_or_default());
        say("");
        for path in written {
            say(path.display());
        }
        Ok(())
    }
}
