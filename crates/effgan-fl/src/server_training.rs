//! Training with one generator at the server and a discriminator at each client, which MD-GAN and UA-GAN share.
//!
//! In each of its steps, the server draws one batch of images and sends it to every client of the round. A client trains its
//! discriminator on them and on equally many of its own images, and replies with what the generator learns from. (In the paper of
//! MD-GAN, the server draws k batches and sends two of them to each client, one to train on and one to give feedback on; this is
//! its k = 1.) Images and the generator's step use the same z, so a federation of one client does the steps of a
//! [`Gan`](effgan_nn::gan::Gan).
//!
//! As everywhere in this crate, Adam's moments are reset at the beginning of each round. Within a round they are kept beside the
//! parameters: those of the generator in the server's state, those of a discriminator in its client's state.

use std::any::Any;

use effgan_nn::gan::{GanModel, LocalDiscriminator, Loss, ServerGenerator};
use effgan_nn::model::LossName;
use effgan_nn::{Array, Device, Model, Params, Purpose, Streams};

use crate::aggregate::Weights;
use crate::local::{LocalTraining, Shard, batch, check_shard};
use crate::message::{Broadcast, Exchange, ExchangeKind, Numbers, Shapes, Update, metrics};
use crate::roster::RoundContext;
use crate::state::{ClientState, ServerState};
use crate::step_observer::{StepObserver, StepRecord};
use crate::{FlError, Result, cohort};

/// The server's images, in its state and in a broadcast.
pub(crate) const IMAGES: &str = "images";
/// The gradient at these images, in a reply.
pub(crate) const GRADIENT: &str = "gradient";
/// z of the server's images, in its state.
const LATENT: &str = "latent";
/// Prefix of Adam's moments: of the generator in the server's state, of the discriminator in a client's state.
pub(crate) const ADAM: &str = "adam";

/// Checks that networks can be trained apart by the algorithm `name`: that they are given no labels, a discriminator makes one update
/// per step, and the generator has no moving average.
///
/// # Errors
/// [`FlError::Config`], naming the key.
pub(crate) fn check_training(
    name: &str,
    is_conditional: bool,
    discriminator_steps: usize,
    has_ema: bool,
) -> Result<()> {
    let wrong = [
        (is_conditional, "network.conditional = true", "set it to false"),
        (discriminator_steps > 1, "local.discriminator_steps above 1", "set it to 1"),
        (has_ema, "local.ema", "remove it"),
    ];
    match wrong.into_iter().find(|(wrong, ..)| *wrong) {
        Some((_, key, fix)) => Err(FlError::Config(format!("{key} is not supported by {name}; {fix}"))),
        None => Ok(()),
    }
}

/// The training of a generator at the server and of discriminators at the clients.
pub(crate) struct ServerTraining {
    gan: GanModel,
    training: LocalTraining,
    pub(crate) rounds: u32,
    /// Share of the clients that take part in a round.
    cohort: f64,
    pub(crate) weights: Weights,
}

impl ServerTraining {
    /// The training of a `training`'s generator and discriminator apart, by the algorithm `name`.
    ///
    /// # Errors
    /// [`FlError::Config`] for another model, and as [`check_training`].
    pub(crate) fn new(name: &str, training: LocalTraining, rounds: u32, cohort: f64, weights: Weights) -> Result<Self> {
        let model: &dyn Any = training.model();
        let Some(gan) = model.downcast_ref::<GanModel>().cloned() else {
            return Err(FlError::Config(format!(
                "{name} trains a generator and a discriminator, which the model is not"
            )));
        };
        check_training(
            name,
            gan.network.num_classes.is_some(),
            gan.discriminator_steps.per_step(),
            training.has_ema(),
        )?;
        if gan.privacy.is_some() {
            return Err(FlError::Config(format!("[privacy] is not for {name}, whose gradients no noise hides")));
        }
        Ok(Self { gan, training, rounds, cohort, weights })
    }

    /// The loss that both networks minimise.
    pub(crate) fn loss(&self) -> Loss {
        self.gan.loss
    }

    /// The device that trains.
    pub(crate) fn device(&self) -> Device {
        self.training.device
    }

