//! `effgan data`

mod check;
mod fetch;
mod list;

use clap::Subcommand;
use effgan_run::failure::Result;

/// List, fetch and check data sets
#[derive(Subcommand)]
#[command(after_help = "Examples:
  effgan data list
  effgan data fetch fashion-mnist")]
pub(super) enum Data {
    List(list::List),
    Fetch(fetch::Fetch),
    Check(check::Check),
}

impl Data {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::List(list) => list.run(),
            Self::Fetch(fetch) => fetch.run(),
            Self::Check(check) => check.run(),
        }
    }
}

/// A size such as `1.6 kB` or `11.5 MB`.
fn megabytes(bytes: u64) -> String {
    if bytes < 100_000 { format!("{:.1} kB", bytes as f64 / 1e3) } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}
