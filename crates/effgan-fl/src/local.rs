//! A client's work: training a copy of both networks on its own images.

use std::ops::ControlFlow;

use effgan_data::{ClientName, ImageSet};
use effgan_nn::gan::{Adam, Ema, Gan};
use effgan_nn::kernels::Precision;
use effgan_nn::networks::{self, Network};
use effgan_nn::{Params, Purpose, Streams, pixels};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::message::{Broadcast, ExchangeKind, Numbers, Update};
use crate::record::{StepRecord, Watch};
use crate::{FlError, Result};

/// The `[local]` table: how a client trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// Images a step, 1..=65536 (from 2 with batch norm); a client with fewer images takes them all.
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
    /// Adam's step size for both networks, > 0.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// Decay of Adam's first moment, 0..1.
    #[serde(default = "default_beta1")]
    pub beta1: f64,
    /// Passes over the client's images a round; this or `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Training steps a round; this or `epochs`.
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

/// A bound on `batch_size`: the products of a step's layers grow with it.
const MOST_IMAGES_A_STEP: usize = 1 << 16;

fn default_batch_size() -> usize {
    64
}

fn default_learning_rate() -> f64 {
    2e-4
}

fn default_beta1() -> f64 {
    0.5
}

/// An amount of local work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    network: Network,
    config: LocalConfig,
    work: Work,
}

impl LocalTraining {
    /// Trains `network` as `config` says.
    ///
    /// # Errors
    /// [`FlError::Config`] when a setting is out of its bounds.
    pub fn new(network: Network, config: LocalConfig) -> Result<Self> {
        let work = Work::one_of(config.epochs, config.steps, "local.")?;
        let LocalConfig { batch_size, learning_rate, beta1, ema, precision, .. } = config;
        let unit = 0.0..1.0;
        // The statistics of one image are its own: batch norm would erase it.
        let least = if network.has_batch_norm() { 2 } else { 1 };
        let wrong = [
            (
                !(least..=MOST_IMAGES_A_STEP).contains(&batch_size),
                format!("local.batch_size = {batch_size} must be at least {least} and at most {MOST_IMAGES_A_STEP}"),
            ),
            (
                !(learning_rate > 0.0 && learning_rate.is_finite()),
                format!("local.learning_rate = {learning_rate} must be above 0"),
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
        match wrong.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, reason)) => Err(FlError::Config(reason)),
            None => Ok(Self { network, config, work }),
        }
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

    /// Steps of `work` for `num_examples` images: an epoch is ceil(n / B) steps.
    pub fn steps(&self, work: Work, num_examples: u64) -> u64 {
        match work {
            Work::Epochs(epochs) => u64::from(epochs) * num_examples.div_ceil(self.batch_size(num_examples)),
            Work::Steps(steps) => u64::from(steps),
        }
    }

    /// B, at most n.
    fn batch_size(&self, num_examples: u64) -> u64 {
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
            ExchangeKind::Average => gan.params(),
            ExchangeKind::Collect => ema.map_or_else(|| gan.generator(), Ema::into_params).named_under("generator"),
        };
        Ok(Update { params, num_examples: shard.train.len() as u64, metrics })
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
        let adam = Adam { learning_rate: self.config.learning_rate, beta1: self.config.beta1 };
        let mut gan = Gan::new(&self.network, &broadcast.params, adam, self.config.precision)?;
        let mut ema = self.config.ema.map(|decay| Ema::new(decay, &gan));
        let num_examples = shard.train.len() as u64;
        let steps = self.steps(work, num_examples);
        let mut batches = Batches::new(shard, streams, self.batch_size(num_examples) as usize);
        let mut sums = [0.0; 2];
        for step in 0..steps {
            let real = batches.next_batch();
            let z = streams.normal(Purpose::Latent, step, batches.batch_size * self.network.latent_dim());
            let losses;
            (gan, losses) = gan.step(real, z);
            let (client, batch_size) = (shard.client.clone(), batches.batch_size as u64);
            let record = StepRecord { client, round: broadcast.round, step: step + 1, steps, batch_size, losses };
            check_finite(&record)?;
            if let Some(ema) = &mut ema {
                ema.follow(&gan);
            }
            sums[0] += f64::from(losses.discriminator);
            sums[1] += f64::from(losses.generator);
            if watch.step(&record) == ControlFlow::Break(()) {
                return Err(FlError::Interrupted);
            }
        }
        Ok(Trained { gan, ema, metrics: means(sums, steps) })
    }
}

