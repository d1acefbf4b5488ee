//! A client's work: training a copy of both networks on its own images.

use std::ops::ControlFlow;

use effgan_data::{ClientName, ImageSet};
use effgan_nn::Precision;
use effgan_nn::gan::{Adam, Ema, Gan, Loss, Losses, TrainConfig};
use effgan_nn::networks::{self, Network, TensorSpec};
use effgan_nn::{Params, Purpose, Streams, pixels};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::decay::Decay;
use crate::intake::Shapes;
use crate::message::{Broadcast, ExchangeKind, Numbers, Update, metrics};
use crate::record::{LeftOff, StepRecord, Watch};
use crate::{FlError, Result};

/// The `[local]` table: how a client trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// Images a step, 1..=65536 (from 2 with batch norm); a client with fewer images takes them all.
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
    /// What both networks minimise.
    #[serde(default)]
    pub loss: Loss,
    /// Updates of the discriminator before each of the generator, ≥ 1; each takes the next `batch_size` images.
    #[serde(default = "one")]
    pub discriminator_steps: usize,
    /// Adam's step size for both networks, > 0.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// Adam's step size for the generator, > 0; `learning_rate` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_learning_rate: Option<f64>,
    /// Adam's step size for the discriminator, > 0; `learning_rate` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discriminator_learning_rate: Option<f64>,
    /// How the step sizes fall over the rounds.
    #[serde(default)]
    pub decay: Decay,
    /// Decay of Adam's first moment, 0..1.
    #[serde(default = "default_beta1")]
    pub beta1: f64,
    /// Passes over the client's images a round; this or `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Training steps a round, each with one update of the generator; this or `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Decay of the generator's moving average, 0..1; off when absent. Averaging sends the raw parameters, what is collected is the
    /// average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f32>,
    /// Numbers that the large products of a training step multiply: `f32`, or `bf16` on processors that have the
    /// instruction ([`Precision::Bf16`] says where it has an effect).
    #[serde(default)]
    pub precision: Precision,
}

impl Default for LocalConfig {
    /// What a config says that sets nothing; `epochs` or `steps` is still to be given.
    fn default() -> Self {
        Self {
            batch_size: default_batch_size(),
            loss: Loss::default(),
            discriminator_steps: one(),
            learning_rate: default_learning_rate(),
            generator_learning_rate: None,
            discriminator_learning_rate: None,
            decay: Decay::default(),
            beta1: default_beta1(),
            epochs: None,
            steps: None,
            ema: None,
            precision: Precision::default(),
        }
    }
}

/// A bound on the images of a step: the products of its layers grow with them.
const MOST_IMAGES_A_STEP: usize = 1 << 16;

fn default_batch_size() -> usize {
    64
}

fn one() -> usize {
    1
}

fn default_learning_rate() -> f64 {
    2e-4
}

fn default_beta1() -> f64 {
    0.5
}

/// An amount of local work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Passes over the client's images.
    Epochs(u32),
    /// Training steps.
    Steps(u32),
}

impl Work {
    /// The one of `epochs` and `steps` that is given; `key` names the table or its prefix in the error.
    ///
    /// # Errors
    /// [`FlError::Config`] when none or both are given, or the one is 0.
    pub fn one_of(epochs: Option<u32>, steps: Option<u32>, key: &str) -> Result<Self> {
        match (epochs, steps) {
            (Some(0), None) | (None, Some(0)) => {
                Err(FlError::Config(format!("{key} work is 0, it must be at least 1")))
            }
            (Some(epochs), None) => Ok(Self::Epochs(epochs)),
            (None, Some(steps)) => Ok(Self::Steps(steps)),
            _ => Err(FlError::Config(format!("set exactly one of {key}epochs and {key}steps"))),
        }
    }

    /// `n` times as much.
    #[must_use]
    pub fn times(self, n: u32) -> Self {
        match self {
            Self::Epochs(epochs) => Self::Epochs(epochs.saturating_mul(n)),
            Self::Steps(steps) => Self::Steps(steps.saturating_mul(n)),
        }
    }
}

/// One client's images, as its work sees them.
#[derive(Clone, Copy, Debug)]
pub struct Shard<'a> {
    /// The client.
    pub client: &'a ClientName,
    /// All images of the data set.
    pub images: &'a ImageSet,
    /// Which of them this client trains on.
    pub train: &'a [u32],
}

