//! What a client trains and the server samples from: a [`Model`] is a set of named networks, of which one draws images.
//!
//! Algorithms, drivers and files use a model through these traits only. [`GanModel`](crate::gan::GanModel) is the one that a config chooses; a
//! new one implements [`Model`], [`Trainer`] and [`Sampler`] in a file of its own.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use crate::networks::{self, TensorSpec};
use crate::optim::Adam;
use crate::{Device, Params, Purpose, Result, Streams, pixels};

/// A set of networks, the step that trains them, and the one of them that draws images.
///
/// An algorithm that trains the networks of one particular model separately, as MD-GAN does, downcasts to it by [`Any`].
pub trait Model: Any + fmt::Debug + Send + Sync {
    /// `[channels, height, width]` of the images.
    fn image_shape(&self) -> [usize; 3];

    /// Number of values of one image.
    fn image_len(&self) -> usize {
        self.image_shape().iter().product()
    }

    /// The networks with their tensors, in the order in which their initial values are drawn.
    fn networks(&self) -> Vec<NetworkSpec>;

    /// Name of the network that draws images. The server collects it, and each member of an ensemble is one.
    fn generator(&self) -> &'static str;

    /// The losses of a training step, in the order in which [`Trainer::drain_losses`] returns them.
    fn losses(&self) -> &'static [LossName];

    /// Number of classes of a conditional generator, 1..=256; `None` where it is not conditional.
    fn num_classes(&self) -> Option<usize> {
        None
    }

    /// Minimum number of images of a training step, ≥ 1: 2 where a network normalises over the batch, because each feature of a
    /// single image would become zero.
    fn min_images(&self) -> usize {
        1
    }

    /// Batches that one training step takes, ≥ 1.
    fn batches_per_step(&self) -> usize {
        1
    }

    /// Starts training on `device` from the tensors `start` of all networks ([`Part::Averaged`]), with the settings of
    /// `plan`.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than [`networks`](Self::networks) says.
    fn trainer(&self, start: &Params, plan: &StepPlan, device: Device) -> Result<Box<dyn Trainer>>;

    /// The generator with the tensors `generator` (without the network's name), which draws images on `device`.
    ///
    /// # Errors
    /// As [`trainer`](Self::trainer).
    fn sampler(&self, generator: &Params, device: Device) -> Result<Box<dyn Sampler>>;
}

/// A network of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSpec {
    /// Prefix of its tensors in files and messages.
    pub name: &'static str,
    /// Its tensors, without that prefix.
    pub tensors: Vec<TensorSpec>,
}

/// One loss of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossName {
    /// Its name in metrics, events and tables: `loss_` followed by 1 to 32 characters of a-z, 0-9 and `_`, such as `loss_d`.
    pub key: &'static str,
    /// What it is the loss of, in messages and charts, such as `discriminator`. It differs between the losses of a model.
    pub of: &'static str,
}

/// The tensors that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All networks, for the server to average.
    Averaged,
    /// The generator alone, for the server to collect; its moving average where the [`StepPlan`] has one.
    Collected,
}

/// How the steps of one exchange train a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepPlan {
    /// Decay of the generator's moving average, 0..1; no moving average when `None`.
    pub ema: Option<f32>,
    /// μ ≥ 0, the weight of `FedProx`'s proximal term μ/2 ‖w − w₀‖² towards the parameters before the first step; no
    /// term when `None`.
    pub proximal: Option<f64>,
    /// The optimiser of each network, by its name.
    pub adam: BTreeMap<&'static str, Adam>,
}

/// The images that a trainer is given batches of.
#[derive(Clone, Copy, Debug)]
pub struct TrainingImages<'a> {
    /// All images of a data set, u8 `[n, c, h, w]`.
    pub pixels: &'a [u8],
    /// The class of each, `[n]`.
    pub labels: &'a [u8],
    /// Those among them that batches are drawn from: a client's.
    pub indices: &'a [u32],
    /// The same by person, where training is to hide whole persons; each has one at least.
    pub persons: Option<&'a [Vec<u32>]>,
}

