//! UA-GAN (Zhang, Qu, Chang, Liu, Metaxas, Chen 2021, arXiv:2102.04655): one generator at the server, which learns
//! from the universal aggregation of the clients' discriminators.
//!
//! The odds of the aggregation are the weighted mean of the clients' odds, which are those of a discriminator trained on all
//! images. In terms of logits,
//!
//! ```text
//! l(x) = log Σ_j exp(log π_j + l_j(x))        ∂l/∂l_j = softmax_j(log π_j + l_j(x))
//! ```
//!
//! Each step of the server is two exchanges:
//!
//! 1. The server sends images; each client trains its discriminator on them and on its own images, and replies with the new discriminator's logits
//!    of the server's images.
//! 2. The server sends the derivatives of the generator's loss by these logits; each client replies with the gradient of Σ derivative · logit at
//!    the images. The server sums the gradients of all clients, which is the chain rule, and steps its generator.
//!
//! A single exchange would be enough if each logit depended on its own image alone. With batch norm it depends on the whole
//! batch, so a client must know the derivatives before it can compute the gradient.

use effgan_data::ClientName;
use effgan_nn::gan::Loss;
use effgan_nn::model::LossName;
use effgan_nn::networks::NetworkConfig;
use effgan_nn::{Array, Device, Params, Streams};
use serde::{Deserialize, Serialize};

use super::{AlgorithmConfig, AlgorithmSettings, check_cohort, check_rounds, everyone};
use crate::aggregate::{MemberSink, Rule, Weights};
use crate::algorithm::Algorithm;
use crate::local::{LocalConfig, LocalTraining, Shard};
use crate::message::{Broadcast, Exchange, ExchangeKind, Replies, Shapes, Update};
use crate::roster::RoundContext;
use crate::server_training::{
    ADAM, GRADIENT, IMAGES, ServerTraining, client_state_of, expects_gradient, one_tensor, send_images, untrained_reply,
};
use crate::state::{ClientState, ServerState};
use crate::step_observer::StepObserver;
use crate::{FlError, Result, server_training};

/// Settings of `ua-gan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UaGanConfig {
    /// Rounds, ≥ 1. In each, the server makes as many steps as a client does on average with the `[local]` settings.
    pub rounds: u32,
    /// Share of the clients that take part in a round, above 0 and at most 1; default 1.
    #[serde(default = "everyone")]
    pub cohort: f64,
    /// π: how clients are weighted in the aggregation.
    #[serde(default)]
    pub weights: Weights,
}

impl AlgorithmSettings for UaGanConfig {
    fn name(&self) -> &'static str {
        "ua-gan"
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
        )?;
        check_loss(local.loss)
    }

    fn build_with(&self, training: LocalTraining, _: Rule) -> Result<Box<dyn Algorithm>> {
        let Self { rounds, cohort, weights } = *self;
        let server = ServerTraining::new(self.name(), training, rounds, cohort, weights)?;
        check_loss(server.loss())?;
        Ok(Box::new(UaGan { server }))
    }

    fn rounds(&self) -> Option<u32> {
        Some(self.rounds)
    }

    fn with_rounds(&self, rounds: u32) -> AlgorithmConfig {
        AlgorithmConfig::UaGan(Self { rounds, ..self.clone() })
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn cohort(&self) -> f64 {
        self.cohort
    }

    fn exchanges(&self) -> &'static [ExchangeKind] {
        &[ExchangeKind::Logits, ExchangeKind::Feedback]
    }

    fn why_only_mean(&self) -> Option<&'static str> {
        Some("adds up what clients send, by the chain rule")
    }
}

/// Checks that discriminators which minimise `loss` learn odds.
fn check_loss(loss: Loss) -> Result<()> {
    if loss == Loss::NonSaturating {
        return Ok(());
    }
    let line = "local.loss must be non-saturating for ua-gan, which aggregates odds; other losses do not learn odds";
    Err(FlError::Config(line.into()))
}

/// A client's logits of the images, in its reply.
const LOGITS: &str = "logits";
/// Derivatives of the generator's loss by a client's logits: in a broadcast and, followed by the client's name, in the server's state.
const DERIVATIVES: &str = "derivatives";

