//! One training step: the discriminator on real and generated images, then the generator against the new discriminator.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

use super::TrainConfig;
use crate::device::Placement;
use crate::networks::{Discriminator, Generator, Labels, Mode, Network, labels_tensor, layers, named_tensors};
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

/// The losses of one step, which may still be under way on the device.
pub struct PendingLosses {
    /// Of each update of the discriminator.
    pub(super) discriminator: Vec<Tensor<1>>,
    pub(super) generator: Tensor<1>,
}

impl PendingLosses {
    /// Waits until the device has done these steps, and reads their losses in one transfer.
    ///
    /// # Errors
    /// When the device fails.
    pub fn read(steps: Vec<Self>) -> Result<Vec<Losses>> {
        let of_step = |step: &Self| step.discriminator.len();
        let lengths: Vec<usize> = steps.iter().map(of_step).collect();
        let tensors = steps.into_iter().flat_map(|step| step.discriminator.into_iter().chain([step.generator]));
        let mut values = layers::scalars(tensors)?.into_iter();
        let mut next = || values.next().expect("there is a value for each tensor");
        let losses = |k: usize| {
            let discriminator = (0..k).fold(0.0, |sum, _| sum + next() / k as f32);
            Losses { discriminator, generator: next() }
        };
        Ok(lengths.into_iter().map(losses).collect())
    }
}

/// A generator and a discriminator in training, each with its own Adam.
#[derive(Clone)]
pub struct Gan {
    pub(super) generator: Generator,
    pub(super) discriminator: Discriminator,
    pub(super) adam_g: Optimiser,
    pub(super) adam_d: Optimiser,
    pub(super) train: TrainConfig,
    pub(super) network: Network,
    pub(super) on: Placement,
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
    pub fn step(self, real: Vec<f32>, z: Vec<f32>, labels: &[u8]) -> (Self, PendingLosses) {
        let real = self.images_on_device(real);
        self.step_on(&real, z, labels)
    }

    /// Images `[n, c, h, w]` on the device of the networks.
    pub(super) fn images_on_device(&self, images: Vec<f32>) -> Tensor<4> {
        self.network.tensor_of_images(images, &self.on)
    }

    /// As [`step`](Self::step), on images that are on the device.
    pub(super) fn step_on(mut self, real: &Tensor<4>, z: Vec<f32>, labels: &[u8]) -> (Self, PendingLosses) {
        let (mut discriminator, mut last) = (Vec::new(), None);
        for Batch { real, z, labels } in self.batches(real, z, labels) {
            let fake = self.generator.forward(z, labels.as_ref(), Mode::TRAIN);
            let (loss, grads) = self.discriminator_pass(real, fake.clone().detach(), labels.as_ref());
            self.discriminator = self.adam_d.step(self.discriminator, grads);
            discriminator.push(loss);
            last = Some((fake, labels));
        }
        let (fake, labels) = last.expect("discriminator_steps is at least 1");
        let (generator, grads) = self.generator_pass(fake, labels.as_ref());
        self.generator = self.adam_g.step(self.generator, grads);
        (self, PendingLosses { discriminator, generator })
    }

    // Real and generated images are two batches of one pass, each normalised by its own statistics. The results are those
    // of two passes, but the kernels transform the weights only once.
    fn discriminator_pass(
        &self,
        real: Tensor<4>,
        fake: Tensor<4>,
        labels: Option<&Labels>,
    ) -> (Tensor<1>, GradientsParams) {
        let n = real.dims()[0];
        let labels = labels.map(|labels| Tensor::cat(vec![labels.clone(); 2], 0));
        let both = self.discriminator.forward(Tensor::cat(vec![real, fake], 0), labels.as_ref(), Mode::train(2));
        let loss = self.train.loss.discriminator(both.clone().slice(..n), both.slice(n..));
        (loss.clone().inner(), GradientsParams::from_grads(loss.backward(), &self.discriminator))
    }

