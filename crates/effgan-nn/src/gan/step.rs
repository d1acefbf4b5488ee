//! One training step: the discriminator on real and generated images, then the generator against the new discriminator.

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::loss;
use crate::device::training_device;
use crate::networks::{Discriminator, Generator, Mode, Network, named_tensors};
use crate::{Params, Result};

/// Settings of Adam (Kingma & Ba 2015, arXiv:1412.6980); β₂ = 0.999 and ε = 1e-8 as in `PyTorch`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Step size, > 0.
    pub learning_rate: f64,
    /// Decay of the first moment, 0..1; DCGAN has 0.5.
    pub beta1: f64,
}

impl Adam {
    fn optimiser(self) -> ModuleOptimizer {
        AdamConfig::new().with_beta_1(self.beta1 as f32).with_beta_2(0.999).with_epsilon(1e-8).init()
    }
}

/// Losses of one step, in nats; means over the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Losses {
    /// −log D(x) − log(1 − D(G(z))); 2 log 2 ≈ 1.39 when the discriminator cannot tell.
    pub discriminator: f32,
    /// −log D(G(z)); log 2 ≈ 0.69 when the discriminator cannot tell.
    pub generator: f32,
}

/// A generator and a discriminator in training, each with its own Adam.
#[derive(Clone)]
pub struct Gan {
    generator: Generator,
    discriminator: Discriminator,
    adam_g: ModuleOptimizer,
    adam_d: ModuleOptimizer,
    learning_rate: f64,
    network: Network,
    device: Device,
}

impl Gan {
    /// Networks with the tensors `generator.*` and `discriminator.*` of `params`; Adam's moments start at zero.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub fn new(network: &Network, params: &Params, adam: Adam) -> Result<Self> {
        let device = training_device();
        Ok(Self {
            generator: network.generator(&params.under("generator"), &device)?,
            discriminator: network.discriminator(&params.under("discriminator"), &device)?,
            adam_g: adam.optimiser(),
            adam_d: adam.optimiser(),
            learning_rate: adam.learning_rate,
            network: network.clone(),
            device,
        })
    }

    /// One step on `real` images `[n, c, h, w]` in [-1, 1] and as many z `[n, latent_dim]`.
    #[must_use]
    pub fn step(mut self, real: Vec<f32>, z: Vec<f32>) -> (Self, Losses) {
        let (real, z) = self.tensors(real, z);
        let fake = self.generator.forward(z, Mode::TRAIN);

        let (discriminator_loss, grads) = self.discriminator_pass(real, fake.clone().detach());
        self.discriminator = self.adam_d.step(self.learning_rate, self.discriminator, grads);

        let (generator_loss, grads) = self.generator_pass(fake);
        self.generator = self.adam_g.step(self.learning_rate, self.generator, grads);

        (self, Losses { discriminator: discriminator_loss, generator: generator_loss })
    }

    fn discriminator_pass(&self, real: Tensor<4>, fake: Tensor<4>) -> (f32, GradientsParams) {
        let d_real = self.discriminator.forward(real, Mode::TRAIN);
        let d_fake = self.discriminator.forward(fake, Mode::TRAIN);
        let loss = loss::discriminator(d_real, d_fake);
        (loss.clone().into_scalar(), GradientsParams::from_grads(loss.backward(), &self.discriminator))
    }

    fn generator_pass(&self, fake: Tensor<4>) -> (f32, GradientsParams) {
        // The discriminator's own gradients are not needed here; its running statistics are shared with the copy.
        let judge = self.discriminator.clone().no_grad();
        let loss = loss::generator(judge.forward(fake, Mode::TRAIN));
        (loss.clone().into_scalar(), GradientsParams::from_grads(loss.backward(), &self.generator))
    }

    fn tensors(&self, real: Vec<f32>, z: Vec<f32>) -> (Tensor<4>, Tensor<2>) {
        let [c, h, w] = self.network.image_shape;
        let n = real.len() / self.network.image_len();
        let real = Tensor::from_data(TensorData::new(real, [n, c, h, w]), &self.device);
        let z = Tensor::from_data(TensorData::new(z, [n, self.network.latent_dim()]), &self.device);
        (real, z)
    }

    /// The generator's tensors, without prefix.
    pub fn generator(&self) -> Params {
        named_tensors(&self.generator)
    }

    /// The discriminator's tensors, without prefix.
    pub fn discriminator(&self) -> Params {
        named_tensors(&self.discriminator)
    }

    /// Both networks, as `generator.*` and `discriminator.*`.
    pub fn params(&self) -> Params {
        self.generator().named_under("generator").merged_with(self.discriminator().named_under("discriminator"))
    }
}
