//! Train on synthetic, test on real (Esteban et al. 2017, arXiv:1706.02633; the classification accuracy score of Ravuri and
//! Vinyals 2019, arXiv:1905.10887): how well a classifier trained on generated images works on real ones.

use effgan_nn::{Device, classifier, parallel_map};
use serde::{Deserialize, Serialize};

use crate::error::{MetricError, Result, of_device};
use crate::small_net::SmallNet;

/// Grey images of 28 × 28 pixels.
const SHAPE: [usize; 3] = SmallNet::SHAPE;
const IMAGE_LEN: usize = 28 * 28;

/// Images with labels.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// u8 `[n, 1, 28, 28]`.
    pub images: &'a [u8],
    /// True classes, `[n]`, below 10.
    pub labels: &'a [u8],
}

/// How well a classifier that was only trained on generated images classifies real ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainOnSynthetic {
    /// Accuracy on the test images, 0..1; higher is better, and 0.1 is chance. It grows with n, and is only comparable at the
    /// same n and number of epochs.
    pub accuracy: f64,
    /// The ceiling: the accuracy after training on equally many real images with their true labels.
    pub accuracy_of_real: Option<f64>,
    /// Number of generated images.
    pub n: usize,
    /// Number of real test images.
    pub num_test: usize,
    /// Passes over the generated images.
    pub epochs: usize,
}

impl TrainOnSynthetic {
    /// Epochs of training, for any n.
    pub const EPOCHS: usize = 5;
    /// Minimum number of generated images: one training batch.
    pub const LEAST: usize = 64;
}

/// Trains a LeNet on u8 `samples` `[n, 1, 28, 28]` of `shape`, labelled by `net`, and tests it on `test`; does the same with the
/// first n images of `real`, if given. It is trained on the CPU.
///
/// A generator whose samples `net` mislabels, or that leaves out a class, loses accuracy; one that copies its training images
/// does not. `seed` determines the initial parameters and the order of the images. The result does not depend on the number of
/// threads, `jobs`, of which at most two are used.
///
/// # Errors
/// [`MetricError::ImageShape`] when an image is not 1 × 28 × 28, [`MetricError::TooFewFor`] when there are fewer than 64
/// samples, fewer real images than samples or no test images, [`MetricError::Labels`] or [`MetricError::ClassOutOfRange`] when
/// labels do not fit.
pub fn train_on_synthetic(
    samples: &[u8],
    shape: [usize; 3],
    net: &SmallNet,
    real: Option<Labelled<'_>>,
    test: Labelled<'_>,
    seed: u64,
    jobs: usize,
) -> Result<TrainOnSynthetic> {
    if shape != SHAPE {
        return Err(MetricError::ImageShape { found: shape });
    }
    let n = samples.len() / IMAGE_LEN;
    check_number("generated", n, TrainOnSynthetic::LEAST)?;
    check(test, "test", 1)?;
    real.map_or(Ok(()), |real| check(real, "real training", n))?;
    let labels = net.classify(samples, SHAPE, jobs)?.classes;
    let synthetic = Labelled { images: samples, labels: &labels };
    let real = real.map(|real| Labelled { images: &real.images[..n * IMAGE_LEN], labels: &real.labels[..n] });
    let sets: Vec<Labelled<'_>> = [synthetic].into_iter().chain(real).collect();
    let accuracies = parallel_map(sets.len(), jobs, |i| accuracy_after(sets[i], test, seed));
    let accuracies = accuracies.into_iter().collect::<Result<Vec<f64>>>()?;
    Ok(TrainOnSynthetic {
        accuracy: accuracies[0],
        accuracy_of_real: accuracies.get(1).copied(),
        n,
        num_test: test.labels.len(),
        epochs: TrainOnSynthetic::EPOCHS,
    })
}

fn check(Labelled { images, labels }: Labelled<'_>, which: &'static str, least: usize) -> Result<()> {
    if images.len() != labels.len() * IMAGE_LEN {
        return Err(MetricError::Labels { which, values: images.len(), labels: labels.len() });
    }
    let num_classes = SmallNet::CLASSES;
    if let Some(image) = labels.iter().position(|&label| usize::from(label) >= num_classes) {
        return Err(MetricError::ClassOutOfRange { image, class: labels[image], num_classes });
    }
    check_number(which, labels.len(), least)
}

