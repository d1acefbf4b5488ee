//! The algorithms, one file each, named after their papers.
//!
//! A new one is a file, and a line in [`AlgorithmConfig`], one in its [`Deref`] and one in [`AlgorithmConfig::one_of_each`]. The file has
//! the paper, a config struct with [`AlgorithmSettings`], which answers all that the rest of effgan asks about an algorithm, and an
//! [`Algorithm`]. CONTRIBUTING.md has the tests and the pages that belong to it.

mod central;
mod cyclic_effgan;
mod effgan;
mod fed_opt;
mod fed_prox;
mod fedgan;
mod local_ensemble;
mod md_gan;
mod settings;
mod ua_gan;

use std::ops::Deref;
use std::sync::Arc;

use effgan_nn::{Device, Model};
use serde::{Deserialize, Serialize};

pub use central::CentralConfig;
pub use cyclic_effgan::CyclicEffganConfig;
pub use effgan::{Division, EffganConfig, check_total};
pub use fed_opt::{FedAdamConfig, FedOptConfig, FedYogiConfig};
pub use fed_prox::FedProxConfig;
pub use fedgan::FedGanConfig;
pub use local_ensemble::LocalEnsembleConfig;
pub use md_gan::MdGanConfig;
pub use settings::AlgorithmSettings;
pub use ua_gan::UaGanConfig;

use crate::aggregate::{AggregationConfig, Rule, Weights};
use crate::local::{LocalConfig, LocalTraining};
use crate::{Algorithm, FlError, Result, cohort};

/// The `[algorithm]` table; the only place that maps names to types. It answers the questions of its [`AlgorithmSettings`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AlgorithmConfig {
    /// Rounds of averaging, then each client fine-tunes a copy of its own, and the server keeps all of their generators.
    Effgan(EffganConfig),
    /// One copy goes from client to client, then each client fine-tunes one of its own, and the server keeps all of their generators.
    CyclicEffgan(CyclicEffganConfig),
    /// Rounds of averaging.
    Fedgan(FedGanConfig),
    /// Rounds of averaging with a proximal term in the clients' loss.
    Fedprox(FedProxConfig),
    /// Rounds of averaging with Adam at the server.
    Fedadam(FedAdamConfig),
    /// Rounds of averaging with Yogi at the server.
    Fedyogi(FedYogiConfig),
    /// One generator at the server, and discriminators at the clients, which swap them.
    MdGan(MdGanConfig),
    /// One generator at the server against the aggregation of the clients' discriminators.
    UaGan(UaGanConfig),
    /// Each client trains alone; the server keeps all generators.
    LocalEnsemble(LocalEnsembleConfig),
    /// One client has all images.
    Central(CentralConfig),
}

impl Deref for AlgorithmConfig {
    type Target = dyn AlgorithmSettings;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Effgan(config) => config,
            Self::CyclicEffgan(config) => config,
            Self::Fedgan(config) => config,
            Self::Fedprox(config) => config,
            Self::Fedadam(config) => config,
            Self::Fedyogi(config) => config,
            Self::MdGan(config) => config,
            Self::UaGan(config) => config,
            Self::LocalEnsemble(config) => config,
            Self::Central(config) => config,
        }
    }
}

impl AlgorithmConfig {
    /// A config of each algorithm in the order of the variants, for those who ask all of them the same. A test asks for a new one.
    pub fn one_of_each() -> [Self; 10] {
        let (rounds, cohort, weights) = (1, everyone(), Weights::default());
        let (fine_tune_epochs, fine_tune_steps) = (Some(1), None);
        [
            Self::Effgan(EffganConfig { rounds, fine_tune_epochs, fine_tune_steps, cohort, weights }),
            Self::CyclicEffgan(CyclicEffganConfig { rounds, fine_tune_epochs, fine_tune_steps, weights }),
            Self::Fedgan(FedGanConfig { rounds, cohort, weights }),
            Self::Fedprox(FedProxConfig { rounds, mu: 0.0, cohort, weights }),
            Self::Fedadam(FedOptConfig::of(rounds)),
            Self::Fedyogi(FedOptConfig::of(rounds)),
            Self::MdGan(MdGanConfig { rounds, cohort, weights }),
            Self::UaGan(UaGanConfig { rounds, cohort, weights }),
            Self::LocalEnsemble(LocalEnsembleConfig { rounds, weights }),
            Self::Central(CentralConfig { rounds }),
        ]
    }