/// Checks that a client can train `network` on `num_examples` images.
///
/// # Errors
/// [`FlError::OneImage`].
pub fn check_shard(network: &Network, client: &ClientName, num_examples: usize) -> Result<()> {
    if num_examples == 1 && network.has_batch_norm() {
        return Err(FlError::OneImage { client: client.clone() });
    }
    Ok(())
}

/// Both networks and how to train them: what every algorithm of this crate does at a client.
#[derive(Clone, Debug)]
pub struct LocalTraining {
    pub(crate) network: Network,
    config: LocalConfig,
    work: Work,
    /// Exchanges of the run, ≥ 1: over so many the step sizes fall.
    rounds: u32,
    /// Pull towards the broadcast parameters, μ in `FedProx`; none where it is absent.
    pub(crate) mu: Option<f64>,
}

impl LocalTraining {
    /// Trains `network` as `config` says.
    ///
    /// # Errors
    /// [`FlError::Config`] when a setting is out of its bounds.
    pub fn new(network: Network, config: LocalConfig) -> Result<Self> {
        let work = Work::one_of(config.epochs, config.steps, "local.")?;
        config.decay.check()?;
        match wrong_setting(&config, &network) {
            Some(reason) => Err(FlError::Config(reason)),
            None => Ok(Self { network, config, work, rounds: 1, mu: None }),
        }
    }

    /// The same training, in a run of `rounds` exchanges.
    #[must_use]
    pub fn over(self, rounds: u32) -> Self {
        Self { rounds: rounds.max(1), ..self }
    }

    /// The work of one round, `[local] epochs` or `steps`.
    pub fn work(&self) -> Work {
        self.work
    }

    /// First parameters of both networks.
    pub fn init(&self, seed: u64) -> Params {
        let streams = Streams::of_run(seed);
        let draw = |tensors: &[_], which| networks::init(tensors, &mut streams.at(Purpose::Init, which));
        let generator = draw(&self.network.generator_tensors(), 0).named_under("generator");
        generator.merged_with(draw(&self.network.discriminator_tensors(), 1).named_under("discriminator"))
    }

    /// The tensors of [`update`](Self::update)'s answer.
    pub(crate) fn expects(&self, kind: ExchangeKind) -> Shapes {
        let named = |network: &str, tensors: Vec<TensorSpec>| -> Shapes {
            tensors.into_iter().map(|tensor| (format!("{network}.{}", tensor.name), tensor.shape)).collect()
        };
        let mut shapes = named("generator", self.network.generator_tensors());
        if kind != ExchangeKind::Collect {
            shapes.extend(named("discriminator", self.network.discriminator_tensors()));
        }
        shapes
    }

    /// Steps of `work` for `num_examples` images: an epoch is ceil(n / kB) steps, each with k = `discriminator_steps`
    /// batches.
    pub fn steps(&self, work: Work, num_examples: u64) -> u64 {
        let images_a_step = self.config.discriminator_steps as u64 * self.batch_size(num_examples);
        match work {
            Work::Epochs(epochs) => u64::from(epochs).saturating_mul(num_examples.div_ceil(images_a_step)),
            Work::Steps(steps) => u64::from(steps),
        }
    }

    /// Updates of the discriminator before each of the generator.
    pub(crate) fn discriminator_steps(&self) -> usize {
        self.config.discriminator_steps
    }

    /// What both networks minimise.
    pub(crate) fn loss(&self) -> Loss {
        self.config.loss
    }

    /// Whether clients answer with a moving average of the generator.
    pub(crate) fn has_ema(&self) -> bool {
        self.config.ema.is_some()
    }

    /// B, at most n.
    pub(crate) fn batch_size(&self, num_examples: u64) -> u64 {
        (self.config.batch_size as u64).min(num_examples).max(1)
    }

    /// Does `work` and answers as the exchange asks: for an average with both networks, for collecting with the generator alone (its moving
    /// average where `ema` is on), since discriminators stay home.
    ///
    /// # Errors
    /// [`FlError::NonFiniteLoss`], [`FlError::OneImage`], [`FlError::Interrupted`]; tensors that do not fit the network.
    pub fn update(
        &self,
        broadcast: &Broadcast,
        work: Work,
        shard: &Shard,
        streams: &Streams,
        watch: &mut dyn Watch,
    ) -> Result<Update> {
        let Trained { gan, ema, metrics } = self.train(broadcast, work, shard, streams, watch)?;
        let params = match broadcast.kind {
            ExchangeKind::Collect => ema.map_or_else(|| gan.generator(), |ema| ema.params()).named_under("generator"),
            _ => gan.params(),
        };
        Ok(Update { params, num_examples: shard.train.len() as u64, metrics })
    }