fn check_number(which: &'static str, n: usize, least: usize) -> Result<()> {
    if n < least {
        return Err(MetricError::TooFewFor { which, n, least, score: "training on synthetic images" });
    }
    Ok(())
}

/// Accuracy on `test` of a network that was trained on `set`.
fn accuracy_after(set: Labelled<'_>, test: Labelled<'_>, seed: u64) -> Result<f64> {
    let device = Device::cpu().map_err(|error| of_device(&error))?;
    let trained = classifier::train(set.images, set.labels, TrainOnSynthetic::EPOCHS, seed, device, |_, _| {});
    let params = trained.map_err(|error| MetricError::FeatureNet(error.to_string()))?;
    let classes = SmallNet::new(&params, device)?.classify(test.images, SHAPE, 1)?.classes;
    let right = classes.iter().zip(test.labels).filter(|(class, label)| class == label).count();
    Ok(right as f64 / test.labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images that are white in one of ten bands of two rows, by class, a little grey elsewhere.
    fn bands(n: usize, grey: u8) -> (Vec<u8>, Vec<u8>) {
        let labels: Vec<u8> = (0..n).map(|i| (i % 10) as u8).collect();
        let pixel = |label: u8, at: usize| if at / 56 == usize::from(label) + 2 { 255 } else { grey };
        (labels.iter().flat_map(|&label| (0..IMAGE_LEN).map(move |at| pixel(label, at))).collect(), labels)
    }

    /// A network that was trained on the bands.
    fn trained_net(images: &[u8], labels: &[u8]) -> SmallNet {
        let device = Device::cpu().unwrap();
        let params = classifier::train(images, labels, 16, 1, device, |_, _| {}).unwrap();
        let net = SmallNet::new(&params, device).unwrap();
        assert_eq!(net.classify(images, SHAPE, 1).unwrap().classes, labels);
        net
    }

    #[test]
    fn real_images_with_their_own_labels_reach_the_ceiling() {
        let (images, labels) = bands(320, 0);
        let (seen, true_labels) = bands(100, 8);
        let test = Labelled { images: &seen, labels: &true_labels };
        let real = Some(Labelled { images: &images, labels: &labels });
        let net = trained_net(&images, &labels);
        let score = |jobs| train_on_synthetic(&images, SHAPE, &net, real, test, 3, jobs).unwrap();
        let one = score(1);
        assert_eq!((one.n, one.num_test, one.epochs), (320, 100, 5));
        assert_eq!(Some(one.accuracy), one.accuracy_of_real);
        // Without bands it would be 0.1.
        assert!(one.accuracy > 0.5, "{one:?}");
        assert_eq!(score(2), one);
    }

    #[test]
    fn a_classifier_of_one_class_has_the_accuracy_of_that_class() {
        let (images, labels) = bands(320, 0);
        let samples = images[..IMAGE_LEN].repeat(640);
        let (seen, true_labels) = bands(100, 0);
        let test = Labelled { images: &seen, labels: &true_labels };
        let score = train_on_synthetic(&samples, SHAPE, &trained_net(&images, &labels), None, test, 3, 1).unwrap();
        assert_eq!((score.accuracy, score.accuracy_of_real), (0.1, None));
    }

    #[test]
    fn errors_of_images_and_labels_are_one_line() {
        let (images, labels) = bands(64, 0);
        let (net, all) = (SmallNet::mnist(Device::cpu().unwrap()), Labelled { images: &images, labels: &labels });
        let error = |samples: &[u8], shape, real, test| {
            train_on_synthetic(samples, shape, &net, real, test, 1, 1).unwrap_err().to_string()
        };
        assert_eq!(
            error(&images[..63 * IMAGE_LEN], SHAPE, None, all),
            "63 generated images, fewer than the 64 that training on synthetic images needs; pass more images"
        );
        assert_eq!(
            error(&images, [3, 32, 32], None, all),
            "the small feature network needs images of shape [1, 28, 28], got [3, 32, 32]"
        );
        let few = Labelled { images: &images[..IMAGE_LEN], labels: &labels[..1] };
        assert_eq!(
            error(&images, SHAPE, Some(few), all),
            "1 real training images, fewer than the 64 that training on synthetic images needs; pass more images"
        );
        let short = Labelled { labels: &labels[..2], ..few };
        assert_eq!(
            error(&images, SHAPE, None, short),
            "test images have 784 pixels, expected 2 x 784, one image of 28 x 28 for each label"
        );
    }
}
