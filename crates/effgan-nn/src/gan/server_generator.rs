//! A generator whose discriminators are elsewhere: it hands out images and learns from the gradient that comes back
//! for them.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::TrainConfig;
use crate::device::training_device;
use crate::networks::{Generator, Mode, Network, layers, named_tensors};
use crate::optim::Optimiser;
use crate::{Params, Result};

/// A generator in training with its Adam: the half of [`Gan::step`](super::Gan::step) that needs no discriminator.
pub struct ServerGenerator {
    generator: Generator,
    adam: Optimiser,
    network: Network,
    device: Device,
}

impl ServerGenerator {
    /// The generator of `network`, which takes no labels, with the tensors `params` (no prefix), to be trained as `train`
    /// says; its Adam has made `steps` steps and left `moments` ([`moments`](Self::moments); none at step 0).
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub fn new(network: &Network, params: &Params, train: &TrainConfig, steps: u32, moments: &Params) -> Result<Self> {
        let device = training_device();
        let generator = network.generator(params, &device)?.with_precision(train.precision);
        let adam = Optimiser::resumed(train.generator, steps, moments)?;
        Ok(Self { generator, adam, network: network.clone(), device })
    }

    /// Images `[n, c, h, w]` of z `[n, latent_dim]`, normalised as in training.
    ///
    /// # Panics
    /// When the length is that of no n.
    pub fn images(&self, z: Vec<f32>) -> Vec<f32> {
        // Without gradients; the copy's running statistics are not kept.
        let generator = self.generator.valid();
        layers::values(generator.forward(self.z(z).inner(), None, Mode::TRAIN))
    }

    /// One step against `gradient`, that of a loss at [`images`](Self::images) of the same z.
    ///
    /// # Panics
    /// When the lengths do not fit.
    #[must_use]
    pub fn step(mut self, z: Vec<f32>, gradient: Vec<f32>) -> Self {
        let images = self.generator.forward(self.z(z), None, Mode::TRAIN);
        let gradient = Tensor::from_data(TensorData::new(gradient, images.dims()), &self.device);
        // The gradient of Σ x · g at x is g, to the bit.
        let grads = (images * gradient).sum().backward();
        let grads = GradientsParams::from_grads(grads, &self.generator);
        self.generator = self.adam.step(self.generator, grads);
        self
    }

    fn z(&self, z: Vec<f32>) -> Tensor<2> {
        let latent_dim = self.network.latent_dim();
        let n = z.len() / latent_dim;
        Tensor::from_data(TensorData::new(z, [n, latent_dim]), &self.device)
    }

    /// The generator's tensors, without prefix.
    pub fn params(&self) -> Params {
        named_tensors(&self.generator, &self.network.generator_tensors())
    }

    /// Adam's moments, for [`new`](Self::new).
    pub fn moments(&self) -> Params {
        self.adam.moments()
    }
}
