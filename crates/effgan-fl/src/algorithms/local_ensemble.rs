//! EFFGAN's ablation without averaging: every client trains alone, from the same initial parameters, and the server keeps all
//! generators. It is `effgan` with 0 rounds.

use serde::{Deserialize, Serialize};

use super::check_rounds;
use super::effgan::Effgan;
use super::fedgan::{FedGan, FedGanConfig};
use crate::Result;
use crate::aggregate::{Rule, Weights};
use crate::local::LocalTraining;

/// Settings of `local-ensemble`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalEnsembleConfig {
    /// Number of rounds, ≥ 1, whose local work each client does in one go: as much work as in `fedgan` with as many rounds.
    pub rounds: u32,
    /// How clients are weighted as members of the ensemble.
    #[serde(default)]
    pub weights: Weights,
}

impl LocalEnsembleConfig {
    pub(super) fn build(&self, training: LocalTraining) -> Result<Effgan> {
        check_rounds(self.rounds, 1)?;
        let fine_tune = training.work().times(self.rounds);
        let config = FedGanConfig { rounds: 0, cohort: 1.0, weights: self.weights };
        Ok(Effgan { averaging: FedGan { config, training, rule: Rule::Mean, pooled: false }, fine_tune })
    }
}
