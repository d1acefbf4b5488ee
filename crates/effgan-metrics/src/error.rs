//! What can go wrong between features or classes and a score.

use thiserror::Error;

/// A score that cannot be computed: which input, its value, the bound, and what to do.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MetricError {
    /// Images that the feature network does not take.
    #[error("the small feature network takes images of shape [1, 28, 28], got {found:?}")]
    ImageShape {
        /// `[c, h, w]` of the images.
        found: [usize; 3],
    },
    /// A reference without images of a class.
    #[error("the {n} reference images have none of class {class}; take more")]
    MissingClass {
        /// The first class without images.
        class: usize,
        /// Images of the reference.
        n: usize,
    },
    /// Weights that do not fit the feature network.
    #[error("feature network: {0}")]
    FeatureNet(String),
    /// Weights of Inception that cannot be read, or are of another network.
    #[error("weights of Inception-2015: {0}")]
    Inception(String),
    /// Images that Inception does not take.
    #[error("{values} values are no images of shape {shape:?}; Inception takes whole images of 1 or 3 channels")]
    InceptionShape {
        /// Number of values that were passed.
        values: usize,
        /// `[c, h, w]` of the images.
        shape: [usize; 3],
    },
    /// The features are no whole number of rows.
    #[error(
        "{values} feature values are no rows of dim = {dim}; pass features of shape [n, {dim}] with dim at least 1"
    )]
    FeatureShape {
        /// Number of values that were passed.
        values: usize,
        /// Features per image that were announced.
        dim: usize,
    },
    /// Fewer images than a covariance needs.
    #[error("features of {n} images, fewer than the 2 that a covariance needs; pass more images")]
    TooFewImages {
        /// Number of images that were passed.
        n: usize,
    },
    /// Fewer images than a score needs.
    #[error("{n} {which} images, fewer than the {least} that {score} needs; pass more images")]
    TooFewFor {
        /// What the images are: `real`, `fake`, …
        which: &'static str,
        /// Number of images that were passed.
        n: usize,
        /// Fewest images that would do.
        least: usize,
        /// The score.
        score: &'static str,
    },
    /// A ball around nothing.
    #[error("nearest_k = 0, expected at least 1")]
    NearestK,
    /// A subset names an image that is not there.
    #[error("a subset names {which} image {index} of {n}; draw the subsets for these sets")]
    SubsetIndex {
        /// `real` or `fake`.
        which: &'static str,
        /// The index, from 0.
        index: usize,
        /// Images of the set.
        n: usize,
    },
    /// Subsets that are no pairs of equal size.
    #[error("subsets come in pairs of one size of at least 2, got {found}; draw them with `Subsets::draw`")]
    Subsets {
        /// What is there instead.
        found: String,
    },
    /// More than half of the held-out images are training images.
    #[error(
        "the median of {n} held-out images lies at distance 0 from the training images; hold out images that are no training images"
    )]
    HeldOutCopies {
        /// Number of held-out images.
        n: usize,
    },
    /// Images and labels that do not belong together.
    #[error("{which} images come to {values} pixels, expected {labels} x 784, one image of 28 x 28 for each label")]
    Labels {
        /// What the images are: `real`, `test`, …
        which: &'static str,
        /// Pixels of the images.
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
    /// A covariance that is not square, or does not belong to its mean.
    #[error(
        "covariance of {which} features has {values} values, expected {dim} x {dim}; compute it anew from the features"
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
    #[error(
        "statistics of {which} features hold {value}, expected finite numbers; compute them anew from the features"
    )]
    NonFiniteStats {
        /// `real` or `fake`.
        which: &'static str,
        /// The first value that is not finite.
        value: f64,
    },
    /// A covariance with a variance below 0.
    #[error("a covariance of dim {dim} has a variance below 0; compute it anew from the features")]
    NegativeVariance {
        /// Size of the matrix.
        dim: usize,
    },
    /// The eigenvalue iteration did not settle.
    #[error("eigenvalues of a covariance of dim {dim} did not converge; check the features for values of extreme size")]
    Eigenvalues {
        /// Size of the matrix.
        dim: usize,
    },
    /// A class that the histogram does not have.
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
    /// A histogram of nothing has no shares.
    #[error("classes of 0 images, fewer than the 1 that a share needs; pass more images")]
    NoImages,
    /// Two histograms count different things.
    #[error("real images have {real} classes, fake images have {fake}; classify both with one network")]
    NumClasses {
        /// Classes of the real histogram.
        real: usize,
        /// Classes of the fake histogram.
        fake: usize,
    },
}

/// What a function of this crate answers.
pub type Result<T> = std::result::Result<T, MetricError>;