struct Trained {
    gan: Gan,
    ema: Option<Ema>,
    metrics: Numbers,
}

fn means([loss_d, loss_g]: [f64; 2], steps: u64) -> Numbers {
    let n = steps as f64;
    let metrics = [("loss_d", loss_d / n), ("loss_g", loss_g / n), ("steps", n)];
    metrics.map(|(name, value)| (name.to_owned(), value)).into()
}

fn check_finite(record: &StepRecord) -> Result<()> {
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
struct Batches<'a> {
    shard: &'a Shard<'a>,
    streams: &'a Streams,
    batch_size: usize,
    order: Vec<u32>,
    used: usize,
    shuffles: u64,
}

impl<'a> Batches<'a> {
    fn new(shard: &'a Shard, streams: &'a Streams, batch_size: usize) -> Self {
        Self { shard, streams, batch_size, order: Vec::new(), used: 0, shuffles: 0 }
    }

    /// The next images `[batch_size, c, h, w]`, in [-1, 1].
    fn next_batch(&mut self) -> Vec<f32> {
        let picked: Vec<u32> = (0..self.batch_size).map(|_| self.next_image()).collect();
        let image = |&index: &u32| self.shard.images.image(index as usize);
        picked.iter().flat_map(image).map(|&pixel| pixels::to_f32(pixel)).collect()
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

    use effgan_nn::networks::{DcganConfig, NetworkConfig, NormKind};

    use super::*;

    fn training(epochs: Option<u32>, steps: Option<u32>, batch_size: usize) -> Result<LocalTraining> {
        let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, norm: NormKind::Batch };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 4, 4]).unwrap();
        LocalTraining::new(
            network,
            LocalConfig {
                batch_size,
                learning_rate: 1e-3,
                beta1: 0.5,
                epochs,
                steps,
                ema: None,
                precision: Precision::F32,
            },
        )
    }

    #[test]
    fn an_epoch_is_as_many_steps_as_batches_begun() {
        let training = training(Some(3), None, 64).unwrap();
        assert_eq!([1, 10, 64, 65, 128, 129].map(|n| training.steps(training.work(), n)), [3, 3, 3, 6, 6, 9]);
    }

    #[test]
    fn two_epochs_of_ten_images_by_four_hold_each_image_twice_and_four_a_third_time() {
        let images = ImageSet::new([1, 1, 1], (0..10).collect(), vec![0; 10], 1).unwrap();
        let (client, train) = (ClientName::new("a").unwrap(), (0..10).collect::<Vec<u32>>());
        let shard = Shard { client: &client, images: &images, train: &train };
        let streams = Streams::of_client(1, 1, "a");
        let mut batches = Batches::new(&shard, &streams, 4);
        let mut seen = BTreeMap::<u8, usize>::new();
        for _ in 0..6 {
            batches.next_batch().into_iter().for_each(|x| *seen.entry(pixels::to_u8(x)).or_default() += 1);
        }
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|&times| times == 2 || times == 3));
        assert_eq!(seen.values().filter(|&&times| times == 3).count(), 4);
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let error = |training: Result<LocalTraining>| training.unwrap_err().to_string();
        assert_eq!(error(training(None, None, 64)), "set exactly one of local.epochs and local.steps");
        assert_eq!(error(training(Some(1), Some(1), 64)), "set exactly one of local.epochs and local.steps");
        assert_eq!(error(training(Some(1), None, 0)), "local.batch_size = 0 must be at least 2 and at most 65536");
    }
}
