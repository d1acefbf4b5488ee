//! `effgan ensemble`

mod add;
mod fine_tune;

use clap::Subcommand;
use effgan_run::failure::Result;

/// Add to the ensemble the generator of a site that missed the collection of generators
#[derive(Subcommand)]
#[command(after_help = "Examples:
  effgan ensemble fine-tune join --client north --data images --site kits/north --out north.generator
  effgan ensemble add runs/first north.generator")]
pub(super) enum Ensemble {
    FineTune(fine_tune::FineTune),
    Add(add::Add),
}

impl Ensemble {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::FineTune(fine_tune) => fine_tune.run(),
            Self::Add(add) => add.run(),
        }
    }
}