    /// The losses of a client's step.
    pub(crate) fn losses(&self) -> &'static [LossName] {
        self.gan.losses()
    }

    /// The initial parameters of both networks. The server never changes the discriminator: every new client begins with it.
    pub(crate) fn init(&self, seed: u64) -> ServerState {
        ServerState::after_round(0, self.training.init(seed))
    }

    /// Does `work` on `images` images. When it fills the device, the error has the sizes that do.
    pub(crate) fn with_sizes<T>(&self, images: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.training.with_sizes(images as u64, work)
    }

    /// The first exchange of the round after `state`; `None` when all rounds are done.
    ///
    /// The server makes as many steps as the clients of the cohort would make on average, rounded up. With equal `[local]` settings, the
    /// discriminators are then trained as much in all as in `fedgan`. The n_k that count decide, since every client does these steps: one
    /// that claims too many images would otherwise keep all others at work.
    pub(crate) fn round(&self, state: &ServerState, ctx: &RoundContext, kind: ExchangeKind) -> Option<Exchange> {
        let round = state.round + 1;
        if round > self.rounds {
            return None;
        }
        let cohort = cohort::draw(ctx, round, self.cohort);
        let work = self.training.work();
        let steps = cohort.iter().map(|client| self.training.steps(work, ctx.counts_of(client)));
        let iterations = steps.fold(0, u64::saturating_add).div_ceil(cohort.len() as u64);
        Some(Exchange { iterations, ..Exchange::of_round(round, kind, cohort) })
    }

    /// The state with a new batch of images, of the batch size of the cohort's largest client, however few of its images count: a client
    /// refuses images that are fewer than its own batch.
    pub(crate) fn with_images(
        &self,
        mut state: ServerState,
        exchange: &Exchange,
        ctx: &RoundContext,
    ) -> Result<ServerState> {
        let network = &self.gan.network;
        let max_examples = exchange.cohort.iter().map(|client| ctx.num_examples_of(client)).max().unwrap_or(1);
        let n = self.training.batch_size(max_examples) as usize;
        let streams = Streams::of_round(ctx.seed, exchange.round);
        let z = streams.normal(Purpose::Latent, exchange.iteration, n * network.latent_dim());
        let images = self.with_sizes(n, || Ok(self.generator(&state, exchange)?.images(z.clone())?))?;
        let [c, h, w] = network.image_shape;
        state.params.insert(LATENT, Array::new([n, network.latent_dim()], z));
        state.params.insert(IMAGES, Array::new([n, c, h, w], images));
        Ok(state)
    }

    /// The server's parameters after a step of its generator, given the `gradient` of its loss at the images.
    pub(crate) fn step(&self, state: &ServerState, exchange: &Exchange, gradient: Vec<f32>) -> Result<Params> {
        let z = state.params.get(LATENT)?;
        self.with_sizes(z.shape[0], || {
            let generator = self.generator(state, exchange)?.step(z.values().to_vec(), gradient);
            let discriminator = state.params.under("discriminator").named_under("discriminator");
            let params = generator.params()?.named_under("generator").merged_with(discriminator);
            if exchange.iteration + 1 == exchange.iterations {
                return Ok(params);
            }
            Ok(params.merged_with(generator.optimiser_state()?.named_under(ADAM)))
        })
    }

    fn generator(&self, state: &ServerState, exchange: &Exchange) -> Result<ServerGenerator> {
        let train = self.gan.train_config(&self.training.plan(exchange.round));
        let [params, moments] = ["generator", ADAM].map(|prefix| state.params.under(prefix));
        let steps = exchange.iteration as u32;
        Ok(ServerGenerator::new(&self.gan.network, &params, &train, steps, &moments, self.device())?)
    }

    /// Trains a client's discriminator by one step, on the server's images and equally many of the client's own. Returns the
    /// discriminator and its loss; the client's state is not changed yet.
    pub(crate) fn train(
        &self,
        broadcast: &Broadcast,
        client_state: &ClientState,
        shard: &Shard,
        streams: &Streams,
    ) -> Result<(LocalDiscriminator, f32)> {
        check_shard(&self.gan, shard.client, shard.train.len())?;
        let known = if client_state.is_empty() { &broadcast.params } else { client_state };
        let moments = if broadcast.iteration == 0 { Params::new() } else { client_state.under(ADAM) };
        let discriminator = self.discriminator(known, broadcast.round, broadcast.iteration as u32, &moments)?;
        let fake = broadcast.params.get(IMAGES)?;
        self.check_images(fake, shard.train.len() as u64)?;
        let mut batches = self.training.batches(shard, streams, fake.shape[0], broadcast.iteration);
        let real = batches.next().unwrap_or_default();
        if real.len() != fake.shape[0] {
            let (images, expected) = (real.len(), fake.shape[0]);
            return Err(FlError::Config(format!("a step has {images} images; the server sent {expected}")));
        }
        Ok(discriminator.step(batch(shard, None, &real).images(), fake.values().to_vec())?)
    }

    /// Checks that the server's images are at least a batch of this client, which has `num_examples`, and at most a batch of the
    /// largest possible one. Otherwise a server could send a single image, and the reply would depend on a single image of the
    /// client.
    fn check_images(&self, images: &Array, num_examples: u64) -> Result<()> {
        let [c, h, w] = self.gan.network.image_shape;
        let (min_images, max_images) = (self.training.batch_size(num_examples), self.training.batch_size(u64::MAX));
        let is_batch = |n: usize| (min_images..=max_images).contains(&(n as u64)) && images.shape == [n, c, h, w];
        if images.shape.first().is_some_and(|&n| is_batch(n)) {
            return Ok(());
        }
        let got = &images.shape;
        Err(FlError::Config(format!(
            "the server sent images of shape {got:?}, expected {min_images} to {max_images} images of shape [{c}, {h}, {w}]"
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
        let train = self.gan.train_config(&self.training.plan(round));
        let params = params.under("discriminator");
        Ok(LocalDiscriminator::new(&self.gan.network, &params, &train, steps, moments, self.device())?)
    }

    /// The reply `params` of a client that has trained one step with the losses `[discriminator, generator]`; reports the step to
    /// `observer`.
    pub(crate) fn trained_reply(
        &self,
        params: Params,
        losses: [f32; 2],
        broadcast: &Broadcast,
        shard: &Shard,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        let Broadcast { round, iteration, iterations: steps, .. } = *broadcast;
        let batch_size = broadcast.params.get(IMAGES)?.shape[0] as u64;
        let (client, names, step) = (shard.client.clone(), self.losses(), iteration + 1);
        let record = StepRecord { client, round, step, steps, batch_size, names, losses: losses.into() };
        record.check_finite()?;
        if observer.step(&record).is_break() {
            return Err(FlError::Interrupted);
        }
        let metrics = metrics(names, &losses.map(f64::from), 1);
        Ok(Update { params, num_examples: shard.train.len() as u64, metrics })
    }
}

/// The broadcast of the server's images. The first of a round also has the discriminator with which a new client begins.
pub(crate) fn send_images(state: &ServerState, exchange: &Exchange) -> Broadcast {
    let first = exchange.iteration == 0;
    let sent = |name: &str| name == IMAGES || (first && name.starts_with("discriminator."));
    let params = state.params.iter().filter(|(name, _)| sent(name));
    exchange.message(params.map(|(name, array)| (name.clone(), array.clone())).collect())
}

/// The tensors of a reply with the gradient at the server's images.
pub(crate) fn expects_gradient(state: &ServerState) -> Result<Shapes> {
    Ok([(GRADIENT.to_owned(), state.params.get(IMAGES)?.shape.clone())].into())
}

/// The state of a client with this discriminator.
///
/// # Errors
/// When the device fails.
pub(crate) fn client_state_of(discriminator: &LocalDiscriminator) -> Result<ClientState> {
    let params = discriminator.params()?.named_under("discriminator");
    Ok(params.merged_with(discriminator.optimiser_state()?.named_under(ADAM)))
}

/// A single tensor with the shape of `like`.
pub(crate) fn one_tensor(name: impl Into<String>, like: &Array, values: Vec<f32>) -> Params {
    [(name.into(), Array::new(like.shape.clone(), values))].into_iter().collect()
}

/// The reply `params` of a client that has not trained.
pub(crate) fn untrained_reply(params: Params, shard: &Shard) -> Update {
    Update { params, num_examples: shard.train.len() as u64, metrics: Numbers::new() }
}
