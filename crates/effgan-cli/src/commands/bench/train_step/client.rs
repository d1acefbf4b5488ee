//! A client that trains on noise.

use std::time::{Duration, Instant};

use effgan_nn::model::{Batch, Model as _, Trainer, TrainingImages, init};
use effgan_nn::{Device, Purpose, Streams, pixels};
use effgan_run::failure::Result;

use super::setting::Setting;

/// Batches that the steps cycle through.
const BATCHES: usize = 8;

/// Bounds on the steps before timing starts, for caches and allocator to settle: Adam's moments exist after the first, and long
/// steps need no more.
const WARM_UP_STEPS: std::ops::RangeInclusive<usize> = 2..=10;
const WARM_UP: Duration = Duration::from_secs(1);

/// A client in training.
pub(super) struct Client {
    trainer: Box<dyn Trainer>,
    streams: Streams,
    /// Images, labels and indices of all batches.
    pixels: Vec<u8>,
    labels: Vec<u8>,
    indices: Vec<u32>,
    steps: usize,
    device: Device,
}

impl Client {
    pub(super) fn new(setting: &Setting, device: Device, seed: u64) -> Result<Self> {
        let (network, streams, n) = (&setting.network, Streams::of_run(seed), setting.images_per_step());
        let (n, classes) = (n * BATCHES, network.num_classes.unwrap_or(1));
        let noise = streams.normal(Purpose::Shuffle, 0, n * network.image_len());
        let pixels = noise.into_iter().map(|value| pixels::to_u8(value.tanh())).collect();
        let labels = (0..n).map(|i| (i % classes) as u8).collect();
        let model = setting.model(n);
        let trainer = model.trainer(&init(&model, seed), &setting.plan(), device)?;
        Ok(Self { trainer, streams, pixels, labels, indices: (0..n as u32).collect(), steps: 0, device })
    }

    pub(super) fn warmed_up(mut self) -> Result<Self> {
        let started = Instant::now();
        while self.steps < *WARM_UP_STEPS.start() || (self.steps < *WARM_UP_STEPS.end() && started.elapsed() < WARM_UP)
        {
            self.step()?;
        }
        self.wait()?;
        Ok(self)
    }

    pub(super) fn step(&mut self) -> Result<()> {
        let from = TrainingImages { pixels: &self.pixels, labels: &self.labels, indices: &self.indices, persons: None };
        let n = self.indices.len() / BATCHES;
        let indices = &self.indices[self.steps % BATCHES * n..][..n];
        self.trainer.step(Batch { from, indices }, &self.streams)?;
        self.steps += 1;
        if self.steps.is_multiple_of(self.device.steps_per_read()) { self.wait() } else { Ok(()) }
    }

    /// Waits until the device has done all steps, as a run does where it reads their losses.
    pub(super) fn wait(&mut self) -> Result<()> {
        self.trainer.drain_losses()?;
        Ok(())
    }
}
