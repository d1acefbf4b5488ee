//! All scores that compare two sets of features.

use serde::{Deserialize, Serialize};

use crate::{FeatureStats, Kid, Prdc, Result, Subsets, frechet_distance, kernel_distance, prdc};

/// How close fake features are to real ones. Each number depends on n, and must be compared with the floor, the score of equally
/// many real images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureScores {
    /// Fréchet distance, ≥ 0, lower is closer; an FID if the features are those of Inception-2015.
    pub frechet_distance: f64,
    /// Kernel distance over subsets; about 0 at best.
    pub kid: Kid,
    /// Precision, recall, density and coverage.
    pub prdc: Prdc,
}

impl FeatureScores {
    /// Compares f32 features `[n, d]` row-major with d = `dim`. `seed` draws the subsets of the kernel distance. The result
    /// does not depend on the number of threads, `jobs`.
    ///
    /// # Errors
    /// When a set has no more than [`Prdc::NEAREST_K`] images, is not a whole number of rows, or has a value that is not finite.
    pub fn of(real: &[f32], fake: &[f32], dim: usize, seed: u64, jobs: usize) -> Result<Self> {
        let [real_stats, fake_stats] = [FeatureStats::of(real, dim)?, FeatureStats::of(fake, dim)?];
        let subsets = Subsets::draw(real_stats.n, fake_stats.n, seed);
        Ok(Self {
            frechet_distance: frechet_distance(&real_stats, &fake_stats)?,
            kid: kernel_distance(real, fake, dim, &subsets, jobs)?,
            prdc: prdc(real, fake, dim, Prdc::NEAREST_K, jobs)?,
        })
    }
}
