//! `FedProx` (Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith 2020, arXiv:1812.06127): `fedgan` whose clients are pulled
//! back to what they were sent.
//!
//! A client minimises its loss plus μ/2 ‖w − w₀‖² over the trainable parameters of both networks, where w₀ is the
//! broadcast: each gradient has μ (w − w₀) added to it before Adam. μ = 0 is `fedgan`.

use serde::{Deserialize, Serialize};

use super::everyone;
use super::fedgan::{FedGan, FedGanConfig};
use crate::aggregate::{Rule, Weights};
use crate::local::LocalTraining;
use crate::{FlError, Result};

/// Settings of `fedprox`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FedProxConfig {
    /// Rounds of averaging, ≥ 1.
    pub rounds: u32,
    /// Pull towards the broadcast parameters, ≥ 0; the paper tries 0.001 to 1.
    pub mu: f64,
    /// Share of the clients that take part in a round, above 0 and at most 1.
    #[serde(default = "everyone")]
    pub cohort: f64,
    /// How clients count in the average.
    #[serde(default)]
    pub weights: Weights,
}

impl FedProxConfig {
    pub(super) fn build(&self, mut training: LocalTraining, rule: Rule) -> Result<FedGan> {
        if !(self.mu >= 0.0 && self.mu.is_finite()) {
            return Err(FlError::Config(format!("algorithm.mu = {} must be at least 0", self.mu)));
        }
        let averaging = FedGanConfig { rounds: self.rounds, cohort: self.cohort, weights: self.weights };
        training.mu = Some(self.mu);
        averaging.build(training, rule)
    }
}