impl TrainingImages<'_> {
    /// The images with these indices in [-1, 1], `[n, c, h, w]`.
    pub fn values(&self, indices: &[u32]) -> Vec<f32> {
        let image_len = self.pixels.len() / self.labels.len().max(1);
        let image = |&index: &u32| &self.pixels[index as usize * image_len..][..image_len];
        indices.iter().flat_map(image).map(|&pixel| pixels::to_f32(pixel)).collect()
    }

    /// The classes of the images with these indices.
    pub fn labels_of(&self, indices: &[u32]) -> Vec<u8> {
        indices.iter().map(|&index| self.labels[index as usize]).collect()
    }

    /// How many persons they are of, or how many images where persons are not named: what private training hides one of.
    pub(crate) fn num_hidden(&self) -> usize {
        self.persons.map_or(self.indices.len(), <[_]>::len)
    }
}

/// The images of one training step.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Where they are. All batches of a trainer are of the same images, which a device may keep.
    pub from: TrainingImages<'a>,
    /// Which of them they are. A trainer that hides single images draws samples of its own in secret, and trains on those.
    pub indices: &'a [u32],
}

impl Batch<'_> {
    /// Images `[n, c, h, w]` in [-1, 1].
    pub fn images(&self) -> Vec<f32> {
        self.from.values(self.indices)
    }

    /// The class of each image, `[n]`.
    pub fn labels(&self) -> Vec<u8> {
        self.from.labels_of(self.indices)
    }
}

/// A model in training.
pub trait Trainer: Send {
    /// Trains one step on `batch`. It may return before the device has done the step. Random numbers are drawn from
    /// `streams` at the number of earlier steps.
    ///
    /// # Errors
    /// When the device fails.
    fn step(&mut self, batch: Batch<'_>, streams: &Streams) -> Result<()>;

    /// The losses of the steps since the last call, one row per step in the order of [`Model::losses`]. Waits until the
    /// device has done these steps.
    ///
    /// # Errors
    /// When the device fails.
    fn drain_losses(&mut self) -> Result<Vec<Vec<f32>>>;

    /// Ends the training, and returns the tensors that a client sends, with their networks' names. What only a later step
    /// needs, such as the moments of an optimiser, is freed first.
    ///
    /// # Errors
    /// When the device fails.
    fn into_params(self: Box<Self>, part: Part) -> Result<Params>;

    /// The same in the middle of the training, which goes on.
    ///
    /// # Errors
    /// When the device fails.
    fn params(&self, part: Part) -> Result<Params>;

    /// All tensors on which later steps depend, for [`restore`](Self::restore), on any device.
    ///
    /// # Errors
    /// When the device fails.
    fn state(&self) -> Result<Params>;

    /// Continues after `steps` steps that ended in `state`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape than the model says.
    fn restore(&mut self, state: &Params, steps: u64) -> Result<()>;
}

/// Images are drawn in batches of exactly this size, the last one padded, so that the bits of an image do not depend on
/// how many are drawn.
pub const BATCH: usize = 64;

/// A generator that draws images.
pub trait Sampler {
    /// Length of z, ≥ 1.
    fn latent_dim(&self) -> usize;

    /// Images `[BATCH, c, h, w]` for `z` `[BATCH, latent_dim]` and, if the generator is conditional, for the classes
    /// `labels` `[BATCH]`, which other generators ignore.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When `z` or `labels` has another length, or a label is not a class of the model.
    fn draw(&self, z: Vec<f32>, labels: &[u8]) -> Result<Vec<u8>>;
}

/// The initial parameters of all networks of `model` in a run with `seed`.
pub fn init(model: &dyn Model, seed: u64) -> Params {
    let streams = Streams::of_run(seed);
    let draw = |(which, network): (u64, NetworkSpec)| {
        networks::init(&network.tensors, &mut streams.at(Purpose::Init, which)).named_under(network.name)
    };
    (0..).zip(model.networks()).map(draw).reduce(Params::merged_with).unwrap_or_default()
}
