//! A feature network of one's own: a small residual classifier that is trained on the images of one data set.

use std::ops::ControlFlow;

use effgan_nn::classifier::{Classified, ResnetClassifier, train_resnet};
use effgan_nn::networks::ResnetShape;
use effgan_nn::{Device, NnError, Params, on_threads, parallel_map};
use serde::{Deserialize, Serialize};

use crate::error::of_device;
use crate::{ClassHistogram, Labelled, MetricError, Result};

/// Images that one worker classifies at a time.
const CHUNK: usize = 512;
/// Standard errors by which the accuracy must be above chance.
const ERRORS_ABOVE_CHANCE: f64 = 3.0;

/// A residual classifier of the images of one data set; the 64 values of its penultimate layer are its features, in units of their root
/// mean square on test images, so that distances and kernels are of one size for all networks.
pub struct OwnNet {
    classifier: ResnetClassifier,
    hash: String,
    quality: Quality,
}

/// How well a network tells the classes of test images apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Share of test images whose class it predicts, 0..=1.
    pub accuracy: f64,
    /// Share of the largest class, which a guess reaches.
    pub chance: f64,
    /// Number of test images.
    pub num_test: usize,
    /// Root mean square of the values of the penultimate layer on test images, > 0.
    pub feature_size: f64,
}

impl Quality {
    /// How well the predicted `classes` are the `labels` of as many test images; features have the size 1.
    ///
    /// # Errors
    /// When there are no images, or a label is not below `num_classes`.
    pub fn of_classes(classes: &[u8], labels: &[u8], num_classes: usize) -> Result<Self> {
        let sizes = ClassHistogram::from_classes(labels, num_classes)?;
        let (largest, n) = (sizes.counts().iter().max().copied().unwrap_or(0), labels.len());
        let right = classes.iter().zip(labels).filter(|(class, label)| class == label).count();
        let share = |count: u64| count as f64 / n as f64;
        Ok(Self { accuracy: share(right as u64), chance: share(largest), num_test: n, feature_size: 1.0 })
    }

    /// Whether so many test images could show that a network is better than chance.
    pub fn can_be_above_chance(&self) -> bool {
        Self { accuracy: 1.0, ..*self }.is_above_chance()
    }

    /// Whether the accuracy is more than three standard errors above chance: below, the features say nothing about the images.
    pub fn is_above_chance(&self) -> bool {
        let error = (self.chance * (1.0 - self.chance) / self.num_test as f64).sqrt();
        self.accuracy > self.chance + ERRORS_ABOVE_CHANCE * error
    }
}

/// How long a network is trained, and by which random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Training steps, of [`OwnNet::BATCH`] images each, ≥ 1.
    pub steps: usize,
    /// Seed of the initial weights and of the order of the images.
    pub seed: u64,
}

impl Default for Recipe {
    /// 1,500 steps by seed 1: all runs on a data set have the same network.
    fn default() -> Self {
        Self { steps: 1500, seed: 1 }
    }
}

impl OwnNet {
    /// Length of a feature vector.
    pub const FEATURES: usize = ResnetClassifier::FEATURES;
    /// Images of a training step.
    pub const BATCH: usize = ResnetClassifier::BATCH;

    /// The network of these sizes with the tensors `params`, on `device`; `quality` is what [`test`](Self::test) once found.
    ///
    /// # Errors
    /// [`MetricError::FeatureNet`] when a tensor is missing, unknown or has another shape.
    pub fn new(shape: ResnetShape, params: &Params, quality: Quality, device: Device) -> Result<Self> {
        let classifier = ResnetClassifier::new(shape, params, device).map_err(|error| not_a_net(&error))?;
        Ok(Self { classifier, hash: params.hash(), quality })
    }

    /// Trains a network of these sizes on the images of `train` with the indices `seen`, with `jobs` threads, which change no result. `on_step`
    /// is called with the number of each step, from 1, and may end the training, which then has no result.
    ///
    /// # Errors
    /// [`MetricError::FeatureNet`] when there are no images, or images of a size that no network takes.
    ///
    /// # Panics
    /// When labels and images do not fit.
    pub fn train(
        shape: ResnetShape,
        train: Labelled<'_>,
        seen: &[u32],
        Recipe { steps, seed }: Recipe,
        device: Device,
        jobs: usize,
        on_step: impl FnMut(usize) -> ControlFlow<()> + Send,
    ) -> Result<Option<Params>> {
        let Labelled { images, labels } = train;
        let trained =
            on_threads(jobs, move || train_resnet(shape, (images, labels), seen, steps, seed, device, on_step));
        trained.map_err(|error| not_a_net(&error))
    }

    /// How well the network with the tensors `params` tells the images of `test` apart.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`MetricError::NoImages`] when there are no test images.
    pub fn test(
        shape: ResnetShape,
        params: &Params,
        test: Labelled<'_>,
        device: Device,
        jobs: usize,
    ) -> Result<Quality> {
        let unknown = Quality::of_classes(test.labels, test.labels, shape.num_classes)?;
        let Classified { features, classes } =
            Self::new(shape, params, unknown, device)?.classify(test.images, shape.images, jobs)?;
        let squares = features.iter().map(|&value| f64::from(value).powi(2));
        let feature_size = (squares.sum::<f64>() / features.len() as f64).sqrt();
        if !(feature_size.is_finite() && feature_size > 0.0) {
            return Err(MetricError::FeatureNet(format!("the features of test images have the size {feature_size}")));
        }
        Ok(Quality { feature_size, ..Quality::of_classes(&classes, test.labels, shape.num_classes)? })
    }

