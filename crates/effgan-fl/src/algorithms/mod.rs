//! The algorithms, one file each, named after their papers. A new one needs a file, a variant here, its config and its test.

mod central;
mod effgan;
mod fed_opt;
mod fed_prox;
mod fedgan;
mod local_ensemble;
mod md_gan;
mod ua_gan;

use effgan_nn::Device;
use effgan_nn::networks::Network;
use serde::{Deserialize, Serialize};

pub use central::CentralConfig;
pub use effgan::EffganConfig;
pub use fed_opt::FedOptConfig;
pub use fed_prox::FedProxConfig;
pub use fedgan::FedGanConfig;
pub use local_ensemble::LocalEnsembleConfig;
pub use md_gan::MdGanConfig;
pub use ua_gan::UaGanConfig;

use self::fed_opt::SecondMoment;
use crate::aggregate::{AggregationConfig, Rule, Weights};
use crate::local::{LocalConfig, LocalTraining};
use crate::{Algorithm, FlError, Result};

/// The `[algorithm]` table; the only place that maps names to types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AlgorithmConfig {
    /// Rounds of averaging, then each client fine-tunes a copy of its own, and the server keeps all of their generators.
    Effgan(EffganConfig),
    /// Rounds of averaging.
    Fedgan(FedGanConfig),
    /// Rounds of averaging with a proximal term in the clients' loss.
    Fedprox(FedProxConfig),
    /// Rounds of averaging with Adam at the server.
    Fedadam(FedOptConfig),
    /// Rounds of averaging with Yogi at the server.
    Fedyogi(FedOptConfig),
    /// One generator at the server, and discriminators at the clients, which swap them.
    MdGan(MdGanConfig),
    /// One generator at the server against the aggregation of the clients' discriminators.
    UaGan(UaGanConfig),
    /// Each client trains alone; the server keeps all generators.
    LocalEnsemble(LocalEnsembleConfig),
    /// One client has all images.
    Central(CentralConfig),
}

impl AlgorithmConfig {
    /// Builds the algorithm, which trains `network` on `device` by the settings of `local` and folds replies by those of `aggregation`.
    ///
    /// # Errors
    /// [`FlError::Config`] when a setting is out of its bounds, or does not apply to the algorithm.
    pub fn build(
        &self,
        network: Network,
        local: LocalConfig,
        aggregation: &AggregationConfig,
        device: Device,
    ) -> Result<Box<dyn Algorithm>> {
        let training = LocalTraining::new(network, local, device)?.over(self.num_exchanges());
        let rule = aggregation.rule()?;
        self.check_aggregation(aggregation)?;
        Ok(match self {
            Self::Effgan(config) => Box::new(config.build(training, rule)?),
            Self::Fedgan(config) => Box::new(config.build(training, rule)?),
            Self::Fedprox(config) => Box::new(config.build(training, rule)?),
            Self::Fedadam(config) => Box::new(config.build(training, rule, SecondMoment::Adam)?),
            Self::Fedyogi(config) => Box::new(config.build(training, rule, SecondMoment::Yogi)?),
            Self::MdGan(config) => Box::new(config.build(training, rule)?),
            Self::UaGan(config) => Box::new(config.build(training)?),
            Self::LocalEnsemble(config) => Box::new(config.build(training)?),
            Self::Central(config) => Box::new(config.build(training)?),
        })
    }