    /// Builds the algorithm, which trains `model` on `device` by the settings of `local` and folds replies by those of `aggregation`.
    ///
    /// # Errors
    /// [`FlError::Config`] when a setting is out of its bounds, or does not apply to the algorithm.
    pub fn build(
        &self,
        model: Arc<dyn Model>,
        local: LocalConfig,
        aggregation: &AggregationConfig,
        device: Device,
    ) -> Result<Box<dyn Algorithm>> {
        self.check()?;
        self.check_aggregation(aggregation)?;
        let training = LocalTraining::new(model, local, device)?.over(self.num_exchanges());
        self.build_with(training, aggregation.rule()?)
    }

    /// Checks that `aggregation` applies to the algorithm: that there is something to average, or members to cap.
    ///
    /// # Errors
    /// [`FlError::Config`] when it does not; a rule whose keys are wrong.
    pub fn check_aggregation(&self, aggregation: &AggregationConfig) -> Result<()> {
        let (name, kind, rule) = (self.name(), aggregation.kind.name(), aggregation.rule()?);
        match self.why_only_mean() {
            Some(why) if rule != Rule::Mean => {
                Err(FlError::Config(format!("aggregation.kind = \"{kind}\" is not for {name}, which {why}; use mean")))
            }
            _ if self.takes_turns() && aggregation.min_clients.is_some_and(|least| least > 1) => {
                let least = aggregation.min_clients.unwrap_or_default();
                Err(FlError::Config(format!(
                    "aggregation.min_clients = {least} must be at most 1, as {name} asks one client in each round; remove it"
                )))
            }
            _ if aggregation.max_share.is_some() && !self.has_members() => Err(FlError::Config(format!(
                "aggregation.max_share is for the members of an ensemble, and {name} has none; remove it"
            ))),
            _ => Ok(()),
        }
    }

    /// The number of clients that a round asks, of `clients`; all of them where no round draws a cohort.
    pub fn num_in_round(&self, clients: usize) -> usize {
        match self.rounds() {
            Some(0) => clients,
            _ if self.takes_turns() => 1,
            _ => cohort::size(clients, self.cohort()),
        }
    }

    /// The same algorithm with its number of rounds set to 0. Two configs have equal first rounds when this makes them equal.
    #[must_use]
    pub fn of_any_length(&self) -> Self {
        self.with_rounds(0)
    }

    /// The algorithm that only does this one's rounds: for `effgan`, a `fedgan` of the same number of rounds.
    #[must_use]
    pub fn rounds_alone(&self) -> Self {
        self.as_fedgan().unwrap_or_else(|| self.clone())
    }

    /// Whether this algorithm and the same one with `total` rounds have the same state after `round` rounds.
    pub fn has_same_prefix(&self, total: u32, round: u32) -> bool {
        let Some(rounds) = self.rounds() else { return true };
        let shorter = total.min(rounds);
        let same = if self.last_round_differs() { shorter.saturating_sub(1) } else { shorter };
        total == rounds || round <= same
    }

    /// The smallest number of rounds with which a run of `total` rounds can go on from its state after `round` rounds.
    pub fn fewest_rounds(&self, total: u32, round: u32) -> u32 {
        total.min(round.saturating_add(self.last_round_differs().into()))
    }
}

/// No run has this many rounds; larger numbers are typing errors.
const MAX_ROUNDS: u32 = 1_000_000;

fn check_rounds(rounds: u32, least: u32) -> Result<()> {
    if (least..=MAX_ROUNDS).contains(&rounds) {
        return Ok(());
    }
    Err(FlError::Config(format!("algorithm.rounds = {rounds} must be from {least} to {MAX_ROUNDS}")))
}

fn check_cohort(cohort: f64) -> Result<()> {
    if cohort > 0.0 && cohort <= 1.0 {
        Ok(())
    } else {
        Err(FlError::Config(format!(
            "algorithm.cohort = {cohort:?} must be above 0 and at most 1, which is every client"
        )))
    }
}

fn everyone() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_has_every_algorithm_by_its_name_in_a_config_and_each_is_valid() {
        let names = AlgorithmConfig::one_of_each().map(|config| {
            config.check().unwrap_or_else(|error| panic!("{error}"));
            format!("`{}`", config.name())
        });
        let error = toml::from_str::<AlgorithmConfig>("kind = \"?\"").unwrap_err();
        assert_eq!(error.message(), format!("unknown variant `?`, expected one of {}", names.join(", ")));
    }
}
