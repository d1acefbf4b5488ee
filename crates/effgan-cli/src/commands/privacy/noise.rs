//! `effgan privacy noise`

use clap::Args;
use effgan_privacy::{SampledGaussian, noise_multiplier};
use effgan_run::failure::{Failure, Result};

use super::cost::{Cost, Training};

/// Find the least noise with which private training costs at most a given epsilon
#[derive(Args)]
#[command(after_help = "Examples:
  effgan privacy noise --target-epsilon 10 --sample-rate 0.04 --steps 2250 --delta 1e-5
  effgan privacy noise --target-epsilon 1 --sample-rate 0.0085 --steps 31000 --delta 1e-5 --json")]
pub(crate) struct Noise {
    /// The largest epsilon that the training may cost
    #[arg(long, value_name = "EPSILON")]
    target_epsilon: f64,
    #[command(flatten)]
    training: Training,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Noise {
    pub(super) fn run(self) -> Result<()> {
        let Training { sample_rate, steps, delta } = self.training;
        let sigma = noise_multiplier(self.target_epsilon, delta, sample_rate, steps).map_err(Failure::usage)?;
        let mechanism = SampledGaussian::new(sigma, sample_rate).map_err(Failure::usage)?;
        Cost::of(mechanism, &self.training)?.print(self.json);
        Ok(())
    }
}