    /// The training steps of `round`.
    pub(crate) fn train_config(&self, round: u32) -> TrainConfig {
        let LocalConfig { loss, discriminator_steps, learning_rate, beta1, precision, .. } = self.config;
        let left = self.config.decay.factor(round, self.rounds);
        let adam = |own: Option<f64>| Adam { learning_rate: own.unwrap_or(learning_rate) * left, beta1 };
        TrainConfig {
            loss,
            generator: adam(self.config.generator_learning_rate),
            discriminator: adam(self.config.discriminator_learning_rate),
            discriminator_steps,
            precision,
        }
    }

    fn train(
        &self,
        broadcast: &Broadcast,
        work: Work,
        shard: &Shard,
        streams: &Streams,
        watch: &mut dyn Watch,
    ) -> Result<Trained> {
        check_shard(&self.network, shard.client, shard.train.len())?;
        let (mut gan, mut ema, done) = self.begin(broadcast, watch.left_off()?)?;
        let num_examples = shard.train.len() as u64;
        let steps = self.steps(work, num_examples);
        let images_a_step = self.config.discriminator_steps * self.batch_size(num_examples) as usize;
        let mut batches = Batches::from_step(shard, streams, images_a_step, done.len() as u64);
        let mut sums = [0.0; 2];
        for step in 0..steps {
            let losses;
            let is_new = step as usize >= done.len();
            if is_new {
                let (real, labels) = batches.next_batch();
                let z = streams.normal(Purpose::Latent, step, images_a_step * self.network.latent_dim());
                (gan, losses) = gan.step(real, z, &labels);
                if let Some(ema) = &mut ema {
                    ema.follow(&gan);
                }
            } else {
                // An earlier start did it; it is only told again.
                losses = done[step as usize];
            }
            let (client, batch_size) = (shard.client.clone(), images_a_step as u64);
            let record = StepRecord { client, round: broadcast.round, step: step + 1, steps, batch_size, losses };
            check_finite(&record)?;
            sums[0] += f64::from(losses.discriminator);
            sums[1] += f64::from(losses.generator);
            let interrupted = watch.step(&record) == ControlFlow::Break(());
            if is_new {
                watch.keep(step + 1, interrupted, &|| work_of(&gan, ema.as_ref()))?;
            }
            if interrupted {
                return Err(FlError::Interrupted);
            }
        }
        Ok(Trained { gan, ema, metrics: means(sums, steps) })
    }

    /// The networks of `broadcast`, or where its work was left off, and the losses of the steps that are done.
    fn begin(&self, broadcast: &Broadcast, left_off: Option<LeftOff>) -> Result<(Gan, Option<Ema>, Vec<Losses>)> {
        let mut gan = Gan::new(&self.network, &broadcast.params, self.train_config(broadcast.round))?;
        if let Some(mu) = self.mu {
            gan = gan.with_proximal_term(mu);
        }
        let ema = self.config.ema;
        let Some(LeftOff { losses, work }) = left_off else {
            let ema = ema.map(|decay| Ema::new(decay, &gan));
            return Ok((gan, ema, Vec::new()));
        };
        let gan = gan.resume(&work, losses.len() as u32)?;
        let ema = ema.map(|decay| Ema::resume(decay, &gan, &work.under(EMA))).transpose()?;
        Ok((gan, ema, losses))
    }
}

/// Prefix of the moving average in a work that is kept.
const EMA: &str = "ema";

/// All that later steps depend on.
fn work_of(gan: &Gan, ema: Option<&Ema>) -> Params {
    let ema = ema.map(|ema| ema.params().named_under(EMA));
    gan.training_state().merged_with(ema.unwrap_or_default())
}

