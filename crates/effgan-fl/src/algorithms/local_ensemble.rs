//! EFFGAN's ablation without averaging: every client trains alone, from the same initial parameters, and the server keeps all
//! generators. It is `effgan` with 0 rounds.

use serde::{Deserialize, Serialize};

use super::effgan::Effgan;
use super::fedgan::{Asks, FedGan, FedGanConfig};
use super::{AlgorithmConfig, AlgorithmSettings, check_rounds};
use crate::aggregate::{Rule, Weights};
use crate::local::{LocalTraining, LocalWork};
use crate::message::ExchangeKind;
use crate::{Algorithm, Result};

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

impl AlgorithmSettings for LocalEnsembleConfig {
    fn name(&self) -> &'static str {
        "local-ensemble"
    }

    fn check(&self) -> Result<()> {
        check_rounds(self.rounds, 1)
    }

    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        let fine_tune = training.work().times(self.rounds);
        let config = FedGanConfig { rounds: 0, cohort: 1.0, weights: self.weights };
        Ok(Box::new(Effgan { averaging: FedGan { config, training, rule, asks: Asks::Cohort }, fine_tune }))
    }

    fn rounds(&self) -> Option<u32> {
        None
    }

    fn with_rounds(&self, _: u32) -> AlgorithmConfig {
        AlgorithmConfig::LocalEnsemble(self.clone())
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn exchanges(&self) -> &'static [ExchangeKind] {
        &[ExchangeKind::Collect]
    }

    fn why_only_mean(&self) -> Option<&'static str> {
        Some("averages nothing")
    }

    fn fine_tuning(&self, local: LocalWork) -> Result<Option<LocalWork>> {
        Ok(Some(local.times(self.rounds)))
    }
}
