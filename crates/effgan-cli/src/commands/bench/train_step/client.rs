//! A client that trains on noise.

use std::time::{Duration, Instant};

use effgan_nn::gan::Gan;
use effgan_nn::networks::init;
use effgan_nn::{Device, Purpose, Streams};
use effgan_run::failure::Result;

use super::setting::Setting;

/// Batches that the steps cycle through.
const BATCHES: u64 = 8;

/// Bounds on the steps before timing starts, for caches and allocator to settle: Adam's moments exist after the first, and long
/// steps need no more.
const WARM_UP_STEPS: std::ops::RangeInclusive<usize> = 2..=10;
const WARM_UP: Duration = Duration::from_secs(1);

/// A client in training.
pub(super) struct Client {
    gan: Gan,
    batches: Vec<Batch>,
    steps: usize,
}

/// The data of one step on n images.
struct Batch {
    /// `[n, c, h, w]`.
    real: Vec<f32>,
    /// `[n, latent_dim]`.
    z: Vec<f32>,
    /// `[n]`; empty where the network is not conditional.
    labels: Vec<u8>,
}

impl Client {
    pub(super) fn new(setting: &Setting, device: Device, seed: u64) -> Result<Self> {
        let (network, streams, n) = (&setting.network, Streams::of_run(seed), setting.images_per_step());
        let first = |tensors: &[_], which| init(tensors, &mut streams.at(Purpose::Init, which));
        let generator = first(&network.generator_tensors(), 0).named_under("generator");
        let params = generator.merged_with(first(&network.discriminator_tensors(), 1).named_under("discriminator"));
        let noise = |purpose, i, len| streams.normal(purpose, i, n * len);
        let batch = |i| Batch {
            real: noise(Purpose::Shuffle, i, network.image_len()).into_iter().map(f32::tanh).collect(),
            z: noise(Purpose::Latent, i, network.latent_dim()),
            labels: network.num_classes.map_or_else(Vec::new, |classes| (0..n).map(|i| (i % classes) as u8).collect()),
        };
        let gan = Gan::new(network, &params, setting.train_config(), device)?;
        Ok(Self { gan, batches: (0..BATCHES).map(batch).collect(), steps: 0 })
    }

    pub(super) fn warmed_up(mut self) -> Self {
        let started = Instant::now();
        while self.steps < *WARM_UP_STEPS.start() || (self.steps < *WARM_UP_STEPS.end() && started.elapsed() < WARM_UP)
        {
            self = self.step();
        }
        self
    }

    pub(super) fn step(mut self) -> Self {
        let Batch { real, z, labels } = &self.batches[self.steps % self.batches.len()];
        (self.gan, _) = self.gan.step(real.clone(), z.clone(), labels);
        self.steps += 1;
        self
    }
}
