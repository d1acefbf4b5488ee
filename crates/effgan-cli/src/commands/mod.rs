//! The command line: one file a verb.

mod bench;
mod features;
mod partition;
mod report;
mod run;
mod sample;

pub use sample::selection;

use clap::{Parser, Subcommand};

use crate::failure::{EXIT_CODES, Result};
use crate::output::say;

/// Learn one image generator from data that cannot leave its owners, and sample from it in one place.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: effgan help exit-codes")]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Run),
    Sample(sample::Sample),
    Partition(partition::Partition),
    #[command(subcommand)]
    Features(features::Features),
    Report(report::Report),
    #[command(subcommand)]
    Bench(bench::Bench),
    /// What the exit codes mean
    #[command(hide = true, long_about = EXIT_CODES)]
    ExitCodes,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What went wrong, with its exit code.
    pub fn run(self) -> Result<()> {
        match self.verb {
            Verb::Run(run) => run.run(),
            Verb::Sample(sample) => sample.run(),
            Verb::Partition(partition) => partition.run(),
            Verb::Features(features) => features.run(),
            Verb::Report(report) => report.run(),
            Verb::Bench(bench) => bench.run(),
            Verb::ExitCodes => {
                say(EXIT_CODES);
                Ok(())
            }
        }
    }
}
