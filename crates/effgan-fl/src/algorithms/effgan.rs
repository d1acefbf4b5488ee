//! EFFGAN (Ekblom, Listo Zec, Mogren 2022, arXiv:2206.11682): rounds of FedGAN, after which each client fine-tunes a copy of its
//! own and the server keeps the ensemble of the fine-tuned generators.

mod division;

use effgan_data::ClientName;
use effgan_nn::Streams;
use effgan_nn::model::LossName;
use serde::{Deserialize, Serialize};

pub use self::division::{Division, check_total};
use super::fedgan::{Asks, FedGan, FedGanConfig};
use super::{AlgorithmConfig, AlgorithmSettings, check_cohort, check_rounds, everyone};
use crate::Result;
use crate::aggregate::{MemberSink, Rule, Weights, collect};
use crate::algorithm::Algorithm;
use crate::local::{LocalTraining, LocalWork, Shard};
use crate::message::{Broadcast, Exchange, ExchangeKind, Replies, Shapes, Update};
use crate::roster::RoundContext;
use crate::state::{ClientState, ServerState};
use crate::step_observer::StepObserver;

/// Settings of `effgan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffganConfig {
    /// Rounds of averaging before the fine-tuning; 0 makes it `local-ensemble`.
    pub rounds: u32,
    /// Passes over its images in each client's fine-tuning; set either this or `fine_tune_steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tune_epochs: Option<u32>,
    /// Training steps in each client's fine-tuning; set either this or `fine_tune_epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tune_steps: Option<u32>,
    /// Share of the clients that take part in a round, above 0 and at most 1; default 1. All clients fine-tune.
    #[serde(default = "everyone")]
    pub cohort: f64,
    /// How clients are weighted in the averages and as members of the ensemble.
    #[serde(default)]
    pub weights: Weights,
}

impl EffganConfig {
    fn fine_tune(&self) -> Result<LocalWork> {
        LocalWork::one_of(self.fine_tune_epochs, self.fine_tune_steps, "algorithm.fine_tune_")
    }

    /// The algorithm with these settings, whose rounds ask the clients that `asks` says.
    pub(super) fn asking(&self, asks: Asks, training: LocalTraining, rule: Rule) -> Result<Effgan> {
        let averaging = FedGan { config: self.averaging(), training, rule, asks };
        Ok(Effgan { averaging, fine_tune: self.fine_tune()? })
    }

    /// The rounds of averaging.
    fn averaging(&self) -> FedGanConfig {
        FedGanConfig { rounds: self.rounds, cohort: self.cohort, weights: self.weights }
    }
}

impl AlgorithmSettings for EffganConfig {
    fn name(&self) -> &'static str {
        "effgan"
    }

    fn check(&self) -> Result<()> {
        check_rounds(self.rounds, 0)?;
        check_cohort(self.cohort)?;
        self.fine_tune().map(drop)
    }

    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        Ok(Box::new(self.asking(Asks::Cohort, training, rule)?))
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        AlgorithmConfig::Effgan(Self { rounds, ..self.clone() })
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn cohort(&self) -> f64 {
        self.cohort
    }

    fn exchanges(&self) -> &'static [ExchangeKind] {
        if self.rounds == 0 { &[ExchangeKind::Collect] } else { &[ExchangeKind::Average, ExchangeKind::Collect] }
    }

    fn takes_strategy(&self) -> bool {
        true
    }

    fn fine_tuning(&self, _: LocalWork) -> Result<Option<LocalWork>> {
        self.fine_tune().map(Some)
    }

    fn as_fedgan(&self) -> Option<AlgorithmConfig> {
        Some(AlgorithmConfig::Fedgan(self.averaging()))
    }
}

/// Averaging, then one exchange that collects a fine-tuned generator from every client.
pub(super) struct Effgan {
    pub(super) averaging: FedGan,
    pub(super) fine_tune: LocalWork,
}

impl Effgan {
    fn work(&self, kind: ExchangeKind) -> LocalWork {
        match kind {
            ExchangeKind::Collect => self.fine_tune,
            _ => self.averaging.training.work(),
        }
    }
}

impl Algorithm for Effgan {
    fn init(&self, ctx: &RoundContext) -> Result<ServerState> {
        self.averaging.init(ctx)
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        let round = state.round + 1;
        let fine_tune = || Exchange::of_round(round, ExchangeKind::Collect, ctx.roster.to_vec());
        let last = round == self.averaging.config.rounds + 1;
        self.averaging.next(state, ctx).or_else(|| last.then(fine_tune))
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast {
        self.averaging.broadcast(state, exchange, client)
    }

    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        self.averaging.expects(state, exchange)
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        _: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        self.averaging.training.update(broadcast, self.work(broadcast.kind), shard, streams, observer)
    }

    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        members: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        if exchange.kind == ExchangeKind::Average {
            return self.averaging.aggregate(state, exchange, replies, members);
        }
        collect(self.averaging.training.model().generator(), replies, members, exchange.round)?;
        Ok(ServerState::after_round(exchange.round, state.params.clone()))
    }

    fn local_steps(&self, exchange: &Exchange, num_examples: u64) -> u64 {
        self.averaging.training.steps(self.work(exchange.kind), num_examples)
    }

    fn losses(&self) -> &'static [LossName] {
        self.averaging.losses()
    }

    fn weights(&self) -> Weights {
        self.averaging.weights()
    }
}