    pub(super) fn generator_pass(&self, fake: Tensor<4>, labels: Option<&Labels>) -> (Tensor<1>, GradientsParams) {
        // The gradients of the discriminator's parameters are not needed. The copy shares the running statistics, so this
        // pass updates those of the discriminator.
        let frozen = self.discriminator.clone().no_grad();
        let loss = self.train.loss.generator(frozen.forward(fake, labels, Mode::TRAIN));
        (loss.clone().inner(), GradientsParams::from_grads(loss.backward(), &self.generator))
    }

    /// The step's images, z and labels, divided into one batch per update of the discriminator.
    fn batches(&self, real: &Tensor<4>, z: Vec<f32>, labels: &[u8]) -> Vec<Batch> {
        let (n, k) = (real.dims()[0], self.train.discriminator_steps);
        assert!(n.is_multiple_of(k), "{n} images are not {k} equal batches");
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
    ///
    /// # Errors
    /// When the device fails.
    pub fn training_state(&self) -> Result<Params> {
        let adam_g = self.adam_g.state(&self.generator, &self.network.generator_tensors())?;
        let adam_d = self.adam_d.state(&self.discriminator, &self.network.discriminator_tensors())?;
        Ok(self.params()?.merged_with(adam_g.named_under("adam_g")).merged_with(adam_d.named_under("adam_d")))
    }

    /// Resumes training after `steps` steps that ended in `state`, a [`training_state`](Self::training_state).
    ///
    /// # Errors
    /// When a tensor is missing or has another shape than the network says.
    pub fn resume(self, state: &Params, steps: u32) -> Result<Self> {
        let of_discriminator = steps * self.train.discriminator_steps as u32;
        self.resume_at(state, steps, of_discriminator)
    }

    /// As [`resume`](Self::resume), after so many updates of the generator and of the discriminator.
    pub(super) fn resume_at(self, state: &Params, steps: u32, steps_d: u32) -> Result<Self> {
        let start = Self::new(&self.network, state, self.train, self.on.device)?;
        let (of_g, of_d) = (self.network.generator_tensors(), self.network.discriminator_tensors());
        let adam_g = self.adam_g.resume(steps, &state.under("adam_g"), &start.generator, &of_g)?;
        let adam_d = self.adam_d.resume(steps_d, &state.under("adam_d"), &start.discriminator, &of_d)?;
        Ok(Self { adam_g, adam_d, ..start })
    }

    /// The same networks with optimisers that have made no step: the moments are freed.
    pub(super) fn without_optimisers(self) -> Self {
        let device = self.on.device;
        let adam_g = Optimiser::new(self.train.generator, device);
        let adam_d = Optimiser::new(self.train.discriminator, device);
        Self { adam_g, adam_d, ..self }
    }

    /// Updates of the discriminator in a step.
    pub(super) fn discriminator_steps(&self) -> usize {
        self.train.discriminator_steps
    }

    /// The description of both networks.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The device that it is trained on.
    pub(super) fn device(&self) -> Device {
        self.on.device
    }

    /// Where the networks are.
    pub(super) fn placement(&self) -> &Placement {
        &self.on
    }

    /// The generator as a module.
    pub(super) fn generator_network(&self) -> &Generator {
        &self.generator
    }

    /// The generator's tensors, without prefix.
    ///
    /// # Errors
    /// When the device fails.
    pub fn generator(&self) -> Result<Params> {
        named_tensors(&self.generator, &self.network.generator_tensors(), self.on.device.order())
    }

    /// The discriminator's tensors, without prefix.
    ///
    /// # Errors
    /// When the device fails.
    pub fn discriminator(&self) -> Result<Params> {
        named_tensors(&self.discriminator, &self.network.discriminator_tensors(), self.on.device.order())
    }

    /// The tensors of both networks, as `generator.*` and `discriminator.*`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn params(&self) -> Result<Params> {
        let discriminator = self.discriminator()?.named_under("discriminator");
        Ok(self.generator()?.named_under("generator").merged_with(discriminator))
    }
}

#[cfg(test)]
pub(super) mod tests;
