//! MD-GAN (Hardy, Le Merrer, Sericola 2019, arXiv:1811.03850): one generator at the server and a discriminator at each client.
//! The clients swap their discriminators, so that none overfits to the images of one client.
//!
//! In each step of the server, every client trains its discriminator on the server's images and its own, and replies with the
//! gradient of the generator's loss at the server's images; the server then steps its generator by the mean of these gradients.
//! After every round but the last, the discriminators are permuted among the clients so that no client keeps its own. This is the
//! paper's swap every E epochs, where `[local]` sets E. The discriminators pass through the server, which holds those of the
//! round's clients for one exchange.

use std::cmp::Ordering;

use effgan_data::ClientName;
use effgan_nn::model::LossName;
use effgan_nn::networks::NetworkConfig;
use effgan_nn::{Params, Purpose, Streams};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{AlgorithmConfig, AlgorithmSettings, check_cohort, check_rounds, everyone};
use crate::aggregate::{MemberSink, Rule, Weights};
use crate::algorithm::Algorithm;
use crate::local::{LocalConfig, LocalTraining, Shard};
use crate::message::{Broadcast, Exchange, ExchangeKind, Replies, Shapes, Update, shapes_of};
use crate::roster::RoundContext;
use crate::server_training::{
    GRADIENT, IMAGES, ServerTraining, client_state_of, expects_gradient, one_tensor, send_images, untrained_reply,
};
use crate::state::{ClientState, ServerState};
use crate::step_observer::StepObserver;
use crate::{Result, server_training};

/// Settings of `md-gan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MdGanConfig {
    /// Rounds, ≥ 1. In each, the server makes as many steps as a client does on average with the `[local]` settings.
    pub rounds: u32,
    /// Share of the clients that take part in a round, above 0 and at most 1; default 1.
    #[serde(default = "everyone")]
    pub cohort: f64,
    /// How clients are weighted in the mean of the gradients. (In the paper, all clients have equally many images.)
    #[serde(default)]
    pub weights: Weights,
}

impl AlgorithmSettings for MdGanConfig {
    fn name(&self) -> &'static str {
        "md-gan"
    }

    fn check(&self) -> Result<()> {
        check_rounds(self.rounds, 1)?;
        check_cohort(self.cohort)
    }

    fn check_training(&self, local: &LocalConfig, network: &NetworkConfig) -> Result<()> {
        server_training::check_training(
            self.name(),
            network.is_conditional(),
            local.discriminator_steps.per_step(),
            local.ema.is_some(),
        )
    }

    fn build_with(&self, training: LocalTraining, rule: Rule) -> Result<Box<dyn Algorithm>> {
        let Self { rounds, cohort, weights } = *self;
        let server = ServerTraining::new(self.name(), training, rounds, cohort, weights)?;
        Ok(Box::new(MdGan { server, rule }))
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        AlgorithmConfig::MdGan(Self { rounds, ..self.clone() })
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn cohort(&self) -> f64 {
        self.cohort
    }

    fn exchanges(&self) -> &'static [ExchangeKind] {
        &[ExchangeKind::Feedback, ExchangeKind::SwapUp, ExchangeKind::SwapDown]
    }

    /// After its last round, the discriminators are not swapped.
    fn last_round_differs(&self) -> bool {
        true
    }
}

/// The discriminator among `params`, with its names there.
fn discriminator_of(params: &Params) -> Params {
    params.under("discriminator").named_under("discriminator")
}

/// Prefix of a client's discriminator while the server holds it.
fn held(client: &ClientName) -> String {
    format!("held.{client}")
}

pub(super) struct MdGan {
    server: ServerTraining,
    /// How the server folds gradients.
    rule: Rule,
}

impl MdGan {
    fn fold_gradients(&self, state: &ServerState, exchange: &Exchange, replies: &mut Replies) -> Result<ServerState> {
        let images = state.params.get(IMAGES)?;
        let zero = one_tensor(GRADIENT, images, vec![0.0; images.values().len()]);
        let mean = self.rule.fold(&zero, replies, self.server.weights, exchange.round, exchange.cohort.len())?;
        let params = self.server.step(state, exchange, mean.get(GRADIENT)?.values().to_vec())?;
        let swaps = exchange.round < self.server.rounds && exchange.cohort.len() > 1;
        if exchange.iteration + 1 == exchange.iterations && !swaps {
            return Ok(ServerState::after_round(exchange.round, params));
        }
        Ok(ServerState { round: state.round, exchanges: state.exchanges + 1, params })
    }

    /// Stores the discriminators that the clients sent, or drops them once they have been sent on.
    fn fold_swap(state: &ServerState, exchange: &Exchange, replies: &mut Replies) -> Result<ServerState> {
        let generator = state.params.under("generator").named_under("generator");
        let mut params = generator.merged_with(discriminator_of(&state.params));
        for reply in replies {
            let (client, update) = reply?;
            params = params.merged_with(update.params.under("discriminator").named_under(&held(&client)));
        }
        if exchange.kind == ExchangeKind::SwapDown {
            return Ok(ServerState::after_round(exchange.round, params));
        }
        Ok(ServerState { round: state.round, exchanges: state.exchanges + 1, params })
    }
}

