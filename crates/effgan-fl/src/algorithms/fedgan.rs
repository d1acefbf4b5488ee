//! FedGAN (Rasouli, Sun, Rajagopal 2020, arXiv:2006.07228): clients train both networks, and the server averages both with weights n_k / n,
//! each client's share of the images.

use effgan_data::ClientName;
use effgan_nn::Streams;
use effgan_nn::model::LossName;
use serde::{Deserialize, Serialize};

use super::{AlgorithmConfig, AlgorithmSettings, check_cohort, check_rounds, everyone};
use crate::aggregate::{MemberSink, Rule, Weights};
use crate::algorithm::Algorithm;
use crate::local::{LocalTraining, Shard};
use crate::message::{Broadcast, Exchange, ExchangeKind, Replies, Shapes, Update};
use crate::roster::RoundContext;
use crate::state::{ClientState, ServerState};
use crate::step_observer::StepObserver;
use crate::{FlError, Result, cohort};

/// Settings of `fedgan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FedGanConfig {
    /// Rounds of averaging, ≥ 1.
    pub rounds: u32,
    /// Share of the clients that take part in a round, above 0 and at most 1; default 1.
    #[serde(default = "everyone")]
    pub cohort: f64,
    /// How clients are weighted in the average.
    #[serde(default)]
    pub weights: Weights,
}

impl AlgorithmSettings for FedGanConfig {
    fn name(&self) -> &'static str {
        "fedgan"
    }

    fn check(&self) -> Result<()> {
        check_rounds(self.rounds, 1)?;
        check_cohort(self.cohort)
    }

    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        Ok(Box::new(FedGan { config: self.clone(), training, rule, asks: Asks::Cohort }))
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        AlgorithmConfig::Fedgan(Self { rounds, ..self.clone() })
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

    fn as_fedgan(&self) -> Option<AlgorithmConfig> {
        Some(AlgorithmConfig::Fedgan(self.clone()))
    }
}

/// Federated averaging of a generator and a discriminator.
pub(super) struct FedGan {
    pub(super) config: FedGanConfig,
    pub(super) training: LocalTraining,
    /// How the server folds the replies of a round.
    pub(super) rule: Rule,
    /// Which clients each round asks.
    pub(super) asks: Asks,
}

/// Which clients a round asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// A cohort of the config's share, drawn anew.
    Cohort,
    /// One client, all in turn, in an order that is drawn anew once each had its turn.
    InTurn,
    /// The one client that has all images.
    Pooled,
}

impl Algorithm for FedGan {
    fn init(&self, ctx: &RoundContext) -> Result<ServerState> {
        Ok(ServerState::after_round(0, self.training.init(ctx.seed)))
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        let round = state.round + 1;
        let cohort = || match self.asks {
            Asks::InTurn => vec![cohort::in_turn(ctx, round)],
            Asks::Cohort | Asks::Pooled => cohort::draw(ctx, round, self.config.cohort),
        };
        (round <= self.config.rounds).then(|| Exchange::of_round(round, ExchangeKind::Average, cohort()))
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, _: &ClientName) -> Broadcast {
        exchange.message(state.params.clone())
    }

    fn expects(&self, _: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        Ok(self.training.expects(exchange.kind))
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        _: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        self.training.update(broadcast, self.training.work(), shard, streams, observer)
    }

    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        _: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        let params =
            match self.rule.fold(&state.params, replies, self.config.weights, exchange.round, exchange.cohort.len()) {
                // The turn of a client without a usable reply, where that does not end the run, is passed over.
                Err(FlError::TooFewClients { .. }) if self.asks == Asks::InTurn => state.params.clone(),
                params => params?,
            };
        Ok(ServerState::after_round(exchange.round, params))
    }

    fn local_steps(&self, _: &Exchange, num_examples: u64) -> u64 {
        self.training.steps(self.training.work(), num_examples)
    }

    fn losses(&self) -> &'static [LossName] {
        self.training.model().losses()
    }

    fn weights(&self) -> Weights {
        self.config.weights()
    }

    fn pools_data(&self) -> bool {
        self.asks == Asks::Pooled
    }
}
