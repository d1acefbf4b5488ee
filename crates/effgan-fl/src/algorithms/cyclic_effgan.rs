//! EFFGAN after cyclical weight transfer (Chang et al. 2018, "Distributed deep learning networks among institutions for medical imaging",
//! doi:10.1093/jamia/ocy017) in place of averaging: one copy of the networks goes from client to client, each of which trains it in turn.
//! Then each client fine-tunes a copy of its own, and the server keeps the ensemble, as in `effgan`.
//!
//! Each visit is a round with one client, so as many visits as there are clients are as much work as one round of `effgan`. Nothing is
//! averaged: the networks take as many steps as all clients together. The price is that clients wait for each other, and that each
//! client receives what another one has just trained, its discriminator included. This is why a site has to allow it by name.

use effgan_data::ClientName;
use effgan_nn::model::LossName;
use effgan_nn::{Purpose, Streams};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::effgan::{Effgan, EffganConfig};
use super::{AlgorithmConfig, AlgorithmSettings, check_rounds, everyone};
use crate::aggregate::{MemberSink, Rule, Weights};
use crate::algorithm::Algorithm;
use crate::local::{LocalTraining, LocalWork, Shard};
use crate::message::{Broadcast, Exchange, ExchangeKind, Replies, Shapes, Update};
use crate::roster::RoundContext;
use crate::state::{ClientState, ServerState};
use crate::step_observer::StepObserver;
use crate::{FlError, Result};

/// Settings of `cyclic-effgan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CyclicEffganConfig {
    /// Visits of one client each before the fine-tuning, ≥ 1. Clients take turns in an order that is drawn anew once all had theirs.
    pub rounds: u32,
    /// Passes over its images in each client's fine-tuning; set either this or `fine_tune_steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tune_epochs: Option<u32>,
    /// Training steps in each client's fine-tuning; set either this or `fine_tune_epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tune_steps: Option<u32>,
    /// How clients are weighted as members of the ensemble.
    #[serde(default)]
    pub weights: Weights,
}

impl CyclicEffganConfig {
    /// The `effgan` with as many rounds, whose rounds have all clients.
    fn effgan(&self) -> EffganConfig {
        let Self { rounds, fine_tune_epochs, fine_tune_steps, weights } = *self;
        EffganConfig { rounds, fine_tune_epochs, fine_tune_steps, cohort: everyone(), weights }
    }
}

impl AlgorithmSettings for CyclicEffganConfig {
    fn name(&self) -> &'static str {
        "cyclic-effgan"
    }

    fn check(&self) -> Result<()> {
        check_rounds(self.rounds, 1)?;
        self.effgan().check()
    }

    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        Ok(Box::new(CyclicEffgan(self.effgan().build(training, rule)?)))
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        AlgorithmConfig::CyclicEffgan(Self { rounds, ..self.clone() })
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn takes_turns(&self) -> bool {
        true
    }

    fn why_only_mean(&self) -> Option<&'static str> {
        Some("averages nothing")
    }

    fn exchanges(&self) -> &'static [ExchangeKind] {
        &[ExchangeKind::Average, ExchangeKind::Collect]
    }

    fn fine_tuning(&self, local: LocalWork) -> Result<Option<LocalWork>> {
        self.effgan().fine_tuning(local)
    }
}

/// `effgan` with one client in each round.
struct CyclicEffgan(Effgan);

/// The client that `round` visits.
fn visited(ctx: &RoundContext, round: u32) -> ClientName {
    let clients = u32::try_from(ctx.roster.len()).expect("a run has fewer than 2^32 clients");
    let turn = (round - 1) % clients;
    let mut order = ctx.roster.to_vec();
    order.shuffle(&mut Streams::of_round(ctx.seed, round - turn).at(Purpose::Cohort, 0));
    order.swap_remove(turn as usize)
}

impl Algorithm for CyclicEffgan {
    fn init(&self, ctx: &RoundContext) -> Result<ServerState> {
        self.0.init(ctx)
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        let exchange = self.0.next(state, ctx)?;
        match exchange.kind {
            ExchangeKind::Average => Some(Exchange { cohort: vec![visited(ctx, exchange.round)], ..exchange }),
            _ => Some(exchange),
        }
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast {
        self.0.broadcast(state, exchange, client)
    }

    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        self.0.expects(state, exchange)
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        client_state: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        self.0.local_update(broadcast, client_state, shard, streams, observer)
    }

    /// The mean of one reply is the reply. A client without a usable reply, which need not end the run, is passed over.
    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        members: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        match self.0.aggregate(state, exchange, replies, members) {
            Err(FlError::TooFewClients { .. }) if exchange.kind == ExchangeKind::Average => {
                Ok(ServerState::after_round(exchange.round, state.params.clone()))
            }
            folded => folded,
        }
    }

    fn local_steps(&self, exchange: &Exchange, num_examples: u64) -> u64 {
        self.0.local_steps(exchange, num_examples)
    }

    fn losses(&self) -> &'static [LossName] {
        self.0.losses()
    }

    fn weights(&self) -> Weights {
        self.0.weights()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_turn_once_before_anyone_has_a_second_and_the_order_changes() {
        let roster: Vec<_> = (0..7).map(|i| ClientName::simulated(i, 7)).collect();
        let ctx = RoundContext { seed: 1, roster: &roster, num_examples: &[1; 7], counts: &[1; 7] };
        let laps: Vec<Vec<ClientName>> =
            (0..4).map(|lap| (1..=7).map(|turn| visited(&ctx, 7 * lap + turn)).collect()).collect();
        for lap in &laps {
            let mut sorted = lap.clone();
            sorted.sort();
            assert_eq!(sorted, roster);
        }
        assert!(laps.iter().any(|lap| lap != &laps[0]));
        let other_seed = RoundContext { seed: 2, ..ctx };
        assert!((1..=7).any(|turn| visited(&other_seed, turn) != laps[0][turn as usize - 1]));
    }
}
