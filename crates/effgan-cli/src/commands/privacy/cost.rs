//! What a training costs, as `epsilon` and `noise` print it.

use std::fmt::{self, Display, Formatter};

use clap::Args;
use effgan_privacy::{Accountant, Composition, SampledGaussian, epsilon};
use effgan_run::failure::{Failure, Result};
use effgan_run::units::counted;
use serde::Serialize;

use crate::output::say;

/// A training, but for its noise.
#[derive(Args)]
pub(super) struct Training {
    /// Probability with which a step takes a record: the expected batch over the number of records
    #[arg(long, value_name = "Q")]
    pub(super) sample_rate: f64,
    /// Number of steps in which real images are used
    #[arg(long, value_name = "N")]
    pub(super) steps: u64,
    /// Probability with which the bound may fail; less than one over the number of records
    #[arg(long)]
    pub(super) delta: f64,
}

/// ε by both accountants, and what it is of.
#[derive(Serialize)]
pub(super) struct Cost {
    epsilon: f64,
    delta: f64,
    /// The accountant whose ε is the smaller one.
    accountant: &'static str,
    rdp: f64,
    pld: f64,
    noise_multiplier: f64,
    sample_rate: f64,
    steps: u64,
    /// What ε is of.
    unit: &'static str,
    /// How records must be drawn for it to hold.
    sampling: &'static str,
}

impl Cost {
    pub(super) fn of(mechanism: SampledGaussian, training: &Training) -> Result<Self> {
        let composition = Composition::of(mechanism, training.steps).map_err(Failure::usage)?;
        let by = |accountant: Accountant| accountant.epsilon(&composition, training.delta).map_err(Failure::usage);
        let smaller = epsilon(&composition, training.delta).map_err(Failure::usage)?;
        Ok(Self {
            epsilon: smaller.value,
            delta: training.delta,
            accountant: smaller.accountant.name(),
            rdp: by(Accountant::Rdp)?,
            pld: by(Accountant::Pld)?,
            noise_multiplier: mechanism.noise_multiplier(),
            sample_rate: mechanism.sample_rate(),
            steps: training.steps,
            unit: "one record added or removed",
            sampling: "poisson",
        })
    }

    /// As text, or as one JSON object.
    pub(super) fn print(&self, json: bool) {
        if json {
            say(serde_json::to_string(self).expect("a cost is plain data"));
        } else {
            say(self);
        }
    }
}

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { delta, accountant, noise_multiplier, sample_rate, unit, .. } = self;
        writeln!(f, "epsilon {} at delta {delta:?}, by {accountant}, for {unit}", rounded_up(self.epsilon))?;
        for (name, epsilon) in [("rdp", self.rdp), ("pld", self.pld)] {
            let mark = if name == *accountant { "  counts, as the smaller one" } else { "" };
            writeln!(f, "  by {name}: {}{mark}", rounded_up(epsilon))?;
        }
        let steps = counted(self.steps, "step");
        writeln!(f, "noise multiplier {noise_multiplier:?}, {steps} at sample rate {sample_rate:?}")?;
        f.write_str(
            "assumes Poisson sampling: whether a step takes a record is drawn in secret, for each record by itself",
        )
    }
}

/// ε with five decimals, none of which is too small.
fn rounded_up(epsilon: f64) -> String {
    format!("{:.5}", (epsilon * 1e5).ceil() / 1e5)
}
