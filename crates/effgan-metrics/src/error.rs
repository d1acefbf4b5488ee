//! Errors of this crate.

use effgan_nn::NnError;
use thiserror::Error;

/// Why a score cannot be computed; each message names the input, its value, the bound and what to do.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MetricError {
    /// The feature network does not accept images of this shape.
    #[error("the small feature network needs images of shape [1, 28, 28], got {found:?}")]
    ImageShape {
        /// `[c, h, w]` of the images.
        found: [usize; 3],
    },
    /// A network of one's own does not accept images of this shape.
    #[error("the feature network was trained on images of shape {expected:?}, got {found:?}")]
    OwnShape {
        /// `[c, h, w]` of the images.
        found: [usize; 3],
        /// `[c, h, w]` of the images that it was trained on.
        expected: [usize; 3],
    },
    /// The reference has no images of a class.
    #[error("there is no image of class {class} among the {n} reference images; use more of them")]
    MissingClass {
        /// The first class without images.
        class: usize,
        /// Number of reference images.
        n: usize,
    },
    /// The device that computes features failed.
    #[error("{0}")]
    Device(String),
    /// Weights do not fit the feature network.
    #[error("feature network: {0}")]
    FeatureNet(String),
    /// Weights of Inception cannot be read, or belong to another network.
    #[error("weights of Inception-2015: {0}")]
    Inception(String),
    /// Inception does not accept this image.
    #[error("{values} values are not an image of shape {shape:?} with 1 or 3 channels, as Inception needs")]
    InceptionShape {
        /// Number of values that were passed.
        values: usize,
        /// `[c, h, w]` of the image.
        shape: [usize; 3],
    },
    /// The features are not a whole number of rows.
    #[error(
        "{values} feature values are not a whole number of rows of dim = {dim}; pass features of shape [n, {dim}] with dim at least 1"
    )]
    FeatureShape {
        /// Number of values that were passed.
        values: usize,
        /// Expected number of features per image.
        dim: usize,
    },
    /// There are fewer images than a covariance needs.
    #[error("features of {n} images, fewer than the 2 that a covariance needs; pass more images")]
    TooFewImages {
        /// Number of images that were passed.
        n: usize,
    },
    /// There are fewer images than a score needs.
    #[error("{n} {which} images, fewer than the {least} that {score} needs; pass more images")]
    TooFewFor {
        /// What the images are: `real`, `fake`, …
        which: &'static str,
        /// Number of images that were passed.
        n: usize,
        /// Minimum number of images that the score needs.
        least: usize,
        /// The score.
        score: &'static str,
    },
    /// A round is scored by another number of images than the reference has, which its scores do not record.
    #[error("{n} images are scored against {n_reference} reference images; a round is scored by as many as there are")]
    NotAsManyImages {
        /// Number of images that were passed.
        n: usize,
        /// Number of reference images.
        n_reference: usize,
    },
    /// The number of nearest neighbours is 0.
    #[error("nearest_k = 0 must be at least 1")]
    NearestK,
    /// A subset has an image that does not exist.
    #[error("a subset has {which} image {index} of {n}; draw the subsets for these sets")]
    SubsetIndex {
        /// `real` or `fake`.
        which: &'static str,
        /// The index, from 0.
        index: usize,
        /// Number of images in the set.
        n: usize,
    },
    /// Subsets are not pairs of equal size.
    #[error("subsets must be pairs of one size of at least 2, got {found}; draw them with `Subsets::draw`")]
    Subsets {
        /// What was passed instead.
        found: String,
    },
    /// More than half of the held-out images are training images.
    #[error(
        "the median of {n} held-out images lies at distance 0 from the training images; hold out images that are not training images"
    )]
    HeldOutCopies {
        /// Number of held-out images.
        n: usize,
    },
    /// The numbers of images and labels differ.
    #[error("{which} images have {values} pixels, expected {labels} x 784, one image of 28 x 28 for each label")]
    Labels {
        /// What the images are: `real`, `test`, …
        which: &'static str,
        /// Number of pixels of all images.
        values: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A feature is infinite or not a number.
    #[error(
        "feature {feature} of image {image} is {value}, expected a finite number; check the image and the feature network"
    )]
    NonFiniteFeature {
        /// Row of the feature, from 0.
        image: usize,
        /// Column of the feature, from 0.
        feature: usize,
        /// The value found there.
        value: f32,
    },
    /// Two feature sets come from different networks.
    #[error("real features have dim {real}, fake features have dim {fake}; extract both with one network")]
    FeatureDim {
        /// Features per real image.
        real: usize,
        /// Features per fake image.
        fake: usize,
    },
    /// A covariance does not have the size of its mean.
    #[error(
        "covariance of {which} features has {values} values, expected {dim} x {dim}; recompute it from the features"
    )]
    CovarianceShape {
        /// `real` or `fake`.
        which: &'static str,
        /// Number of values in the covariance.
        values: usize,
        /// Length of the mean.
        dim: usize,
    },
    /// A mean or a covariance is infinite or not a number.
    #[error("statistics of {which} features hold {value}, expected finite numbers; recompute them from the features")]
    NonFiniteStats {
        /// `real` or `fake`.
        which: &'static str,
        /// The first value that is not finite.
        value: f64,
    },
    /// A covariance has a variance below 0.
    #[error("a covariance of dim {dim} has a variance below 0; recompute it from the features")]
    NegativeVariance {
        /// Size of the matrix.
        dim: usize,
    },
    /// The eigenvalue iteration did not converge.
    #[error("eigenvalues of a covariance of dim {dim} did not converge; check the features for extreme values")]
    Eigenvalues {
        /// Size of the matrix.
        dim: usize,
    },
    /// A class is not below the number of classes of the histogram.
    #[error(
        "image {image} has class {class}, expected a class below num_classes = {num_classes}; check the labels or raise it"
    )]
    ClassOutOfRange {
        /// Position of the image, from 0.
        image: usize,
        /// Its class.
        class: u8,
        /// Number of classes of the histogram.
        num_classes: usize,
    },
    /// A histogram has no images.
    #[error("classes of 0 images; pass at least one")]
    NoImages,
    /// Two histograms have different numbers of classes.
    #[error("real images have {real} classes, fake images have {fake}; classify both with one network")]
    NumClasses {
        /// Number of classes of the real histogram.
        real: usize,
        /// Number of classes of the fake histogram.
        fake: usize,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, MetricError>;

/// An error of a network that computes features, which was checked when it was built: only its device can fail.
pub(crate) fn of_device(error: &NnError) -> MetricError {
    MetricError::Device(error.to_string())
}
