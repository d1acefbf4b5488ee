//! Training with one generator at the server and a discriminator at each client: what MD-GAN and UA-GAN share.
//!
//! In each of its steps the server draws one batch of images and sends it to every client of the round; a client
//! trains its discriminator on as many of its own, and answers with what the generator is to learn from. (The paper
//! of MD-GAN lets the server draw k batches, and deals two of them to each client, one to train on and one to judge;
//! this is its k = 1.) Images and generator are those of one z, so a federation of one client does the steps of a
//! [`Gan`](effgan_nn::gan::Gan).
//!
//! As everywhere in this crate both Adams start afresh in each round. Their moments travel with the parameters: at
//! the server in its state, at a client in its memory.

use std::ops::ControlFlow;

use effgan_nn::gan::{LocalDiscriminator, Losses, ServerGenerator};
use effgan_nn::{Array, Params, Purpose, Streams};

use crate::aggregate::Weights;
use crate::local::{Batches, LocalTraining, Shard, check_finite, check_shard};
use crate::message::{Broadcast, Exchange, ExchangeKind, Numbers, Shapes, Update, metrics};
use crate::roster::RoundContext;
use crate::state::{ClientState, ServerState};
use crate::step_observer::{StepObserver, StepRecord};
use crate::{FlError, Result, cohort};

/// The server's images, in its state and in a message.
pub(crate) const IMAGES: &str = "images";
/// A gradient at these images, in a reply.
pub(crate) const GRADIENT: &str = "gradient";
/// z of the server's images, in its state.
const LATENT: &str = "latent";
/// Prefix of Adam's moments: of the generator in the server's state, of the discriminator in a client's memory.
pub(crate) const ADAM: &str = "adam";

/// A generator at the server, discriminators at the clients, and how to train them.
pub(crate) struct ServerTraining {
    pub(crate) training: LocalTraining,
    pub(crate) rounds: u32,
    /// Share of the clients in a round.
    pub(crate) cohort: f64,
    pub(crate) weights: Weights,
}

impl ServerTraining {
    /// Checks what this kind of training has not: labels, and several updates of a discriminator a step.
    ///
    /// # Errors
    /// [`FlError::Config`]; `name` is the algorithm's.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        let wrong = [
            (self.training.network.num_classes.is_some(), "network.conditional = true", "false"),
            (self.training.discriminator_steps() > 1, "local.discriminator_steps above 1", "1"),
            (self.training.has_ema(), "local.ema", "none"),
        ];
        match wrong.into_iter().find(|(wrong, ..)| *wrong) {
            Some((_, key, known)) => Err(FlError::Config(format!("{key} is not for {name}, which has {known}"))),
            None => Ok(()),
        }
    }

    /// The first parameters of both networks. The discriminator stays as it is: it is what a client begins with.
    pub(crate) fn init(&self, seed: u64) -> ServerState {
        ServerState::after_round(0, self.training.init(seed))
    }

    /// The first exchange of the round at hand, `None` when all are done.
    ///
    /// The server makes as many steps as clients would make on average by themselves, rounded up: with equal keys,
    /// discriminators are trained as much in all as in `fedgan`.
    pub(crate) fn round(&self, state: &ServerState, ctx: &RoundContext, kind: ExchangeKind) -> Option<Exchange> {
        let round = state.round + 1;
        if round > self.rounds {
            return None;
        }
        let cohort = cohort::draw(ctx, round, self.cohort);
        let work = self.training.work();
        let steps = cohort.iter().map(|client| self.training.steps(work, ctx.num_examples_of(client)));
        let iterations = steps.fold(0, u64::saturating_add).div_ceil(cohort.len() as u64);
        Some(Exchange { iterations, ..Exchange::of_round(round, kind, cohort) })
    }

    /// The state with a new batch of images, as many as the largest client of the cohort has for a batch.
    pub(crate) fn with_images(
        &self,
        mut state: ServerState,
        exchange: &Exchange,
        ctx: &RoundContext,
    ) -> Result<ServerState> {
        let network = &self.training.network;
        let most = exchange.cohort.iter().map(|client| ctx.num_examples_of(client)).max().unwrap_or(1);
        let n = self.training.batch_size(most) as usize;
        let streams = Streams::of_round(ctx.seed, exchange.round);
        let z = streams.normal(Purpose::Latent, exchange.iteration, n * network.latent_dim());
        let images = self.generator(&state, exchange)?.images(z.clone());
        let [c, h, w] = network.image_shape;
        state.params.insert(LATENT, Array::new([n, network.latent_dim()], z));
        state.params.insert(IMAGES, Array::new([n, c, h, w], images));
        Ok(state)
    }

    /// The server's parameters after a step of its generator against `gradient`, that of its loss at the images.
    pub(crate) fn step(&self, state: &ServerState, exchange: &Exchange, gradient: Vec<f32>) -> Result<Params> {
        let z = state.params.get(LATENT)?.values.clone();
        let generator = self.generator(state, exchange)?.step(z, gradient);
        let discriminator = state.params.under("discriminator").named_under("discriminator");
        let params = generator.params().named_under("generator").merged_with(discriminator);
        let last = exchange.iteration + 1 == exchange.iterations;
        Ok(if last { params } else { params.merged_with(generator.moments().named_under(ADAM)) })
    }

    fn generator(&self, state: &ServerState, exchange: &Exchange) -> Result<ServerGenerator> {
        let LocalTraining { network, .. } = &self.training;
        let train = self.training.train_config(exchange.round);
        let [params, moments] = ["generator", ADAM].map(|prefix| state.params.under(prefix));
        let steps = exchange.iteration as u32;
        Ok(ServerGenerator::new(network, &params, &train, steps, &moments)?)
    }

    /// A client's discriminator after a step on the server's images and as many of its own, and its loss. The client
    /// does not remember it yet.
    pub(crate) fn train(
        &self,
        broadcast: &Broadcast,
        memory: &ClientState,
        shard: &Shard,
        streams: &Streams,
    ) -> Result<(LocalDiscriminator, f32)> {
        check_shard(&self.training.network, shard.client, shard.train.len())?;
        let known = if memory.is_empty() { &broadcast.params } else { memory };
        let moments = if broadcast.iteration == 0 { Params::new() } else { memory.under(ADAM) };
        let discriminator = self.discriminator(known, broadcast.round, broadcast.iteration as u32, &moments)?;
        let fake = broadcast.params.get(IMAGES)?;
        self.check_images(fake, shard.train.len() as u64)?;
        let (real, _) = Batches::from_step(shard, streams, fake.shape[0], broadcast.iteration).next_batch();
        Ok(discriminator.step(real, fake.values.clone()))
    }

    /// Whether the server's images are a batch of the largest client, which has no fewer images than this one with `num_examples`: an answer
    /// to a single image would be made of one of the client's own.
    fn check_images(&self, images: &Array, num_examples: u64) -> Result<()> {
        let [c, h, w] = self.training.network.image_shape;
        let (least, most) = (self.training.batch_size(num_examples), self.training.batch_size(u64::MAX));
        let is_batch = |n: usize| (least..=most).contains(&(n as u64)) && images.shape == [n, c, h, w];
        if images.shape.first().is_some_and(|&n| is_batch(n)) {
            return Ok(());
        }
        let got = &images.shape;
        Err(FlError::Config(format!(
            "the server sent images of the shape {got:?}, and a batch of the config has {least} to {most} of {c} × {h} × {w}"
        )))
    }

    /// The discriminator among `params`.
    pub(crate) fn discriminator(
        &self,
        params: &Params,
        round: u32,
        steps: u32,
        moments: &Params,
    ) -> Result<LocalDiscriminator> {
        let LocalTraining { network, .. } = &self.training;
        let train = self.training.train_config(round);
        let params = params.under("discriminator");
        Ok(LocalDiscriminator::new(network, &params, &train, steps, moments)?)
    }
}

