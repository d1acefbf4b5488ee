//! Mean and covariance of a feature set: the Gaussian that the Fréchet distance compares (Heusel et al. 2017,
//! arXiv:1706.08500).

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};

use crate::error::{MetricError, Result};

/// Rows that are centred at once. Fixed, so that sums have a fixed order and memory does not grow with the number of images.
const ROWS_AT_ONCE: usize = 256;

/// A Gaussian fitted to the features of one set of images.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureStats {
    /// Number of images, at least 2.
    pub n: usize,
    /// Mean feature, `[d]`.
    pub mean: Vec<f64>,
    /// Covariance, `[d, d]` row-major and symmetric bit for bit, divided by n − 1 as pytorch-fid does.
    pub cov: Vec<f64>,
}

impl FeatureStats {
    /// Statistics of `features`, `[n, d]` row-major with d = `dim`.
    ///
    /// Two passes in f64: the mean first, then products of centred features. A single pass over raw products would suffer
    /// from cancellation when features are far from zero and close to each other.
    ///
    /// # Errors
    /// [`MetricError::FeatureShape`] when `features` is not a whole number of rows or `dim` is 0,
    /// [`MetricError::TooFewImages`] when n < 2, [`MetricError::NonFiniteFeature`] at the first infinity or NaN.
    pub fn of(features: &[f32], dim: usize) -> Result<Self> {
        let n = num_rows(features, dim)?;
        if n < 2 {
            return Err(MetricError::TooFewImages { n });
        }
        check_finite(features, dim)?;
        let mean = mean_of(features, dim);
        let cov = covariance_of(features, &mean);
        Ok(Self { n, mean, cov })
    }

    /// Number of features per image, d.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Total variance: the sum of the diagonal of the covariance, in squared feature units.
    pub fn total_variance(&self) -> f64 {
        self.cov.iter().step_by(self.dim() + 1).sum()
    }
}

/// The number of rows n of `features` `[n, d]`.
pub(crate) fn num_rows(features: &[f32], dim: usize) -> Result<usize> {
    if dim == 0 || !features.len().is_multiple_of(dim) {
        return Err(MetricError::FeatureShape { values: features.len(), dim });
    }
    Ok(features.len() / dim)
}

pub(crate) fn check_finite(features: &[f32], dim: usize) -> Result<()> {
    match features.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(MetricError::NonFiniteFeature { image: at / dim, feature: at % dim, value: features[at] }),
    }
}

