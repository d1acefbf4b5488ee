//! Drawing images from a trained generator.

use burn::tensor::{Device, Tensor, TensorData};

use crate::device::device;
use crate::networks::{Generator, Mode, Network, layers};
use crate::{Params, Purpose, Result, Streams, pixels};

/// Images are drawn in batches of exactly this many, the last one padded, so that an image's bits do not depend on how many
/// are drawn beside it.
pub const BATCH: usize = 64;

/// Batches from which [`recompute_statistics`] computes: 3,200 images.
const STATISTICS_BATCHES: u64 = 50;

/// A generator that draws images.
pub struct Sampler {
    generator: Generator,
    latent_dim: usize,
    device: Device,
}

impl Sampler {
    /// The generator of `network` with the tensors `params` (no prefix); batch norm uses its running statistics.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub fn new(network: &Network, params: &Params) -> Result<Self> {
        let device = device();
        Ok(Self { generator: network.generator(params, &device)?, latent_dim: network.latent_dim(), device })
    }

    /// Images `[BATCH, c, h, w]` of `z` `[BATCH, latent_dim]`.
    ///
    /// # Panics
    /// When `z` has another length.
    pub fn draw(&self, z: Vec<f32>) -> Vec<u8> {
        let z = Tensor::from_data(TensorData::new(z, [BATCH, self.latent_dim]), &self.device);
        let images = layers::values(self.generator.forward(z, Mode::Evaluate));
        images.into_iter().map(pixels::to_u8).collect()
    }
}

/// `generator` with its batch-norm statistics computed anew: the mean over fixed batches of z of each batch's mean and unbiased
/// variance (`PyTorch`'s `momentum=None`). z depends on nothing, so every generator is given the same.
///
/// The statistics of an *average* of generators are not the average of their statistics; these are its own.
///
/// # Errors
/// As [`Sampler::new`].
pub fn recompute_statistics(network: &Network, generator: &Params) -> Result<Params> {
    let device = device();
    let module = network.generator(generator, &device)?;
    if !network.has_batch_norm() {
        return Ok(generator.clone());
    }
    for batch in 0..STATISTICS_BATCHES {
        let z = Streams::of_run(0).normal(Purpose::Statistics, batch, BATCH * network.latent_dim());
        let z = Tensor::from_data(TensorData::new(z, [BATCH, network.latent_dim()]), &device);
        // A momentum of 1, 1/2, 1/3, … makes the running value the mean of all batches.
        module.forward(z, Mode::Train { momentum: 1.0 / (batch + 1) as f64 });
    }
    Ok(crate::networks::named_tensors(&module))
}