pub(super) struct UaGan {
    server: ServerTraining,
}

impl UaGan {
    /// A client's half of the first exchange of a step: trains the discriminator and computes the logits of the server's images.
    fn compute_logits(
        &self,
        broadcast: &Broadcast,
        client_state: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        let (discriminator, loss_d) = self.server.train(broadcast, client_state, shard, streams)?;
        let images = broadcast.params.get(IMAGES)?;
        // Saved before the forward pass, which `input_gradients` repeats: every pass moves the vectors of a spectral norm by one step.
        *client_state = client_state_of(&discriminator)?;
        client_state.insert(IMAGES, images.clone());
        let logits = discriminator.logits(images.values().to_vec())?;
        let (loss_g, _) = Loss::NonSaturating.of_generator(logits.clone(), self.server.device())?;
        let logits = [(LOGITS.to_owned(), Array::new([logits.len()], logits))].into_iter().collect();
        self.server.trained_reply(logits, [loss_d, loss_g], broadcast, shard, observer)
    }

    /// A client's half of the second exchange of a step: the gradient at the images, given the derivatives by its logits.
    fn input_gradients(&self, broadcast: &Broadcast, client_state: &mut ClientState, shard: &Shard) -> Result<Update> {
        let (images, derivatives) = (client_state.get(IMAGES)?.clone(), broadcast.params.get(DERIVATIVES)?);
        let discriminator = self.server.discriminator(client_state, broadcast.round, 0, &Params::new())?;
        let gradient = discriminator.gradient(images.values().to_vec(), derivatives.values().to_vec())?;
        let discriminator = discriminator.params()?.named_under("discriminator");
        *client_state = discriminator.merged_with(client_state.under(ADAM).named_under(ADAM));
        Ok(untrained_reply(one_tensor(GRADIENT, &images, gradient), shard))
    }

    /// Folds the logits: the new state has the derivatives of the generator's loss by each client's logits.
    fn fold_logits(&self, state: &ServerState, replies: &mut Replies) -> Result<ServerState> {
        let (mut clients, mut weights, mut logits) = (Vec::new(), Vec::new(), Vec::new());
        for reply in replies {
            let (client, update) = reply?;
            weights.push(self.server.weights.of(update.num_examples));
            logits.push(update.params.get(LOGITS)?.values().to_vec());
            clients.push(client);
        }
        let mut next = ServerState { exchanges: state.exchanges + 1, ..state.clone() };
        for (client, derivatives) in clients.iter().zip(derivatives(&weights, &logits, self.server.device())?) {
            let array = Array::new([derivatives.len()], derivatives);
            next.params.insert(format!("{DERIVATIVES}.{client}"), array);
        }
        Ok(next)
    }