    /// Whether test images with these `labels` could show that a network is better than chance; otherwise there is no need to train one.
    ///
    /// # Errors
    /// When there is none, or a label is no class.
    pub fn is_testable(shape: ResnetShape, labels: &[u8]) -> Result<bool> {
        Ok(Quality::of_classes(labels, labels, shape.num_classes)?.can_be_above_chance())
    }

    /// The [model hash](Params::hash) of its weights.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The shape of the images that it takes, and the number of classes.
    pub fn shape(&self) -> ResnetShape {
        self.classifier.shape()
    }

    /// How well it tells the classes of test images apart.
    pub fn quality(&self) -> Quality {
        self.quality
    }

    /// The mean probability of the most likely class of `images`, u8 `[n, c, h, w]` of the network's shape, n ≥ 1: how sure it is of what it
    /// sees.
    ///
    /// # Errors
    /// [`MetricError::Device`].
    pub fn certainty(&self, images: &[u8]) -> Result<f64> {
        let certainty = self.classifier.certainty(images).map_err(|error| of_device(&error))?;
        Ok(certainty.iter().copied().map(f64::from).sum::<f64>() / certainty.len() as f64)
    }

    /// Features and classes of `images`, u8 `[n, c, h, w]` of `shape` `[c, h, w]`. The result does not depend on the number of threads,
    /// `jobs`.
    ///
    /// # Errors
    /// [`MetricError::OwnShape`] when the images are not those that it was trained for; [`MetricError::Device`].
    pub fn classify(&self, images: &[u8], shape: [usize; 3], jobs: usize) -> Result<Classified> {
        let expected = self.shape().images;
        if shape != expected {
            return Err(MetricError::OwnShape { found: shape, expected });
        }
        let chunks: Vec<&[u8]> = images.chunks(CHUNK * shape.iter().product::<usize>()).collect();
        let parts = parallel_map(chunks.len(), jobs, |i| self.classifier.classify(chunks[i]));
        let scale = self.quality.feature_size as f32;
        let mut all = Classified { features: Vec::new(), classes: Vec::new() };
        for part in parts {
            let part = part.map_err(|error| of_device(&error))?;
            all.features.extend(part.features.into_iter().map(|value| value / scale));
            all.classes.extend(part.classes);
        }
        Ok(all)
    }
}

fn not_a_net(error: &NnError) -> MetricError {
    MetricError::FeatureNet(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ResnetShape = ResnetShape { images: [3, 12, 16], num_classes: 3 };

    /// Images of one colour each, red, green or blue by class, a little darker one after the other.
    fn colours(n: usize) -> (Vec<u8>, Vec<u8>) {
        let labels: Vec<u8> = (0..n).map(|i| (i % 3) as u8).collect();
        let image = |(i, &label): (usize, &u8)| {
            (0..3).flat_map(move |channel| vec![if channel == label { 255 - (i % 90) as u8 } else { 20 }; 12 * 16])
        };
        (labels.iter().enumerate().flat_map(image).collect(), labels)
    }

    #[test]
    fn a_network_learns_the_classes_of_any_images_to_the_same_bits_with_any_number_of_threads() {
        let device = Device::cpu().unwrap();
        let ((images, labels), (others, true_labels)) = (colours(90), colours(30));
        let train = Labelled { images: &images, labels: &labels };
        let seen: Vec<u32> = (0..90).collect();
        let recipe = Recipe { steps: 300, ..Recipe::default() };
        let [one, two] =
            [1, 2].map(|jobs| OwnNet::train(SHAPE, train, &seen, recipe, device, jobs, |_| ControlFlow::Continue(())));
        let [one, two] = [one, two].map(|trained| trained.unwrap().unwrap());
        assert_eq!(one.hash(), two.hash());
        let stopped = OwnNet::train(SHAPE, train, &seen, recipe, device, 1, |_| ControlFlow::Break(())).unwrap();
        assert_eq!(stopped, None);
        let test = Labelled { images: &others, labels: &true_labels };
        let quality = OwnNet::test(SHAPE, &one, test, device, 2).unwrap();
        assert_eq!((quality.accuracy, quality.chance, quality.num_test), (1.0, 1.0 / 3.0, 30));
        assert!(quality.is_above_chance());
        let net = OwnNet::new(SHAPE, &one, quality, device).unwrap();
        let error = net.classify(&images, [1, 12, 16], 1).unwrap_err().to_string();
        assert!(error.contains("was trained on images of shape [3, 12, 16], got [1, 12, 16]"), "{error}");
        // The features of an image depend on no other.
        let all = net.classify(&images, SHAPE.images, 2).unwrap().features;
        let last = net.classify(&images[89 * 3 * 12 * 16..], SHAPE.images, 1).unwrap().features;
        assert_eq!(all[89 * OwnNet::FEATURES..], last);
        // Features of the test images have the size 1.
        let of_test = net.classify(&others, SHAPE.images, 1).unwrap().features;
        let mean = of_test.iter().map(|value| value * value).sum::<f32>() / of_test.len() as f32;
        assert!((mean - 1.0).abs() < 1e-4, "{mean}");
    }

    #[test]
    fn an_accuracy_near_that_of_a_guess_is_chance() {
        // Three standard errors of a share of 0.2 among 100: 0.12.
        let quality = |accuracy| Quality { accuracy, chance: 0.2, num_test: 100, feature_size: 1.0 };
        assert_eq!([0.2, 0.31, 0.33].map(|accuracy| quality(accuracy).is_above_chance()), [false, false, true]);
        // Of two images, one of each class, both right may be luck; of ten, all right is not: 0.5 + 3 · 0.158.
        let shape = ResnetShape { images: [1, 8, 8], num_classes: 2 };
        let labels = [0, 1].repeat(5);
        assert_eq!([&labels[..2], &labels].map(|labels| OwnNet::is_testable(shape, labels).unwrap()), [false, true]);
    }
}
