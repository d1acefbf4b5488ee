//! The upper bound for any federation: all images at one client. It is `fedgan` with one client.

use serde::{Deserialize, Serialize};

use super::fedgan::{Asks, FedGan, FedGanConfig};
use super::{AlgorithmConfig, AlgorithmSettings, check_rounds};
use crate::aggregate::{Rule, Weights};
use crate::local::LocalTraining;
use crate::{Algorithm, Result};

/// Settings of `central`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CentralConfig {
    /// Rounds of `[local]` work, ≥ 1; Adam's moments are reset in each, as in a federation.
    pub rounds: u32,
}

impl AlgorithmSettings for CentralConfig {
    fn name(&self) -> &'static str {
        "central"
    }

    fn check(&self) -> Result<()> {
        check_rounds(self.rounds, 1)
    }

    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        let config = FedGanConfig { rounds: self.rounds, cohort: 1.0, weights: self.weights() };
        Ok(Box::new(FedGan { config, training, rule, asks: Asks::Pooled }))
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        AlgorithmConfig::Central(Self { rounds })
    }

    fn weights(&self) -> Weights {
        Weights::default()
    }

    fn why_only_mean(&self) -> Option<&'static str> {
        Some("has one client")
    }

    fn pools_data(&self) -> bool {
        true
    }
}
