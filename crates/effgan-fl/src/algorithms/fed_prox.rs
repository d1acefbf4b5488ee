//! `FedProx` (Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith 2020, arXiv:1812.06127): `fedgan` with a proximal term in the clients' loss.
//!
//! A client minimises its loss plus μ/2 ‖w − w₀‖² over the trainable parameters of both networks, where w₀ is the broadcast: μ (w
//! − w₀) is added to each gradient before Adam. μ = 0 is `fedgan`.

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
    /// μ, weight of the proximal term, ≥ 0; the paper tries 0.001 to 1.
    pub mu: f64,
    /// Share of the clients that take part in a round, above 0 and at most 1; default 1.
    #[serde(default = "everyone")]
    pub cohort: f64,
    /// How clients are weighted in the average.
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