/// What is out of its bounds.
fn wrong_setting(config: &LocalConfig, network: &Network) -> Option<String> {
    let &LocalConfig { batch_size, discriminator_steps, beta1, ema, precision, .. } = config;
    let unit = 0.0..1.0;
    // The statistics of one image are its own: batch norm would erase it.
    let least = if network.has_batch_norm() { 2 } else { 1 };
    let wrong = [
        (
            !(least..=MOST_IMAGES_A_STEP).contains(&batch_size),
            format!("local.batch_size = {batch_size} must be at least {least} and at most {MOST_IMAGES_A_STEP}"),
        ),
        (
            discriminator_steps == 0 || discriminator_steps.saturating_mul(batch_size) > MOST_IMAGES_A_STEP,
            format!(
                "local.discriminator_steps = {discriminator_steps} must be at least 1, and times batch_size at most \
                 {MOST_IMAGES_A_STEP}"
            ),
        ),
        // Adam computes in f32, where 0.99999999 is 1.
        (!unit.contains(&f64::from(beta1 as f32)), format!("local.beta1 = {beta1} is outside 0..1")),
        (
            !precision.is_available(),
            format!("local.precision = {} needs a processor with AVX-512 BF16; use f32", precision.name()),
        ),
        (
            ema.is_some_and(|decay| !unit.contains(&f64::from(decay))),
            format!("local.ema = {} is outside 0..1", ema.unwrap_or_default()),
        ),
    ];
    let wrong = wrong.into_iter().find(|(wrong, _)| *wrong).map(|(_, reason)| reason);
    wrong.or_else(|| wrong_learning_rate(config))
}

fn wrong_learning_rate(config: &LocalConfig) -> Option<String> {
    let rates = [
        ("learning_rate", Some(config.learning_rate)),
        ("generator_learning_rate", config.generator_learning_rate),
        ("discriminator_learning_rate", config.discriminator_learning_rate),
    ];
    let mut given = rates.into_iter().filter_map(|(key, rate)| Some((key, rate?)));
    let (key, rate) = given.find(|(_, rate)| !(*rate > 0.0 && rate.is_finite()))?;
    Some(format!("local.{key} = {rate} must be above 0"))
}

struct Trained {
    gan: Gan,
    ema: Option<Ema>,
    metrics: Numbers,
}

fn means([loss_d, loss_g]: [f64; 2], steps: u64) -> Numbers {
    let n = steps as f64;
    metrics(loss_d / n, loss_g / n, steps)
}

pub(crate) fn check_finite(record: &StepRecord) -> Result<()> {
    let losses = [("discriminator", record.losses.discriminator), ("generator", record.losses.generator)];
    match losses.into_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((network, value)) => Err(FlError::NonFiniteLoss {
            network,
            client: record.client.clone(),
            round: record.round,
            step: record.step,
            steps: record.steps,
            value,
        }),
    }
}

/// Batches cut from an endless row of shuffles, so that the last batch of an epoch is filled from the next shuffle.
pub(crate) struct Batches<'a> {
    shard: &'a Shard<'a>,
    streams: &'a Streams,
    batch_size: usize,
    order: Vec<u32>,
    used: usize,
    shuffles: u64,
}

impl<'a> Batches<'a> {
    /// Those from `step` (from 0) on.
    pub(crate) fn from_step(shard: &'a Shard, streams: &'a Streams, batch_size: usize, step: u64) -> Self {
        let (n, gone) = (shard.train.len() as u64, step * batch_size as u64);
        let mut batches = Self { shard, streams, batch_size, order: Vec::new(), used: 0, shuffles: gone / n };
        (0..gone % n).for_each(|_| _ = batches.next_image());
        batches
    }

    /// The next images `[batch_size, c, h, w]`, in [-1, 1], and their labels.
    pub(crate) fn next_batch(&mut self) -> (Vec<f32>, Vec<u8>) {
        let images = self.shard.images;
        let picked: Vec<usize> = (0..self.batch_size).map(|_| self.next_image() as usize).collect();
        let pixels = picked.iter().flat_map(|&index| images.image(index)).map(|&pixel| pixels::to_f32(pixel));
        (pixels.collect(), picked.iter().map(|&index| images.labels()[index]).collect())
    }

