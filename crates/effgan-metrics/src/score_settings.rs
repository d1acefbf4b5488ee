//! What metrics were computed with, beside the number of images.

use serde::Deserialize;

use crate::LevelDistance;

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
    /// Sliced Wasserstein distance on each level of the pyramids, finest first; empty where patches are not compared.
    pub swd_levels: Vec<LevelDistance>,
}