/// The message with the server's images; in the first of a round also with the discriminator that a new client begins
/// with.
pub(crate) fn send_images(state: &ServerState, exchange: &Exchange) -> Broadcast {
    let first = exchange.iteration == 0;
    let sent = |name: &str| name == IMAGES || (first && name.starts_with("discriminator."));
    let params = state.params.iter().filter(|(name, _)| sent(name));
    exchange.message(params.map(|(name, array)| (name.clone(), array.clone())).collect())
}

/// An answer with the gradient at the server's images.
pub(crate) fn expects_gradient(state: &ServerState) -> Result<Shapes> {
    Ok([(GRADIENT.to_owned(), state.params.get(IMAGES)?.shape.clone())].into())
}

/// What a client remembers of its discriminator.
pub(crate) fn remembered(discriminator: &LocalDiscriminator) -> ClientState {
    let params = discriminator.params().named_under("discriminator");
    params.merged_with(discriminator.moments().named_under(ADAM))
}

/// A message of one tensor.
pub(crate) fn one_tensor(name: impl Into<String>, like: &Array, values: Vec<f32>) -> Params {
    [(name.into(), Array::new(like.shape.clone(), values))].into_iter().collect()
}

/// A reply of `params` after a step with these `losses`.
pub(crate) fn answer(
    params: Params,
    losses: Losses,
    broadcast: &Broadcast,
    shard: &Shard,
    observer: &mut dyn StepObserver,
) -> Result<Update> {
    let Broadcast { round, iteration, iterations, .. } = *broadcast;
    let batch_size = broadcast.params.get(IMAGES)?.shape[0] as u64;
    let client = shard.client.clone();
    let record = StepRecord { client, round, step: iteration + 1, steps: iterations, batch_size, losses };
    check_finite(&record)?;
    if observer.step(&record) == ControlFlow::Break(()) {
        return Err(FlError::Interrupted);
    }
    let (loss_d, loss_g) = (f64::from(losses.discriminator), f64::from(losses.generator));
    Ok(Update { params, num_examples: shard.train.len() as u64, metrics: metrics(loss_d, loss_g, 1) })
}

/// A reply of `params` of a client that trained nothing.
pub(crate) fn answer_untrained(params: Params, shard: &Shard) -> Update {
    Update { params, num_examples: shard.train.len() as u64, metrics: Numbers::new() }
}
