//! The small classifiers behind the scores: their training, and the features and classes that they compute. This one is a LeNet for
//! digits and clothes; [`ResnetClassifier`] takes any images.

mod resnet;

pub use self::resnet::{ResnetClassifier, train_resnet};

use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use rand::seq::SliceRandom;

use crate::device::Placement;
use crate::networks::{LENET_CLASSES, LENET_FEATURES, LeNet, init, layers, lenet_tensors, named_tensors};
use crate::optim::{Adam, Optimiser};
use crate::{Device, NnError, Params, Purpose, Result, Streams, pixels};

/// Images are classified in batches of exactly this size, the last one padded, so that the features of an image do not
/// depend on how many others there are.
const BATCH: usize = 64;
const IMAGE_LEN: usize = 28 * 28;

/// The results of a classifier for n images.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// Outputs of the penultimate layer, `[n, d]`, row-major: d is 84 for a LeNet and 64 for a residual network.
    pub features: Vec<f32>,
    /// The most likely class of each image.
    pub classes: Vec<u8>,
}

/// Numbers of values for an image of a classifier.
struct Sizes {
    image: usize,
    features: usize,
    classes: usize,
}

const SIZES: Sizes = Sizes { image: IMAGE_LEN, features: LENET_FEATURES, classes: LENET_CLASSES };

impl Sizes {
    /// Features and classes of `images`, of which `forward` computes features and logits by the batch.
    fn classified(&self, images: &[u8], forward: impl Fn(&[u8]) -> Result<(Vec<f32>, Vec<f32>)>) -> Result<Classified> {
        let mut all = Classified { features: Vec::new(), classes: Vec::new() };
        for images in images.chunks(BATCH * self.image) {
            let (n, (features, logits)) = (images.len() / self.image, forward(images)?);
            all.features.extend_from_slice(&features[..n * self.features]);
            all.classes.extend(logits.chunks_exact(self.classes).take(n).map(largest));
        }
        Ok(all)
    }

    /// The probability of the most likely class of each of `images`, of which `forward` computes features and logits by the batch.
    fn certainty(&self, images: &[u8], forward: impl Fn(&[u8]) -> Result<(Vec<f32>, Vec<f32>)>) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for images in images.chunks(BATCH * self.image) {
            let (_, logits) = forward(images)?;
            all.extend(logits.chunks_exact(self.classes).take(images.len() / self.image).map(largest_probability));
        }
        Ok(all)
    }
}

/// A trained LeNet for 28 × 28 grey images.
pub struct Classifier {
    network: LeNet,
    on: Placement,
}

impl Classifier {
    /// Length of a feature vector.
    pub const FEATURES: usize = LENET_FEATURES;
    /// Number of classes.
    pub const CLASSES: usize = LENET_CLASSES;

    /// The classifier with the tensors `params`, on `device`.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape.
    pub fn new(params: &Params, device: Device) -> Result<Self> {
        let on = device.for_inference();
        Ok(Self { network: LeNet::load(params, &on)?, on })
    }

    /// Features and classes of `images`, u8 `[n, 1, 28, 28]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn classify(&self, images: &[u8]) -> Result<Classified> {
        SIZES.classified(images, |batch| self.forward(batch))
    }

    /// The probability of the most likely class of each of `images`, u8 `[n, 1, 28, 28]`: 0.1..=1.
    ///
    /// # Errors
    /// When the device fails.
    pub fn certainty(&self, images: &[u8]) -> Result<Vec<f32>> {
        SIZES.certainty(images, |batch| self.forward(batch))
    }

    /// Features and logits of a batch, the values of up to 64 images.
    fn forward(&self, images: &[u8]) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut padded: Vec<f32> = images.iter().map(|&pixel| pixels::to_f32(pixel)).collect();
        padded.resize(BATCH * IMAGE_LEN, 0.0);
        let images = Tensor::from_data(TensorData::new(padded, [BATCH, 1, 28, 28]), &self.on.burn);
        let features = self.network.features(images);
        let logits = self.network.logits(features.clone());
        Ok((layers::read(features)?, layers::read(logits)?))
    }
}

