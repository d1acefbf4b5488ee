//! `effgan privacy epsilon`

use clap::Args;
use effgan_privacy::SampledGaussian;
use effgan_run::failure::{Failure, Result};

use super::cost::{Cost, Training};

/// Say what epsilon private training costs
///
/// Two accountants bound it, and the smaller number counts: rdp (Renyi differential privacy, the numbers of Opacus) and pld (privacy loss
/// distributions, nearly exact).
#[derive(Args)]
#[command(after_help = "Examples:
  effgan privacy epsilon --noise-multiplier 1.5 --sample-rate 0.04 --steps 2250 --delta 1e-5
  effgan privacy epsilon --noise-multiplier 1 --sample-rate 0.0085 --steps 31000 --delta 1e-5 --json")]
pub(crate) struct Epsilon {
    /// Deviation of the noise in units of the clipping norm, from 0.05
    #[arg(long, value_name = "SIGMA")]
    noise_multiplier: f64,
    #[command(flatten)]
    training: Training,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Epsilon {
    pub(super) fn run(self) -> Result<()> {
        let mechanism =
            SampledGaussian::new(self.noise_multiplier, self.training.sample_rate).map_err(Failure::usage)?;
        Cost::of(mechanism, &self.training)?.print(self.json);
        Ok(())
    }
}
