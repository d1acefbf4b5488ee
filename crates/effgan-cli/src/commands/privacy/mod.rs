//! `effgan privacy`: one file per subcommand.

mod cost;
mod epsilon;
mod noise;
mod plan;

use clap::Subcommand;
use effgan_run::failure::Result;

/// Compute what differentially private training costs, before it is paid
///
/// For DP-SGD: in each step, each record takes part with a given probability, its gradient is clipped, and Gaussian noise is added to the sum.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  effgan privacy epsilon --noise-multiplier 1.5 --sample-rate 0.04 --steps 2250 --delta 1e-5
  effgan privacy noise --target-epsilon 10 --sample-rate 0.04 --steps 2250 --delta 1e-5
  effgan privacy plan configs/privacy/central.toml --images 60000")]
pub(super) enum Privacy {
    Epsilon(epsilon::Epsilon),
    Noise(noise::Noise),
    Plan(plan::Plan),
}

impl Privacy {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::Epsilon(epsilon) => epsilon.run(),
            Self::Noise(noise) => noise.run(),
            Self::Plan(plan) => plan.run(),
        }
    }
}