impl Algorithm for MdGan {
    fn init(&self, ctx: &RoundContext) -> Result<ServerState> {
        Ok(self.server.init(ctx.seed))
    }

    /// The steps of a round are followed by a swap: the discriminators go to the server, and back to other clients.
    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        let round = self.server.round(state, ctx, ExchangeKind::Feedback)?;
        let iteration = state.exchanges;
        let kind = match iteration.cmp(&round.iterations) {
            Ordering::Less => ExchangeKind::Feedback,
            Ordering::Equal => ExchangeKind::SwapUp,
            Ordering::Greater => ExchangeKind::SwapDown,
        };
        Some(Exchange { kind, iteration, ..round })
    }

    fn prepare(&self, state: ServerState, exchange: &Exchange, ctx: &RoundContext) -> Result<ServerState> {
        match exchange.kind {
            ExchangeKind::SwapUp => Ok(state),
            ExchangeKind::SwapDown => Ok(permuted(state, exchange, ctx.seed)),
            _ => self.server.with_images(state, exchange, ctx),
        }
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast {
        match exchange.kind {
            ExchangeKind::SwapUp => exchange.message(Params::new()),
            ExchangeKind::SwapDown => exchange.message(state.params.under(&held(client)).named_under("discriminator")),
            _ => send_images(state, exchange),
        }
    }

    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        match exchange.kind {
            ExchangeKind::SwapUp => Ok(shapes_of(&discriminator_of(&state.params))),
            ExchangeKind::SwapDown => Ok(Shapes::new()),
            _ => expects_gradient(state),
        }
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        client_state: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        match broadcast.kind {
            ExchangeKind::SwapUp => return Ok(untrained_reply(discriminator_of(client_state), shard)),
            ExchangeKind::SwapDown => {
                client_state.clone_from(&broadcast.params);
                return Ok(untrained_reply(Params::new(), shard));
            }
            _ => {}
        }
        let images = broadcast.params.get(IMAGES)?;
        let (gradient, losses) = self.server.with_sizes(shard.train.len(), || {
            let (discriminator, loss_d) = self.server.train(broadcast, client_state, shard, streams)?;
            let (loss_g, gradient) = discriminator.feedback(images.values().to_vec())?;
            *client_state = client_state_of(&discriminator)?;
            Ok((gradient, [loss_d, loss_g]))
        })?;
        self.server.trained_reply(one_tensor(GRADIENT, images, gradient), losses, broadcast, shard, observer)
    }

    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        _: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        match exchange.kind {
            ExchangeKind::SwapUp | ExchangeKind::SwapDown => Self::fold_swap(state, exchange, replies),
            _ => self.fold_gradients(state, exchange, replies),
        }
    }

    fn local_steps(&self, exchange: &Exchange, _: u64) -> u64 {
        exchange.iterations
    }

    fn losses(&self) -> &'static [LossName] {
        self.server.losses()
    }

    fn weights(&self) -> Weights {
        self.server.weights
    }
}

/// The state in which the discriminators of the cohort are permuted.
fn permuted(mut state: ServerState, exchange: &Exchange, seed: u64) -> ServerState {
    let clients = &exchange.cohort;
    let order = derangement(clients.len(), &Streams::of_round(seed, exchange.round));
    let moved =
        clients.iter().zip(&order).map(|(from, &to)| state.params.under(&held(from)).named_under(&held(&clients[to])));
    let moved = moved.reduce(Params::merged_with).unwrap_or_default();
    state.params = state.params.merged_with(moved);
    state
}

/// A random permutation of 0..n without fixed points; the identity for n = 1. Client i's discriminator goes to client `order[i]`.
fn derangement(n: usize, streams: &Streams) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut rng = streams.at(Purpose::Swap, 0);
    // A shuffle has no fixed point with probability of about 1/e.
    while n > 1 && order.iter().enumerate().any(|(from, &to)| from == to) {
        order.shuffle(&mut rng);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_keeps_its_discriminator_and_none_is_lost() {
        for n in 2..9 {
            for round in 1..20 {
                let order = derangement(n, &Streams::of_round(1, round));
                assert!(order.iter().enumerate().all(|(from, &to)| from != to));
                let mut taken = order;
                taken.sort_unstable();
                assert_eq!(taken, (0..n).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn both_derangements_of_three_are_equally_likely() {
        let forward = |round| derangement(3, &Streams::of_round(1, round)) == [1, 2, 0];
        let share = (0..1000).filter(|&round| forward(round)).count() as f64 / 1000.0;
        // Five standard errors of a binomial share.
        assert!((share - 0.5).abs() < 5.0 * (0.25_f64 / 1000.0).sqrt(), "{share}");
    }
}
