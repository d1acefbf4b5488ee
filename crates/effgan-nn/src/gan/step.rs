//! One training step: the discriminator on real and generated images, then the generator against the new discriminator.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

use super::TrainConfig;
use crate::device::Placement;
use crate::networks::{Discriminator, Generator, Labels, Mode, Network, labels_tensor, named_tensors, raw_tensors};
use crate::optim::Optimiser;
use crate::{Device, Params, Result};

/// Losses of one step, means over the batch; [`Loss`](super::Loss) has their formulas and units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Losses {
    /// The discriminator's loss; the mean over its updates where a step has more than one.
    pub discriminator: f32,
    /// The generator's loss.
    pub generator: f32,
}

/// A generator and a discriminator in training, each with its own Adam.
#[derive(Clone)]
pub struct Gan {
    generator: Generator,
    discriminator: Discriminator,
    adam_g: Optimiser,
    adam_d: Optimiser,
    train: TrainConfig,
    network: Network,
    on: Placement,
}

/// The data of one update of the discriminator: n images, n latent vectors z, and the classes of both.
struct Batch {
    real: Tensor<4>,
    z: Tensor<2>,
    labels: Option<Labels>,
}

impl Gan {
    /// Both networks with the tensors `generator.*` and `discriminator.*` of `params`, for training with the settings
    /// `train` on `device`. Adam's moments start at zero.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub fn new(network: &Network, params: &Params, train: TrainConfig, device: Device) -> Result<Self> {
        let on = device.for_training();
        Ok(Self {
            generator: network.generator(&params.under("generator"), &on)?,
            discriminator: network.discriminator(&params.under("discriminator"), &on)?,
            adam_g: Optimiser::new(train.generator, device),
            adam_d: Optimiser::new(train.discriminator, device),
            train,
            network: network.clone(),
            on,
        })
    }

    /// Adds the proximal term of `FedProx`, μ/2 ‖w − w₀‖² with `mu` ≥ 0, to the loss of each later step; w₀ are the
    /// parameters before the next step.
    #[must_use]
    pub fn with_proximal_term(mut self, mu: f64) -> Self {
        self.adam_g.add_proximal_term(mu);
        self.adam_d.add_proximal_term(mu);
        self
    }

    /// One step on `real` images `[k · n, c, h, w]` in [-1, 1] and latent vectors `z` `[k · n, latent_dim]`, with k =
    /// [`discriminator_steps`](TrainConfig::discriminator_steps). The discriminator is updated k times, each time on n
    /// images and n latent vectors; then the generator is updated once, on the last n latent vectors.
    ///
    /// `labels` `[k · n]` are the classes of the images, below the network's `num_classes`. A conditional generator
    /// generates images of the same classes, so that real and generated images have equal class frequencies. Other
    /// networks ignore labels, which may then be empty.
    ///
    /// # Panics
    /// When the lengths do not match, or a label is not below `num_classes`.
    #[must_use]
    pub fn step(mut self, real: Vec<f32>, z: Vec<f32>, labels: &[u8]) -> (Self, Losses) {
        let (mut discriminator_loss, mut last) = (0.0, None);
        for Batch { real, z, labels } in self.batches(real, z, labels) {
            let fake = self.generator.forward(z, labels.as_ref(), Mode::TRAIN);
            let (loss, grads) = self.discriminator_pass(real, fake.clone().detach(), labels.as_ref());
            self.discriminator = self.adam_d.step(self.discriminator, grads);
            discriminator_loss += loss / self.train.discriminator_steps as f32;
            last = Some((fake, labels));
        }
        let (fake, labels) = last.expect("discriminator_steps is at least 1");
        let (generator_loss, grads) = self.generator_pass(fake, labels.as_ref());
        self.generator = self.adam_g.step(self.generator, grads);
        (self, Losses { discriminator: discriminator_loss, generator: generator_loss })
    }

    // Real and generated images are two batches of one pass, each normalised by its own statistics. The results are those
    // of two passes, but the kernels transform the weights only once.
    fn discriminator_pass(&self, real: Tensor<4>, fake: Tensor<4>, labels: Option<&Labels>) -> (f32, GradientsParams) {
        let n = real.dims()[0];
        let labels = labels.map(|labels| Tensor::cat(vec![labels.clone(); 2], 0));
        let both = self.discriminator.forward(Tensor::cat(vec![real, fake], 0), labels.as_ref(), Mode::train(2));
        let loss = self.train.loss.discriminator(both.clone().slice(..n), both.slice(n..));
        (loss.clone().into_scalar(), GradientsParams::from_grads(loss.backward(), &self.discriminator))
    }

    fn generator_pass(&self, fake: Tensor<4>, labels: Option<&Labels>) -> (f32, GradientsParams) {
        // The gradients of the discriminator's parameters are not needed. The copy shares the running statistics, so this
        // pass updates those of the discriminator.
        let frozen = self.discriminator.clone().no_grad();
        let loss = self.train.loss.generator(frozen.forward(fake, labels, Mode::TRAIN));
        (loss.clone().into_scalar(), GradientsParams::from_grads(loss.backward(), &self.generator))
    }

    /// The step's images, z and labels, divided into one batch per update of the discriminator.
    fn batches(&self, real: Vec<f32>, z: Vec<f32>, labels: &[u8]) -> Vec<Batch> {
        let (n, k) = (real.len() / self.network.image_len(), self.train.discriminator_steps);
        assert!(n.is_multiple_of(k), "{n} images are not {k} equal batches");
        let real = self.network.tensor_of_images(real, &self.on);
        let z = Tensor::from_data(TensorData::new(z, [n, self.network.latent_dim()]), &self.on.burn);
        let labels = self.network.num_classes.map(|classes| labels_tensor(labels, n, classes, &self.on));
        let batch = |i: usize| {
            let rows = i * n / k..(i + 1) * n / k;
            Batch {
                real: real.clone().slice(rows.clone()),
                z: z.clone().slice(rows.clone()),
                labels: labels.clone().map(|labels| labels.slice(rows)),
            }
        };
        (0..k).map(batch).collect()
    }

    /// The state of the training, on which all later steps depend: both networks as `generator.*` and
    /// `discriminator.*`, and the state of their optimisers as `adam_g.*` and `adam_d.*`.
    pub fn training_state(&self) -> Params {
        let adam_g = self.adam_g.state().named_under("adam_g");
        let adam_d = self.adam_d.state().named_under("adam_d");
        self.params().merged_with(adam_g).merged_with(adam_d)
    }

    /// Resumes training after `steps` steps that ended in `state`, a [`training_state`](Self::training_state).
    ///
    /// # Errors
    /// When a tensor is missing or has another shape than the network says.
    pub fn resume(self, state: &Params, steps: u32) -> Result<Self> {
        let (train, device) = (self.train, self.on.device);
        let adam_g = self.adam_g.resume(steps, &state.under("adam_g"))?;
        let adam_d = self.adam_d.resume(steps * train.discriminator_steps as u32, &state.under("adam_d"))?;
        Ok(Self { adam_g, adam_d, ..Self::new(&self.network, state, train, device)? })
    }

    /// The same networks with optimisers that have made no step: the moments are freed.
    pub(super) fn without_optimisers(self) -> Self {
        let device = self.on.device;
        let adam_g = Optimiser::new(self.train.generator, device);
        let adam_d = Optimiser::new(self.train.discriminator, device);
        Self { adam_g, adam_d, ..self }
    }

    /// The description of both networks.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The generator's tensors in the layouts of the kernels, without prefix.
    pub(super) fn raw_generator(&self) -> Params {
        raw_tensors(&self.generator)
    }

    /// The generator's tensors, without prefix.
    pub fn generator(&self) -> Params {
        named_tensors(&self.generator, &self.network.generator_tensors())
    }

    /// The discriminator's tensors, without prefix.
    pub fn discriminator(&self) -> Params {
        named_tensors(&self.discriminator, &self.network.discriminator_tensors())
    }

    /// The tensors of both networks, as `generator.*` and `discriminator.*`.
    pub fn params(&self) -> Params {
        self.generator().named_under("generator").merged_with(self.discriminator().named_under("discriminator"))
    }
}

#[cfg(test)]
mod tests;
