//! What metrics were computed with, beside the number of images.

use serde::{Deserialize, Serialize};

/// Numbers that are recorded beside the metrics of a set of images, since a metric cannot be read or compared without them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Standard deviation of the kernel distance over subsets.
    pub kd_std: Option<f64>,
    /// Number of subsets of the kernel distance.
    pub kd_subsets: Option<usize>,
    /// Images per subset of the kernel distance.
    pub kd_subset_size: Option<usize>,
    /// Nearest neighbours that define the manifolds of precision, recall, density and coverage.
    pub nearest_k: Option<usize>,
    /// Number of images of each predicted class; empty where no classes are compared.
    pub class_counts: Vec<u64>,
    /// The network that was trained on the data set; absent where another one was used, or one that an earlier version did not record.
    pub own_network: Option<OwnNetwork>,
}

/// A feature network that was trained on a data set. Distances on the features of two networks are not comparable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnNetwork {
    /// The SHA-256 of its weights, in lower-case hex.
    pub sha256: String,
    /// Share of test images whose class it predicts, 0..=1.
    pub test_accuracy: f64,
}

impl OwnNetwork {
    /// The beginning of the hash, by which people tell networks apart.
    pub fn short_hash(&self) -> &str {
        self.sha256.get(..8).unwrap_or(&self.sha256)
    }
}
