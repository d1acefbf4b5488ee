//! A generator whose discriminators are at the clients: it generates images for them, and learns from the gradients at
//! these images that they return.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::TrainConfig;
use crate::device::Placement;
use crate::networks::{Generator, Mode, Network, named_tensors};
use crate::optim::Optimiser;
use crate::{Device, Params, Result};

/// A generator in training with its optimiser: the half of [`Gan::step`](super::Gan::step) that needs no discriminator.
pub struct ServerGenerator {
    generator: Generator,
    adam: Optimiser,
    network: Network,
    on: Placement,
}

impl ServerGenerator {
    /// The generator of `network`, which must not be conditional, with the tensors `params` (no prefix) and the
    /// settings `train`, on `device`. Its optimiser has made `steps` steps and has the state `adam`
    /// ([`optimiser_state`](Self::optimiser_state); empty at step 0).
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub fn new(
        network: &Network,
        params: &Params,
        train: &TrainConfig,
        steps: u32,
        adam: &Params,
        device: Device,
    ) -> Result<Self> {
        let on = device.for_training();
        let generator = network.generator(params, &on)?;
        let adam =
            Optimiser::new(train.generator, device).resume(steps, adam, &generator, &network.generator_tensors())?;
        Ok(Self { generator, adam, network: network.clone(), on })
    }

    /// Images `[n, c, h, w]` for z `[n, latent_dim]`, normalised as in training.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When the length of `z` is not a multiple of `latent_dim`.
    pub fn images(&self, z: Vec<f32>) -> Result<Vec<f32>> {
        // A copy without gradients, whose running statistics are discarded.
        let generator = self.generator.valid();
        self.network.images_of_tensor(generator.forward(self.z(z).inner(), None, Mode::TRAIN))
    }

    /// One step on `gradient`, the gradient of a loss at the [`images`](Self::images) of the same `z`.
    ///
    /// # Panics
    /// When the lengths do not match.
    #[must_use]
    pub fn step(mut self, z: Vec<f32>, gradient: Vec<f32>) -> Self {
        let images = self.generator.forward(self.z(z), None, Mode::TRAIN);
        let gradient = self.network.tensor_of_images(gradient, &self.on);
        // The gradient of Σ x · g at x is exactly g.
        let grads = (images * gradient).sum().backward();
        let grads = GradientsParams::from_grads(grads, &self.generator);
        self.generator = self.adam.step(self.generator, grads);
        self
    }

    fn z(&self, z: Vec<f32>) -> Tensor<2> {
        let latent_dim = self.network.latent_dim();
        let n = z.len() / latent_dim;
        Tensor::from_data(TensorData::new(z, [n, latent_dim]), &self.on.burn)
    }

    /// The generator's tensors, without prefix.
    ///
    /// # Errors
    /// When the device fails.
    pub fn params(&self) -> Result<Params> {
        named_tensors(&self.generator, &self.network.generator_tensors(), self.on.device.order())
    }

    /// The state of the optimiser, for [`new`](Self::new).
    ///
    /// # Errors
    /// When the device fails.
    pub fn optimiser_state(&self) -> Result<Params> {
        self.adam.state(&self.generator, &self.network.generator_tensors())
    }
}
