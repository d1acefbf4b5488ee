//! What the settings of an algorithm answer without building it.

use effgan_nn::networks::NetworkConfig;

use super::AlgorithmConfig;
use crate::aggregate::{Rule, Weights};
use crate::local::{LocalConfig, LocalTraining, LocalWork};
use crate::message::ExchangeKind;
use crate::{Algorithm, Result};

/// The settings of one algorithm, and all that configs, drivers, sites, sweeps and reports ask about it.
///
/// The defaults are those of an algorithm that averages in every round and keeps one generator. The methods at the end follow from the
/// others; an algorithm does not write them.
pub trait AlgorithmSettings {
    /// The algorithm's name in a config.
    fn name(&self) -> &'static str;

    /// Checks the bounds of the algorithm's own keys.
    ///
    /// # Errors
    /// [`FlError::Config`](crate::FlError::Config), naming the key.
    fn check(&self) -> Result<()>;

    /// Checks that the algorithm can train `network` by the settings of `local`, each of which has been checked. An algorithm that
    /// cannot train every network makes the same checks of the model in [`build_with`](Self::build_with).
    ///
    /// # Errors
    /// [`FlError::Config`](crate::FlError::Config), naming the key.
    fn check_training(&self, _local: &LocalConfig, _network: &NetworkConfig) -> Result<()> {
        Ok(())
    }

    /// The algorithm with these settings, which have been [checked](Self::check). Clients train by `training`, and the server folds their
    /// replies by `rule`.
    ///
    /// # Errors
    /// [`FlError::Config`](crate::FlError::Config) when the algorithm does not support a setting of `training`.
    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>>;

    /// Number of rounds, by more of which a run can be extended; `None` where the work is not divided into rounds.
    fn rounds(&self) -> Option<u32>;

    /// The same settings with `rounds` rounds; unchanged where the work is not divided into rounds.
    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig;

    /// How clients are weighted in a mean, and as members of the ensemble.
    fn weights(&self) -> Weights;

    /// Share of the clients that take part in a round, above 0 and at most 1.
    fn cohort(&self) -> f64 {
        1.0
    }

    /// Whether each round asks one client alone, which takes its turn.
    fn takes_turns(&self) -> bool {
        false
    }

    /// The kinds of exchange that a run can have. A site refuses requests of any other kind.
    fn exchanges(&self) -> &'static [ExchangeKind] {
        &[ExchangeKind::Average]
    }

    /// Why replies can be combined in one way alone, so that `aggregation.kind` must stay `mean`: the end of a sentence that begins with
    /// the algorithm's name and "which". `None` where any rule may fold them.
    fn why_only_mean(&self) -> Option<&'static str> {
        None
    }

    /// Whether a strategy of Flower may replace the mean. The error of `federation.strategy` lists the algorithms where it may.
    fn takes_strategy(&self) -> bool {
        false
    }

    /// Whether all images have to be at one client, which no federation can offer.
    fn pools_data(&self) -> bool {
        false
    }

    /// The training of a client before the server collects its generator, where `local` is that of a round; `None` where the server does
    /// not collect.
    ///
    /// # Errors
    /// [`FlError::Config`](crate::FlError::Config) when the settings do not say how much it is.
    fn fine_tuning(&self, _local: LocalWork) -> Result<Option<LocalWork>> {
        Ok(None)
    }

    /// The `fedgan` that reaches the same parameters, bit for bit, after each of its rounds; `None` where there is none.
    fn as_fedgan(&self) -> Option<AlgorithmConfig> {
        None
    }

    /// Whether the last round is unlike the same round of a longer run.
    fn last_round_differs(&self) -> bool {
        false
    }

    /// Whether the result is an ensemble.
    fn has_members(&self) -> bool {
        self.exchanges().contains(&ExchangeKind::Collect)
    }

    /// Whether replies are made of single batches, in place of all the training of a round.
    fn has_single_batch_replies(&self) -> bool {
        !self.exchanges().iter().all(|kind| kind.trains())
    }

    /// Number of rounds and collections, over which learning rates decay.
    fn num_exchanges(&self) -> u32 {
        self.rounds().unwrap_or_default().saturating_add(u32::from(self.has_members()))
    }
}
