//! The result of an evaluation, as `effgan evaluate --json` prints it.

use effgan_metrics::{Memorisation, TrainOnSynthetic};
use serde::{Deserialize, Serialize};

/// The scores of a set of images, beside those of real images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// The name of the images that were scored.
    pub of: String,
    /// The name of the reference images.
    pub reference: String,
    /// The feature network, and for Inception the resize.
    pub features: String,
    /// d, the length of a feature vector.
    pub dim: usize,
    /// Scores of the images.
    #[serde(flatten)]
    pub scores: SetScores,
    /// Scores of as many real training images: what a perfect generator would reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<SetScores>,
    /// Accuracy of a classifier that is trained on the images; absent when not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_on_synthetic: Option<TrainOnSynthetic>,
    /// Distance to training images, of the images and of each member; empty when not measured.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub memorisation: Vec<MemberMemorisation>,
    /// The network whose features memorisation is measured in.
    #[serde(default)]
    pub memorisation_features: String,
    /// What makes a number less reliable, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
}

/// Scores of one set of images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetScores {
    /// Number of images.
    pub n: usize,
    /// Number of reference images.
    pub n_reference: usize,
    // `fid` and `kid` are names for Inception's features alone: another network has another scale.
    /// Fréchet distance on Inception-2015's features, ≥ 0; lower is closer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fid: Option<f64>,
    /// Fréchet distance on a small network's features, ≥ 0; lower is closer. Not an FID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd_small: Option<f64>,
    /// Kernel distance on Inception-2015's features, the mean over subsets; lower is closer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<f64>,
    /// Kernel distance on a small network's features, the mean over subsets; lower is closer. Not a KID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kd_small: Option<f64>,
    /// Standard deviation of the kernel distance over subsets.
    pub kd_std: f64,
    /// Number of subsets of the kernel distance.
    pub kd_subsets: usize,
    /// Images per subset of the kernel distance.
    pub kd_subset_size: usize,
    /// Share of the images that lie on the reference's manifold, 0..1.
    pub precision: f64,
    /// Share of the reference images that lie on the images' manifold, 0..1.
    pub recall: f64,
    /// How densely the images lie where the reference does, ≥ 0; 1 is as dense as the reference.
    pub density: f64,
    /// Share of the reference images with an image in their neighbourhood, 0..1.
    pub coverage: f64,
    /// Nearest neighbours that define the manifolds of precision, recall, density and coverage.
    pub nearest_k: usize,
    /// Scores of the predicted classes; absent without a classifier for such images.
    #[serde(flatten)]
    pub classes: Option<ClassScores>,
}

/// Scores of the classes that the small network predicts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClassScores {
    /// KL divergence from the reference's true classes, in nats, ≥ 0.
    pub class_kl: f64,
    /// Classes whose share is at least a tenth of their share in the reference.
    pub modes: usize,
    /// Images per predicted class.
    pub class_counts: Vec<u64>,
}

/// How near samples are to training images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberMemorisation {
    /// The member, or `all` for the images that are scored.
    pub member: String,
    /// Their distances to training and to held-out images.
    #[serde(flatten)]
    pub memorisation: Memorisation,
}