fn largest(logits: &[f32]) -> u8 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class as u8)
}

/// The largest value of the softmax.
fn largest_probability(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    1.0 / logits.iter().map(|logit| (logit - largest).exp()).sum::<f32>()
}

/// Checks that `n` images of `shape` `[c, h, w]` can be trained on.
///
/// # Errors
/// [`NnError::Config`] when they are not grey images of 28 × 28, or fewer than a batch.
pub fn check(shape: [usize; 3], n: usize) -> Result<()> {
    let reason = match (shape, n) {
        ([1, 28, 28], BATCH..) => return Ok(()),
        ([1, 28, 28], _) => format!("{n} images are fewer than a batch of {BATCH}"),
        ([c, h, w], _) => format!("the classifier takes images of 1 x 28 x 28, not {c} x {h} x {w}"),
    };
    Err(NnError::Config(reason))
}

/// Trains the classifier on u8 `images` `[n, 1, 28, 28]` with `labels` below 10, by cross-entropy and Adam, on
/// `device`. The learning rate is 1e-3, and 1e-4 in the last third of the epochs. `on_epoch` is called with the number
/// of each epoch, from 1, and its mean loss in nats.
///
/// # Errors
/// When the device fails.
///
/// # Panics
/// When the images do not pass [`check`].
pub fn train(
    images: &[u8],
    labels: &[u8],
    epochs: usize,
    seed: u64,
    device: Device,
    mut on_epoch: impl FnMut(usize, f32),
) -> Result<Params> {
    let (on, streams) = (device.for_training(), Streams::of_run(seed));
    let params = init(&lenet_tensors(), &mut streams.at(Purpose::Init, 0));
    let mut network = LeNet::load(&params, &on)?;
    let mut adam = Optimiser::new(Adam { learning_rate: 1e-3, beta1: 0.9 }, device);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    for epoch in 1..=epochs {
        adam.set_learning_rate(if 3 * epoch > 2 * epochs { 1e-4 } else { 1e-3 });
        order.shuffle(&mut streams.at(Purpose::Shuffle, epoch as u64));
        let mut losses = Vec::new();
        for batch in order.chunks_exact(BATCH) {
            let (x, y) = labelled(images, labels, batch, &on);
            let loss = cross_entropy(network.logits(network.features(x)), y);
            losses.push(loss.clone().inner());
            let grads = GradientsParams::from_grads(loss.backward(), &network);
            network = adam.step(network, grads);
        }
        let sum: f32 = layers::scalars(losses.into_iter())?.into_iter().fold(0.0, |sum, loss| sum + loss);
        on_epoch(epoch, sum / (labels.len() / BATCH) as f32);
    }
    named_tensors(&network, &lenet_tensors(), device.order())
}

fn labelled(images: &[u8], labels: &[u8], batch: &[usize], on: &Placement) -> (Tensor<4>, Tensor<2, Int>) {
    let image = |&i: &usize| &images[i * IMAGE_LEN..(i + 1) * IMAGE_LEN];
    let x: Vec<f32> = batch.iter().flat_map(image).map(|&pixel| pixels::to_f32(pixel)).collect();
    let x = Tensor::from_data(TensorData::new(x, [batch.len(), 1, 28, 28]), &on.burn);
    (x, classes(labels, batch, on))
}

/// The labels of a batch, `[n, 1]`.
fn classes(labels: &[u8], batch: &[usize], on: &Placement) -> Tensor<2, Int> {
    let y: Vec<i64> = batch.iter().map(|&i| i64::from(labels[i])).collect();
    Tensor::from_data(TensorData::new(y, [batch.len(), 1]), &on.burn)
}

fn cross_entropy(logits: Tensor<2>, labels: Tensor<2, Int>) -> Tensor<1> {
    -log_softmax(logits, 1).gather(1, labels).mean()
}