    fn fold_gradients(&self, state: &ServerState, exchange: &Exchange, replies: &mut Replies) -> Result<ServerState> {
        let mut sum = vec![0.0; state.params.get(IMAGES)?.values().len()];
        for reply in replies {
            let (_, update) = reply?;
            let gradient = update.params.get(GRADIENT)?.values();
            sum.iter_mut().zip(gradient).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let gradient = sum.into_iter().map(|value| value as f32).collect();
        let params = self.server.step(state, exchange, gradient)?;
        if exchange.iteration + 1 == exchange.iterations {
            return Ok(ServerState::after_round(exchange.round, params));
        }
        Ok(ServerState { round: state.round, exchanges: state.exchanges + 1, params })
    }
}

/// Derivatives `[clients][images]` of the generator's loss by each client's `logits`, where client j has the weight `weights[j]`.
fn derivatives(weights: &[f64], logits: &[Vec<f32>], device: Device) -> Result<Vec<Vec<f32>>> {
    let total: f64 = weights.iter().sum();
    let n = logits.first().map_or(0, Vec::len);
    let log_odds = |image: usize| -> Vec<f64> {
        weights.iter().zip(logits).map(|(weight, logits)| (weight / total).ln() + f64::from(logits[image])).collect()
    };
    let aggregated: Vec<(f64, Vec<f64>)> = (0..n).map(|image| log_sum_exp(&log_odds(image))).collect();
    let of_all = aggregated.iter().map(|(logit, _)| *logit as f32).collect();
    let (_, by_aggregate) = Loss::NonSaturating.of_generator(of_all, device)?;
    let of_client = |j: usize| {
        let parts = aggregated.iter().zip(&by_aggregate);
        parts.map(|((_, shares), &derivative)| (shares[j] * f64::from(derivative)) as f32).collect()
    };
    Ok((0..weights.len()).map(of_client).collect())
}

/// log Σ exp of `values`, and its derivatives, which are the softmax of `values`.
fn log_sum_exp(values: &[f64]) -> (f64, Vec<f64>) {
    // The largest value becomes exp(0), so that nothing overflows.
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = values.iter().map(|value| (value - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    (max + sum.ln(), exps.into_iter().map(|exp| exp / sum).collect())
}

impl Algorithm for UaGan {
    fn init(&self, ctx: &RoundContext) -> Result<ServerState> {
        Ok(self.server.init(ctx.seed))
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        let kind = if state.exchanges.is_multiple_of(2) { ExchangeKind::Logits } else { ExchangeKind::Feedback };
        let round = self.server.round(state, ctx, kind)?;
        Some(Exchange { iteration: state.exchanges / 2, ..round })
    }

    fn prepare(&self, state: ServerState, exchange: &Exchange, ctx: &RoundContext) -> Result<ServerState> {
        match exchange.kind {
            ExchangeKind::Logits => self.server.with_images(state, exchange, ctx),
            _ => Ok(state),
        }
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast {
        if exchange.kind == ExchangeKind::Logits {
            return send_images(state, exchange);
        }
        let derivatives = state.params.get(&format!("{DERIVATIVES}.{client}"));
        let derivatives = derivatives.expect("every client of this exchange has sent its logits").clone();
        exchange.message([(DERIVATIVES.to_owned(), derivatives)].into_iter().collect())
    }

    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        match exchange.kind {
            ExchangeKind::Logits => Ok([(LOGITS.to_owned(), vec![state.params.get(IMAGES)?.shape[0]])].into()),
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
        self.server.with_sizes(shard.train.len(), || match broadcast.kind {
            ExchangeKind::Logits => self.compute_logits(broadcast, client_state, shard, streams, observer),
            _ => self.input_gradients(broadcast, client_state, shard),
        })
    }

    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        _: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        match exchange.kind {
            ExchangeKind::Logits => self.fold_logits(state, replies),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregated_odds_are_the_weighted_mean_of_the_clients_odds() {
        // (1 · 3 + 3 · 0.2) / 4 = 0.9 of odds 3 and 0.2.
        let (logit, shares) = log_sum_exp(&[(0.25_f64 * 3.0).ln(), (0.75_f64 * 0.2).ln()]);
        // Two f64 roundings.
        assert!((logit.exp() - 0.9).abs() < 1e-15);
        assert!((shares[0] - 0.75 / 0.9).abs() < 1e-15 && (shares[1] - 0.15 / 0.9).abs() < 1e-15);
    }

    #[test]
    fn derivatives_are_those_of_central_differences() {
        let weights = [12.0, 8.0];
        let logits = [vec![0.5, -1.0, 3.0], vec![-0.25, 2.0, -4.0]];
        // −mean log σ(log Σ π Φ), in f64.
        let loss = |logits: &[Vec<f64>; 2]| {
            let image = |i: usize| {
                let odds = 0.6 * logits[0][i].exp() + 0.4 * logits[1][i].exp();
                -(odds / (1.0 + odds)).ln()
            };
            (0..3).map(image).sum::<f64>() / 3.0
        };
        let wide = logits.clone().map(|row| row.into_iter().map(f64::from).collect::<Vec<_>>());
        for (j, row) in derivatives(&weights, &logits, Device::cpu().unwrap()).unwrap().iter().enumerate() {
            for (i, &derivative) in row.iter().enumerate() {
                let moved = |by: f64| {
                    let mut moved = wide.clone();
                    moved[j][i] += by;
                    loss(&moved)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                // 1e-7: f32, and 1e-10 of the central difference.
                assert!((f64::from(derivative) - difference).abs() < 1e-7, "{derivative} {difference}");
            }
        }
    }
}
