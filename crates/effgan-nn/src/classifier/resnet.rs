//! The residual classifier for images of any size, and its training.

use std::ops::ControlFlow;

use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use rand::{Rng, RngExt};

use super::{BATCH, Classified, Sizes, classes, cross_entropy};
use crate::device::Placement;
use crate::networks::{self, RESNET_FEATURES, ResnetShape, init, layers, named_tensors};
use crate::optim::{Adam, Optimiser};
use crate::{Device, NnError, Params, Purpose, Result, Streams, pixels};

/// A training image is moved by up to this fraction of its sides, so that of few images none is learnt by heart: of 1,720 pictures in
/// nine classes, 1,500 steps with moves have 90 % right, and without all; of 186 test images both have seven in ten.
const MAX_SHIFT: f64 = 1.0 / 8.0;

/// A trained residual classifier.
pub struct ResnetClassifier {
    network: networks::ResnetClassifier,
    shape: ResnetShape,
    on: Placement,
}

impl ResnetClassifier {
    /// Length of a feature vector.
    pub const FEATURES: usize = RESNET_FEATURES;
    /// Images of a training step.
    pub const BATCH: usize = BATCH;

    /// The classifier of these sizes with the tensors `params`, on `device`.
    ///
    /// # Errors
    /// When the sizes are out of range, or a tensor is missing, unknown or has another shape.
    pub fn new(shape: ResnetShape, params: &Params, device: Device) -> Result<Self> {
        let on = device.for_inference();
        Ok(Self { network: networks::ResnetClassifier::load(&shape, params, &on)?, shape, on })
    }

    /// The sizes.
    pub fn shape(&self) -> ResnetShape {
        self.shape
    }

    /// Features and classes of `images`, u8 `[n, c, h, w]` of the classifier's shape.
    ///
    /// # Errors
    /// When the device fails.
    pub fn classify(&self, images: &[u8]) -> Result<Classified> {
        self.sizes().classified(images, |batch| self.forward(batch))
    }

    /// The probability of the most likely class of each of `images`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn certainty(&self, images: &[u8]) -> Result<Vec<f32>> {
        self.sizes().certainty(images, |batch| self.forward(batch))
    }

    fn sizes(&self) -> Sizes {
        Sizes { image: image_len(&self.shape), features: Self::FEATURES, classes: self.shape.num_classes }
    }

    /// Features and logits of a batch, the values of up to 64 images.
    fn forward(&self, images: &[u8]) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut padded: Vec<f32> = images.iter().map(|&pixel| pixels::to_f32(pixel)).collect();
        padded.resize(BATCH * image_len(&self.shape), 0.0);
        let features = self.network.features(batch(padded, &self.shape, &self.on));
        let logits = self.network.logits(features.clone());
        Ok((layers::read(features)?, layers::read(logits)?))
    }
}

/// Trains a residual classifier for `steps` ≥ 1 steps on those of the u8 images `[n, c, h, w]`, with labels below the number of classes,
/// that have the indices `seen`, by cross-entropy and Adam, on `device`. The learning rate is 2e-3, and 2e-4 in the last third of the steps. Batches are drawn from all
/// of them, each moved by up to an eighth of its sides. `on_step` is called with the number of each step, from 1, and may end the
/// training, which then has no result.
///
/// # Errors
/// [`NnError::Config`] when there is no classifier of these sizes, or there are no images.
///
/// # Panics
/// When there is not one label per image, a label is too large, or there is no image of an index.
pub fn train_resnet(
    shape: ResnetShape,
    (images, labels): (&[u8], &[u8]),
    seen: &[u32],
    steps: usize,
    seed: u64,
    device: Device,
    mut on_step: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Params>> {
    shape.check()?;
    if seen.is_empty() {
        return Err(NnError::Config("there are no images to train a classifier on".into()));
    }
    assert!(images.len() == labels.len() * image_len(&shape), "there is one label per image");
    assert!(labels.iter().all(|&label| usize::from(label) < shape.num_classes), "labels are classes");
    let (on, streams) = (device.for_training(), Streams::of_run(seed));
    let params = init(&shape.tensors(), &mut streams.at(Purpose::Init, 0));
    let mut network = networks::ResnetClassifier::load(&shape, &params, &on)?;
    let mut adam = Optimiser::new(Adam { learning_rate: 1e-3, beta1: 0.9 }, device);
    for step in 1..=steps {
        adam.set_learning_rate(if 3 * step > 2 * steps { 2e-4 } else { 2e-3 });
        let mut rng = streams.at(Purpose::Augment, step as u64);
        let chosen: Vec<usize> = (0..BATCH).map(|_| seen[rng.random_range(0..seen.len())] as usize).collect();
        let image = |i: usize| &images[i * image_len(&shape)..(i + 1) * image_len(&shape)];
        let moved = chosen.iter().flat_map(|&i| moved(image(i), shape.images, &mut rng)).collect();
        let x = batch(moved, &shape, &on);
        let loss = cross_entropy(network.logits(network.features(x)), classes(labels, &chosen, &on));
        let grads = GradientsParams::from_grads(loss.backward(), &network);
        network = adam.step(network, grads);
        if on_step(step).is_break() {
            return Ok(None);
        }
    }
    named_tensors(&network, &shape.tensors(), device.order()).map(Some)
}

fn image_len(shape: &ResnetShape) -> usize {
    shape.images.iter().product()
}

/// u8 values `[c, h, w]` of one image as f32, moved by a random number of pixels; its border is repeated where it leaves a gap.
fn moved(image: &[u8], [c, h, w]: [usize; 3], rng: &mut impl Rng) -> Vec<f32> {
    let (rows, columns) = (sources(h, rng), sources(w, rng));
    let mut moved = Vec::with_capacity(c * h * w);
    for plane in image.chunks_exact(h * w) {
        for row in &rows {
            moved.extend(columns.iter().map(|column| pixels::to_f32(plane[row * w + column])));
        }
    }
    moved
}

/// Where each pixel along an axis of `side` pixels is taken from, after a random move.
fn sources(side: usize, rng: &mut impl Rng) -> Vec<usize> {
    let most = (side as f64 * MAX_SHIFT) as usize;
    let shift = rng.random_range(0..=2 * most);
    (0..side).map(|i| (i + shift).saturating_sub(most).min(side - 1)).collect()
}

/// A batch of images `[64, c, h, w]`.
fn batch(values: Vec<f32>, shape: &ResnetShape, on: &Placement) -> Tensor<4> {
    let [c, h, w] = shape.images;
    Tensor::from_data(TensorData::new(values, [BATCH, c, h, w]), &on.burn)
}
