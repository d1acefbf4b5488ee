//! One training step: the discriminator on real and generated images, then the generator against the new discriminator.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use super::TrainConfig;
use crate::device::training_device;
use crate::networks::{Discriminator, Generator, Labels, Mode, Network, labels_tensor, named_tensors, raw_tensors};
pub use crate::optim::Adam;
use crate::optim::Optimiser;
use crate::{Params, Result};

/// Losses of one step, means over the batch; [`Loss`](super::Loss) has their formulas and units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Losses {
    /// The discriminator's; the mean over its updates where it has more than one a step.
    pub discriminator: f32,
    /// The generator's.
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
    device: Device,
}

/// What one update of the discriminator sees: n images, as many z, and the classes of both.
struct Batch {
    real: Tensor<4>,
    z: Tensor<2>,
    labels: Option<Labels>,
}

impl Gan {
    /// Networks with the tensors `generator.*` and `discriminator.*` of `params`, to be trained as `train` says; Adam's
    /// moments start at zero.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub fn new(network: &Network, params: &Params, train: TrainConfig) -> Result<Self> {
        let device = training_device();
        let generator = network.generator(&params.under("generator"), &device)?;
        let discriminator = network.discriminator(&params.under("discriminator"), &device)?;
        Ok(Self {
            generator: generator.with_precision(train.precision),
            discriminator: discriminator.with_precision(train.precision),
            adam_g: Optimiser::new(train.generator),
            adam_d: Optimiser::new(train.discriminator),
            train,
            network: network.clone(),
            device,
        })
    }

    /// The same networks, from now on pulled towards what they are now as strongly as `mu` (≥ 0): `FedProx`'s term.
    #[must_use]
    pub fn pulled(mut self, mu: f64) -> Self {
        self.adam_g.pull(mu);
        self.adam_d.pull(mu);
        self
    }

    /// One step on `real` images `[k · n, c, h, w]` in [-1, 1] and as many z `[k · n, latent_dim]`, with
    /// k = [`discriminator_steps`](TrainConfig::discriminator_steps): the discriminator has an update on each n of them,
    /// then the generator has one on the last n z.
    ///
    /// `labels` `[k · n]` are the classes of the images, below the network's `num_classes`. A conditional generator is
    /// asked for images of the same classes, so that real and generated ones differ in nothing else; other networks look
    /// at no labels, and none need be given.
    ///
    /// # Panics
    /// When the lengths are those of no n, a label is no class, or the processor has not the precision.
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

    fn discriminator_pass(&self, real: Tensor<4>, fake: Tensor<4>, labels: Option<&Labels>) -> (f32, GradientsParams) {
        let n = real.dims()[0];
        let labels = labels.map(|labels| Tensor::cat(vec![labels.clone(); 2], 0));
        let both = self.discriminator.forward(Tensor::cat(vec![real, fake], 0), labels.as_ref(), Mode::train(2));
        let loss = self.train.loss.discriminator(both.clone().slice(..n), both.slice(n..));
        (loss.clone().into_scalar(), GradientsParams::from_grads(loss.backward(), &self.discriminator))
    }

    fn generator_pass(&self, fake: Tensor<4>, labels: Option<&Labels>) -> (f32, GradientsParams) {
        // The discriminator's own gradients are not needed here; its running statistics are shared with the copy.
        let judge = self.discriminator.clone().no_grad();
        let loss = self.train.loss.generator(judge.forward(fake, labels, Mode::TRAIN));
        (loss.clone().into_scalar(), GradientsParams::from_grads(loss.backward(), &self.generator))
    }

    /// The step's images, z and labels, one batch an update of the discriminator.
    fn batches(&self, real: Vec<f32>, z: Vec<f32>, labels: &[u8]) -> Vec<Batch> {
        let [c, h, w] = self.network.image_shape;
        let (n, k) = (real.len() / self.network.image_len(), self.train.discriminator_steps);
        assert!(n.is_multiple_of(k), "{n} images are no {k} equal batches");
        let real = Tensor::from_data(TensorData::new(real, [n, c, h, w]), &self.device);
        let z = Tensor::from_data(TensorData::new(z, [n, self.network.latent_dim()]), &self.device);
        let labels = self.network.num_classes.map(|classes| labels_tensor(labels, n, classes, &self.device));
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

    /// All that later steps depend on: both networks as `generator.*` and `discriminator.*`, and what their Adams have in
    /// mind as `adam_g.*` and `adam_d.*`.
    pub fn work(&self) -> Params {
        let minds =
            self.adam_g.moments().named_under("adam_g").merged_with(self.adam_d.moments().named_under("adam_d"));
        self.params().merged_with(minds)
    }

    /// The same training after `steps` steps that left `work` ([`work`](Self::work)) behind.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape than the network says.
    pub fn go_on(self, work: &Params, steps: u32) -> Result<Self> {
        let train = self.train;
        let adam_g = self.adam_g.go_on(steps, &work.under("adam_g"))?;
        let adam_d = self.adam_d.go_on(steps * train.discriminator_steps as u32, &work.under("adam_d"))?;
        Ok(Self { adam_g, adam_d, ..Self::new(&self.network, work, train)? })
    }

    /// The networks' sizes.
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

    /// Both networks, as `generator.*` and `discriminator.*`.
    pub fn params(&self) -> Params {
        self.generator().named_under("generator").merged_with(self.discriminator().named_under("discriminator"))
    }
}

#[cfg(test)]
mod tests;
