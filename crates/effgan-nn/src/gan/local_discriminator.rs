//! A discriminator whose generator is at the server: it learns to tell real images from generated ones that it
//! receives, and computes the gradient at those.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::{Loss, TrainConfig};
use crate::device::Placement;
use crate::networks::{Discriminator, Mode, Network, layers, named_tensors};
use crate::optim::Optimiser;
use crate::{Device, Params, Result};

/// A discriminator in training with its optimiser: the half of [`Gan::step`](super::Gan::step) that needs no generator.
///
/// Images are `[n, c, h, w]` in [-1, 1]. A length that is not a whole number of images is a panic.
pub struct LocalDiscriminator {
    discriminator: Discriminator,
    adam: Optimiser,
    loss: Loss,
    network: Network,
    on: Placement,
}

impl LocalDiscriminator {
    /// The discriminator of `network`, which must not be conditional, with the tensors `params` (no prefix) and the
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
        let discriminator = network.discriminator(params, &on)?;
        let tensors = network.discriminator_tensors();
        let adam = Optimiser::new(train.discriminator, device).resume(steps, adam, &discriminator, &tensors)?;
        Ok(Self { discriminator, adam, loss: train.loss, network: network.clone(), on })
    }

    /// One step on `real` and as many `fake` images; returns its loss.
    ///
    /// # Errors
    /// When the device fails.
    pub fn step(mut self, real: Vec<f32>, fake: Vec<f32>) -> Result<(Self, f32)> {
        let (real, fake) = (self.images(real), self.images(fake));
        let n = real.dims()[0];
        let both = self.discriminator.forward(Tensor::cat(vec![real, fake], 0), None, Mode::train(2));
        let loss = self.loss.discriminator(both.clone().slice(..n), both.slice(n..));
        let grads = GradientsParams::from_grads(loss.backward(), &self.discriminator);
        self.discriminator = self.adam.step(self.discriminator, grads);
        let loss = layers::read(loss.inner())?[0];
        Ok((self, loss))
    }

    /// The generator's loss for its `images`, and the gradient of that loss at the images.
    ///
    /// # Errors
    /// When the device fails.
    pub fn feedback(&self, images: Vec<f32>) -> Result<(f32, Vec<f32>)> {
        self.gradient_of(images, |logits| self.loss.generator(logits))
    }

    /// Logits of `images`, `[n]`, positive for real.
    ///
    /// # Errors
    /// When the device fails.
    pub fn logits(&self, images: Vec<f32>) -> Result<Vec<f32>> {
        layers::read(self.discriminator.clone().no_grad().forward(self.images(images), None, Mode::TRAIN))
    }

    /// The gradient of Σ coefficient · logit at `images`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn gradient(&self, images: Vec<f32>, coefficients: Vec<f32>) -> Result<Vec<f32>> {
        let n = coefficients.len();
        let coefficients = Tensor::<2>::from_data(TensorData::new(coefficients, [n, 1]), &self.on.burn);
        Ok(self.gradient_of(images, |logits| (logits * coefficients).sum())?.1)
    }

    /// A loss of the logits of `images`, and its gradient at the images.
    fn gradient_of(&self, images: Vec<f32>, loss: impl FnOnce(Tensor<2>) -> Tensor<1>) -> Result<(f32, Vec<f32>)> {
        let images = self.images(images).require_grad();
        let frozen = self.discriminator.clone().no_grad();
        let loss = loss(frozen.forward(images.clone(), None, Mode::TRAIN));
        let gradient = images.grad(&loss.backward()).expect("the logits depend on the images");
        Ok((layers::read(loss.inner())?[0], self.network.images_of_tensor(gradient)?))
    }

    fn images(&self, values: Vec<f32>) -> Tensor<4> {
        self.network.tensor_of_images(values, &self.on)
    }

    /// The discriminator's tensors, without prefix.
    ///
    /// # Errors
    /// When the device fails.
    pub fn params(&self) -> Result<Params> {
        named_tensors(&self.discriminator, &self.network.discriminator_tensors(), self.on.device.order())
    }

    /// The state of the optimiser, for [`new`](Self::new).
    ///
    /// # Errors
    /// When the device fails.
    pub fn optimiser_state(&self) -> Result<Params> {
        self.adam.state(&self.discriminator, &self.network.discriminator_tensors())
    }
}