fn mean_of(features: &[f32], dim: usize) -> Vec<f64> {
    let mut mean = vec![0.0; dim];
    for row in features.chunks_exact(dim) {
        for (sum, &value) in mean.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    let n = (features.len() / dim) as f64;
    mean.into_iter().map(|sum| sum / n).collect()
}

fn covariance_of(features: &[f32], mean: &[f64]) -> Vec<f64> {
    let dim = mean.len();
    let mut cov = vec![0.0; dim * dim];
    for rows in features.chunks(ROWS_AT_ONCE * dim) {
        add_products(&mut cov, &centred(rows, mean), dim);
    }
    let degrees_of_freedom = (features.len() / dim - 1) as f64;
    for sum in &mut cov {
        *sum /= degrees_of_freedom;
    }
    mirror(&mut cov, dim);
    cov
}

fn centred(rows: &[f32], mean: &[f64]) -> Vec<f64> {
    rows.chunks_exact(mean.len())
        .flat_map(|row| row.iter().zip(mean).map(|(&value, mean)| f64::from(value) - mean))
        .collect()
}

/// Adds `XᵀX` to the lower half of `sums`, `[d, d]`, for the rows X of `centred`, `[r, d]`.
fn add_products(sums: &mut [f64], centred: &[f64], dim: usize) {
    let rows = MatRef::from_row_major_slice(centred, centred.len() / dim, dim);
    triangular::matmul(
        MatMut::from_row_major_slice_mut(sums, dim, dim),
        BlockStructure::TriangularLower,
        Accum::Add,
        rows.transpose(),
        BlockStructure::Rectangular,
        rows,
        BlockStructure::Rectangular,
        1.0,
        // One thread, so that the sums have a fixed order for any number of threads.
        Par::Seq,
    );
}

/// Copies the lower half onto the upper one.
fn mirror(square: &mut [f64], dim: usize) {
    for row in 0..dim {
        for column in 0..row {
            square[column * dim + row] = square[row * dim + column];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_three_points_by_hand() {
        // Columns (1, 2, 6) and (0, 4, 2): means 3 and 2; centred (-2, -1, 3) and (-2, 2, 0); products over 2.
        let stats = FeatureStats::of(&[1.0, 0.0, 2.0, 4.0, 6.0, 2.0], 2).unwrap();
        assert_eq!(stats, FeatureStats { n: 3, mean: vec![3.0, 2.0], cov: vec![7.0, 1.0, 1.0, 4.0] });
        assert_eq!(stats.total_variance().to_bits(), 11.0_f64.to_bits());
    }

    #[test]
    fn a_shift_of_all_features_leaves_the_covariance_bit_for_bit() {
        // 512 rows of multiples of 1/64 below 1, shifted by 2^16: every sum and mean is exact, so nothing may change.
        let near = (0..512 * 5).map(|i| (i * i % 61) as f32 / 64.0).collect::<Vec<_>>();
        let far = near.iter().map(|value| value + 65536.0).collect::<Vec<_>>();
        assert_eq!(FeatureStats::of(&near, 5).unwrap().cov, FeatureStats::of(&far, 5).unwrap().cov);
    }

    #[test]
    fn rows_beyond_one_block_count_as_much_as_the_first() {
        let dim = 3;
        let n = 2 * ROWS_AT_ONCE + 17;
        let features = (0..n * dim).map(|i| (i * 7 % 23) as f32).collect::<Vec<_>>();
        let stats = FeatureStats::of(&features, dim).unwrap();
        for (a, b) in (0..dim).flat_map(|a| (0..dim).map(move |b| (a, b))) {
            let products = features
                .chunks(dim)
                .map(|row| (f64::from(row[a]) - stats.mean[a]) * (f64::from(row[b]) - stats.mean[b]));
            let expected = products.sum::<f64>() / (n - 1) as f64;
            // 1e-10 for entries below 50: f64 rounding of 529 products in another order.
            assert!((stats.cov[a * dim + b] - expected).abs() < 1e-10, "{a}, {b}");
        }
    }

    #[test]
    fn the_covariance_is_symmetric_bit_for_bit() {
        let features = (0..300 * 9).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
        let stats = FeatureStats::of(&features, 9).unwrap();
        for (a, b) in (0..9).flat_map(|a| (0..9).map(move |b| (a, b))) {
            assert_eq!(stats.cov[a * 9 + b].to_bits(), stats.cov[b * 9 + a].to_bits());
        }
    }

    #[test]
    fn features_that_are_not_whole_rows_are_refused() {
        assert_eq!(FeatureStats::of(&[1.0; 7], 2), Err(MetricError::FeatureShape { values: 7, dim: 2 }));
        assert_eq!(FeatureStats::of(&[1.0; 7], 0), Err(MetricError::FeatureShape { values: 7, dim: 0 }));
    }

    #[test]
    fn one_image_has_no_covariance() {
        assert_eq!(FeatureStats::of(&[1.0, 2.0], 2), Err(MetricError::TooFewImages { n: 1 }));
        assert_eq!(FeatureStats::of(&[], 2), Err(MetricError::TooFewImages { n: 0 }));
    }

    #[test]
    fn an_infinite_feature_is_named() {
        let error = FeatureStats::of(&[1.0, 2.0, 3.0, f32::INFINITY], 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "feature 1 of image 1 is inf, expected a finite number; check the image and the feature network"
        );
        assert!(FeatureStats::of(&[1.0, 2.0, f32::NAN, 4.0], 2).is_err());
    }
}
