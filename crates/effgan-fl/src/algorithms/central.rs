//! The upper bound for any federation: all images at one client. It is `fedgan` with one client.

use serde::{Deserialize, Serialize};

use super::check_rounds;
use super::fedgan::{FedGan, FedGanConfig};
use crate::Result;
use crate::aggregate::{Rule, Weights};
use crate::local::LocalTraining;

/// Settings of `central`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CentralConfig {
    /// Rounds of `[local]` work, ≥ 1; Adam's moments are reset in each, as in a federation.
    pub rounds: u32,
}

impl CentralConfig {
    pub(super) fn build(&self, training: LocalTraining) -> Result<FedGan> {
        check_rounds(self.rounds, 1)?;
        let config = FedGanConfig { rounds: self.rounds, cohort: 1.0, weights: Weights::default() };
        Ok(FedGan { config, training, rule: Rule::Mean, pooled: true })
    }
}
