//! `effgan bench`: one file per measurement.

mod average;
mod frechet;
mod kind;
mod mark;
mod peak_memory;
mod read;
mod sample;
mod scores;
mod train_step;

use std::fmt::Display;

use clap::Subcommand;
use effgan_run::failure::Result;
use serde::Serialize;

use crate::output::say;

/// The `engine` of a result, to tell it from those of other programs.
const ENGINE: &str = concat!("effgan ", env!("CARGO_PKG_VERSION"));

/// Measure the speed of this machine at training, sampling, scoring, averaging and reading pictures
#[derive(Subcommand)]
#[command(after_help = "Examples:
  effgan bench train-step
  effgan bench sample --json")]
pub(super) enum Bench {
    TrainStep(train_step::TrainStep),
    Sample(sample::Sample),
    Frechet(frechet::Frechet),
    Scores(scores::Scores),
    Average(average::Average),
    Read(read::Read),
}

impl Bench {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::TrainStep(bench) => bench.run(),
            Self::Sample(bench) => bench.run(),
            Self::Frechet(bench) => bench.run(),
            Self::Scores(bench) => bench.run(),
            Self::Average(bench) => bench.run(),
            Self::Read(bench) => bench.run(),
        }
    }
}

/// Prints one result: as text, or as one JSON object.
fn print_result(result: &(impl Display + Serialize), json: bool) {
    if json {
        say(serde_json::to_string(result).expect("plain data"));
    } else {
        say(result);
    }
}