    fn next_image(&mut self) -> u32 {
        if self.used == self.order.len() {
            self.order = self.shard.train.to_vec();
            self.order.shuffle(&mut self.streams.at(Purpose::Shuffle, self.shuffles));
            self.shuffles += 1;
            self.used = 0;
        }
        self.used += 1;
        self.order[self.used - 1]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use effgan_nn::networks::{DcganConfig, NetworkConfig};

    use super::*;

    fn training(epochs: Option<u32>, steps: Option<u32>, batch_size: usize) -> Result<LocalTraining> {
        let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, ..DcganConfig::default() };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 4, 4]).unwrap();
        LocalTraining::new(network, LocalConfig { batch_size, epochs, steps, ..LocalConfig::default() })
    }

    #[test]
    fn an_epoch_is_as_many_steps_as_batches_begun() {
        let training = training(Some(3), None, 64).unwrap();
        assert_eq!([1, 10, 64, 65, 128, 129].map(|n| training.steps(training.work(), n)), [3, 3, 3, 6, 6, 9]);
    }

    #[test]
    fn an_epoch_of_steps_with_two_updates_is_one_pass_rounded_up_to_whole_steps() {
        let once = training(Some(1), None, 4).unwrap();
        let twice = LocalTraining { config: LocalConfig { discriminator_steps: 2, ..once.config.clone() }, ..once };
        assert_eq!([2, 4, 8, 9, 16].map(|n| twice.steps(twice.work(), n)), [1, 1, 1, 2, 2]);
    }

    #[test]
    fn step_sizes_stand_apart_and_fall_with_the_round() {
        let training = training(Some(1), None, 4).unwrap().over(4);
        let config = LocalConfig {
            learning_rate: 2e-4,
            discriminator_learning_rate: Some(4e-4),
            decay: Decay::Linear,
            ..training.config.clone()
        };
        let training = LocalTraining { config, ..training };
        let rates = |round| {
            let train = training.train_config(round);
            [train.generator.learning_rate, train.discriminator.learning_rate]
        };
        assert_eq!([rates(1), rates(3)], [[2e-4, 4e-4], [1e-4, 2e-4]]);
    }

    #[test]
    fn two_epochs_of_ten_images_by_four_hold_each_image_twice_and_four_a_third_time() {
        let images = ImageSet::new([1, 1, 1], (0..10).collect(), vec![0; 10], 1).unwrap();
        let (client, train) = (ClientName::new("a").unwrap(), (0..10).collect::<Vec<u32>>());
        let shard = Shard { client: &client, images: &images, train: &train };
        let streams = Streams::of_client(1, 1, "a");
        let mut batches = Batches::from_step(&shard, &streams, 4, 0);
        let mut seen = BTreeMap::<u8, usize>::new();
        for _ in 0..6 {
            batches.next_batch().0.into_iter().for_each(|x| *seen.entry(pixels::to_u8(x)).or_default() += 1);
        }
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|&times| times == 2 || times == 3));
        assert_eq!(seen.values().filter(|&&times| times == 3).count(), 4);
    }

    #[test]
    fn batches_from_a_step_on_are_those_that_follow_it() {
        let images = ImageSet::new([1, 1, 1], (0..10).collect(), vec![0; 10], 1).unwrap();
        let (client, train) = (ClientName::new("a").unwrap(), (0..10).collect::<Vec<u32>>());
        let shard = Shard { client: &client, images: &images, train: &train };
        let streams = Streams::of_client(1, 1, "a");
        // 4 does not divide 10, 5 does, 25 is more than there are.
        for batch_size in [4, 5, 25] {
            let mut row = Batches::from_step(&shard, &streams, batch_size, 0);
            for step in 0..7 {
                let batch = Batches::from_step(&shard, &streams, batch_size, step).next_batch();
                assert_eq!(batch, row.next_batch(), "step {step} by {batch_size}");
            }
        }
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let error = |training: Result<LocalTraining>| training.unwrap_err().to_string();
        assert_eq!(error(training(None, None, 64)), "set exactly one of local.epochs and local.steps");
        assert_eq!(error(training(Some(1), Some(1), 64)), "set exactly one of local.epochs and local.steps");
        assert_eq!(error(training(Some(1), None, 0)), "local.batch_size = 0 must be at least 2 and at most 65536");
        let with = |config: LocalConfig| {
            let network = training(Some(1), None, 4).unwrap().network;
            error(LocalTraining::new(network, LocalConfig { epochs: Some(1), ..config }))
        };
        let steps = |discriminator_steps| with(LocalConfig { discriminator_steps, ..LocalConfig::default() });
        for wrong in [0, 1025] {
            let line =
                format!("local.discriminator_steps = {wrong} must be at least 1, and times batch_size at most 65536");
            assert_eq!(steps(wrong), line);
        }
        let rate = LocalConfig { generator_learning_rate: Some(0.0), ..LocalConfig::default() };
        assert_eq!(with(rate), "local.generator_learning_rate = 0 must be above 0");
    }
}
