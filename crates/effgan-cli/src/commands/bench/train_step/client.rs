//! A client that trains on noise.

use std::time::{Duration, Instant};

use effgan_nn::model::{Batch, Model as _, Trainer, init};
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
    trainer: Box<dyn Trainer>,
    streams: Streams,
    batches: Vec<Batch>,
    steps: usize,
}

impl Client {
    pub(super) fn new(setting: &Setting, device: Device, seed: u64) -> Result<Self> {
        let (network, streams, n) = (&setting.network, Streams::of_run(seed), setting.images_per_step());
        let labels = network.num_classes.map_or_else(Vec::new, |classes| (0..n).map(|i| (i % classes) as u8).collect());
        let batch = |i| {
            let noise = streams.normal(Purpose::Shuffle, i, n * network.image_len());
            Batch { images: noise.into_iter().map(f32::tanh).collect(), labels: labels.clone() }
        };
        let model = setting.model();
        let trainer = model.trainer(&init(&model, seed), &setting.plan(), device)?;
        Ok(Self { trainer, batches: (0..BATCHES).map(batch).collect(), streams, steps: 0 })
    }

    pub(super) fn warmed_up(mut self) -> Result<Self> {
        let started = Instant::now();
        while self.steps < *WARM_UP_STEPS.start() || (self.steps < *WARM_UP_STEPS.end() && started.elapsed() < WARM_UP)
        {
            self.step()?;
        }
        Ok(self)
    }

    pub(super) fn step(&mut self) -> Result<()> {
        let batch = self.batches[self.steps % self.batches.len()].clone();
        self.trainer.step(batch, &self.streams)?;
        self.steps += 1;
        Ok(())
    }
}