    /// Checks that `aggregation` applies to the algorithm: that there is something to average, or members to cap.
    fn check_aggregation(&self, aggregation: &AggregationConfig) -> Result<()> {
        let (name, kind) = (self.name(), aggregation.kind.name());
        let only_mean = match self {
            Self::UaGan(_) => Some("adds up what clients send, by the chain rule"),
            Self::LocalEnsemble(_) => Some("averages nothing"),
            Self::Central(_) => Some("has one client"),
            _ => None,
        };
        match only_mean {
            Some(why) if aggregation.rule()? != Rule::Mean => {
                Err(FlError::Config(format!("aggregation.kind = \"{kind}\" is not for {name}, which {why}; use mean")))
            }
            _ if aggregation.max_share.is_some() && !self.has_members() => Err(FlError::Config(format!(
                "aggregation.max_share is for the members of an ensemble, and {name} has none; remove it"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the result is an ensemble.
    fn has_members(&self) -> bool {
        matches!(self, Self::Effgan(_) | Self::LocalEnsemble(_))
    }

    /// Number of rounds including a final fine-tuning, over which learning rates decay.
    fn num_exchanges(&self) -> u32 {
        match self {
            Self::Effgan(config) => config.rounds.saturating_add(1),
            Self::Fedgan(config) => config.rounds,
            Self::Fedprox(config) => config.rounds,
            Self::Fedadam(config) | Self::Fedyogi(config) => config.rounds,
            Self::MdGan(config) => config.rounds,
            Self::UaGan(config) => config.rounds,
            Self::LocalEnsemble(_) => 1,
            Self::Central(config) => config.rounds,
        }
    }

    /// The same algorithm with its number of rounds set to 0. Two configs have equal first rounds when this makes them equal.
    #[must_use]
    pub fn of_any_length(&self) -> Self {
        let mut algorithm = self.clone();
        algorithm.rounds_to_extend().into_iter().for_each(|rounds| *rounds = 0);
        algorithm
    }

    /// The algorithm that only does this one's rounds: for `effgan`, a `fedgan` of the same number of rounds.
    #[must_use]
    pub fn rounds_alone(&self) -> Self {
        match self {
            Self::Effgan(EffganConfig { rounds, cohort, weights, .. }) => {
                Self::Fedgan(FedGanConfig { rounds: *rounds, cohort: *cohort, weights: *weights })
            }
            other => other.clone(),
        }
    }

    /// Whether this algorithm and the same one with `total` rounds have the same state after `round` rounds.
    pub fn has_same_prefix(&self, total: u32, round: u32) -> bool {
        let Some(&mut rounds) = self.clone().rounds_to_extend() else { return true };
        // MD-GAN does not swap discriminators after its last round, so that round differs.
        let same = if matches!(self, Self::MdGan(_)) { total.min(rounds).saturating_sub(1) } else { total.min(rounds) };
        total == rounds || round <= same
    }

    /// Number of rounds; `None` where the work is not divided into rounds.
    pub fn rounds(&self) -> Option<u32> {
        self.clone().rounds_to_extend().copied()
    }

    /// The number of rounds, where a run can be extended by more of them.
    fn rounds_to_extend(&mut self) -> Option<&mut u32> {
        match self {
            Self::Effgan(config) => Some(&mut config.rounds),
            Self::Fedgan(config) => Some(&mut config.rounds),
            Self::Fedprox(config) => Some(&mut config.rounds),
            Self::Fedadam(config) | Self::Fedyogi(config) => Some(&mut config.rounds),
            Self::MdGan(config) => Some(&mut config.rounds),
            Self::UaGan(config) => Some(&mut config.rounds),
            Self::LocalEnsemble(_) => None,
            Self::Central(config) => Some(&mut config.rounds),
        }
    }

    /// The algorithm's name in a config.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Effgan(_) => "effgan",
            Self::Fedgan(_) => "fedgan",
            Self::Fedprox(_) => "fedprox",
            Self::Fedadam(_) => "fedadam",
            Self::Fedyogi(_) => "fedyogi",
            Self::MdGan(_) => "md-gan",
            Self::UaGan(_) => "ua-gan",
            Self::LocalEnsemble(_) => "local-ensemble",
            Self::Central(_) => "central",
        }
    }

    /// How clients and members are weighted.
    pub fn weights(&self) -> Weights {
        match self {
            Self::Effgan(config) => config.weights,
            Self::Fedgan(config) => config.weights,
            Self::Fedprox(config) => config.weights,
            Self::Fedadam(config) | Self::Fedyogi(config) => config.weights,
            Self::MdGan(config) => config.weights,
            Self::UaGan(config) => config.weights,
            Self::LocalEnsemble(config) => config.weights,
            Self::Central(_) => Weights::default(),
        }
    }
}

/// No run has this many rounds; larger numbers are typing errors.
const MAX_ROUNDS: u32 = 1_000_000;

fn check_rounds(rounds: u32, least: u32) -> Result<()> {
    if (least..=MAX_ROUNDS).contains(&rounds) {
        return Ok(());
    }
    Err(FlError::Config(format!("algorithm.rounds = {rounds} is outside {least}..={MAX_ROUNDS}")))
}

fn check_cohort(cohort: f64) -> Result<()> {
    if cohort > 0.0 && cohort <= 1.0 {
        Ok(())
    } else {
        Err(FlError::Config(format!("algorithm.cohort = {cohort} is outside 0..=1; 1 is every client")))
    }
}

fn everyone() -> f64 {
    1.0
}
