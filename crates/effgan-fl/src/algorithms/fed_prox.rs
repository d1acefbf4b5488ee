//! `FedProx` (Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith 2020, arXiv:1812.06127): `fedgan` with a proximal term in the clients' loss.
//!
//! A client minimises its loss plus μ/2 ‖w − w₀‖² over the trainable parameters of both networks, where w₀ is the broadcast: μ (w
//! − w₀) is added to each gradient before Adam. μ = 0 is `fedgan`.

use serde::{Deserialize, Serialize};

use super::fedgan::FedGanConfig;
use super::{AlgorithmConfig, AlgorithmSettings, everyone};
use crate::aggregate::{Rule, Weights};
use crate::local::LocalTraining;
use crate::{Algorithm, FlError, Result};

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
    /// The algorithm without the proximal term.
    fn averaging(&self) -> FedGanConfig {
        FedGanConfig { rounds: self.rounds, cohort: self.cohort, weights: self.weights }
    }
}

impl AlgorithmSettings for FedProxConfig {
    fn name(&self) -> &'static str {
        "fedprox"
    }

    fn check(&self) -> Result<()> {
        // Clients compute in f32, where a larger number is infinite.
        if !((0.0..=3e38).contains(&self.mu)) {
            return Err(FlError::Config(format!(
                "algorithm.mu = {:?} must be from 0 to 3e38 (computed in 32 bits)",
                self.mu
            )));
        }
        self.averaging().check()
    }

    fn build_with(&self, mut training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        training.mu = Some(self.mu);
        self.averaging().build_with(training, rule)
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        AlgorithmConfig::Fedprox(Self { rounds, ..self.clone() })
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn cohort(&self) -> f64 {
        self.cohort
    }

    fn takes_strategy(&self) -> bool {
        true
    }
}
