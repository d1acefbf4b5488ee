//! Fréchet distance between Gaussians fitted to two feature sets (Heusel et al. 2017, arXiv:1706.08500).
//!
//! The distance is |μ₁ − μ₂|² + tr C₁ + tr C₂ − 2 tr √(C₁C₂). The last term is numerically difficult: C₁C₂ is not symmetric, and
//! its general matrix square root may fail or be complex when a covariance is singular. Here C₁ = `FFᵀ` is a Cholesky factor with
//! pivots, and `FᵀC₂F` is symmetric with the non-zero eigenvalues of C₁C₂, so symmetric eigenvalues suffice.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt_pivoting::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Spec};

use crate::error::{MetricError, Result};
use crate::stats::FeatureStats;

/// One thread everywhere, so that a distance is bit-identical for any number of threads.
const PAR: Par = Par::Seq;

/// Fréchet distance between Gaussians fitted to two feature sets (Heusel et al. 2017, arXiv:1706.08500).
///
/// `real` and `fake` hold a mean `[d]` and a covariance `[d, d]` in f64, divided by n − 1 as pytorch-fid does
/// (StyleGAN2-ADA divides by n). The result is ≥ 0, in squared feature units; lower is closer. It may be called FID only
/// where the features are those of Inception-2015.
///
/// A singular covariance (n ≤ d) is fine. A set has distance 0 from itself up to rounding, about 1e-13 of its total
/// variance.
///
/// # Errors
/// [`MetricError::FeatureDim`] when the two sets have different `d`, [`MetricError::CovarianceShape`] or
/// [`MetricError::NonFiniteStats`] or [`MetricError::NegativeVariance`] when one of them is malformed,
/// [`MetricError::Eigenvalues`] when an eigenvalue iteration does not converge.
pub fn frechet_distance(real: &FeatureStats, fake: &FeatureStats) -> Result<f64> {
    if real.dim() != fake.dim() {
        return Err(MetricError::FeatureDim { real: real.dim(), fake: fake.dim() });
    }
    check("real", real)?;
    check("fake", fake)?;
    let means = real.mean.iter().zip(&fake.mean).map(|(real, fake)| (real - fake).powi(2)).sum::<f64>();
    let variances = real.total_variance() + fake.total_variance();
    // For equal sets, a rounding error of either sign remains.
    Ok((means + variances - 2.0 * trace_of_root_of_product(real, fake)?).max(0.0))
}

/// Checks the statistics, whose fields are public. Without it a NaN would become the best possible distance, because `NaN.max(0.0)` is 0.
fn check(which: &'static str, stats: &FeatureStats) -> Result<()> {
    let (dim, values) = (stats.dim(), stats.cov.len());
    if values != dim * dim {
        return Err(MetricError::CovarianceShape { which, values, dim });
    }
    match stats.mean.iter().chain(&stats.cov).find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(&value) => Err(MetricError::NonFiniteStats { which, value }),
    }
}

/// tr √(C₁C₂): the sum of the roots of the eigenvalues of `FᵀC₂F`, where C₁ = `FFᵀ`.
fn trace_of_root_of_product(real: &FeatureStats, fake: &FeatureStats) -> Result<f64> {
    if real.total_variance() == 0.0 {
        return Ok(0.0);
    }
    let factor = factor(covariance(real))?;
    let product = multiply(factor.transpose(), multiply(covariance(fake), factor.as_ref()).as_ref());
    Ok(eigenvalues(product.as_ref())?.iter().map(|value| value.max(0.0).sqrt()).sum())
}

/// F, `[d, r]`, with `FFᵀ` = `cov`, which is not 0: a Cholesky factor with pivots (Higham 2002, section 10.3).
///
/// The factorisation stops where the remaining variances are below d · ε times the largest, the threshold of
/// `numpy.linalg.matrix_rank`. These are rounding noise, whose root would be √ε, and a singular covariance has hundreds of such
/// directions.
fn factor(cov: MatRef<'_, f64>) -> Result<Mat<f64>> {
    let dim = cov.nrows();
    let mut lower = cov.to_owned();
    let (mut order, mut place) = (vec![0_usize; dim], vec![0; dim]);
    let mut memory = MemBuffer::new(cholesky_in_place_scratch::<usize, f64>(dim, PAR, Spec::default()));
    let stack = MemStack::new(&mut memory);
    let (info, _) = cholesky_in_place(lower.as_mut(), &mut order, &mut place, PAR, stack, Spec::default())
        .map_err(|_| MetricError::NegativeVariance { dim })?;
    let entry = |row: usize, column: usize| if column <= row { lower[(row, column)] } else { 0.0 };
    Ok(Mat::from_fn(dim, info.rank, |row, column| entry(place[row], column)))
}

/// Eigenvalues of a symmetric matrix, from its lower half.
fn eigenvalues(matrix: MatRef<'_, f64>) -> Result<Vec<f64>> {
    let (dim, values_only) = (matrix.nrows(), ComputeEigenvectors::No);
    let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<f64>(dim, values_only, PAR, Spec::default()));
    let mut values = Diag::zeros(dim);
    self_adjoint_evd(matrix, values.as_mut(), None, PAR, MemStack::new(&mut memory), Spec::default())
        .map_err(|_| MetricError::Eigenvalues { dim })?;
    Ok(values.column_vector().iter().copied().collect())
}

fn multiply(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    let mut product = Mat::zeros(left.nrows(), right.ncols());
    matmul(product.as_mut(), Accum::Replace, left, right, 1.0, PAR);
    product
}

fn covariance(stats: &FeatureStats) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(&stats.cov, stats.dim(), stats.dim())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// A Gaussian with variances along the axes.
    fn diagonal(mean: &[f64], variances: &[f64]) -> FeatureStats {
        let dim = mean.len();
        let mut cov = vec![0.0; dim * dim];
        for (axis, &variance) in variances.iter().enumerate() {
            cov[axis * dim + axis] = variance;
        }
        FeatureStats { n: 100, mean: mean.to_vec(), cov }
    }

    /// Correlated features without a random generator: waves with incommensurable lengths.
    fn waves(n: usize, dim: usize, phase: f32) -> FeatureStats {
        let wave =
            |i: usize| ((i / dim) as f32 * (1.3 + (i % dim) as f32 * 0.7) + phase).sin() + (i as f32 * 0.9).cos();
        FeatureStats::of(&(0..n * dim).map(wave).collect::<Vec<_>>(), dim).unwrap()
    }

    /// 1e-12: closed forms differ by f64 rounding of a few operations on numbers below 100.
    fn assert_closed_form(distance: f64, expected: f64) {
        assert!((distance - expected).abs() < 1e-12, "{distance}, expected {expected}");
    }

    #[test]
    fn fid_of_a_mean_shift_is_its_squared_norm() {
        let real = diagonal(&[1.0, 2.0, 3.0], &[1.0, 4.0, 0.25]);
        let fake = diagonal(&[2.0, 0.0, 5.0], &[1.0, 4.0, 0.25]);
        assert_closed_form(frechet_distance(&real, &fake).unwrap(), 9.0);
    }

    #[test]
    fn fid_of_a_scaled_identity_is_the_squared_difference_of_deviations() {
        // d · (√4 − √1)² with d = 5
        let (real, fake) = (diagonal(&[0.0; 5], &[1.0; 5]), diagonal(&[0.0; 5], &[4.0; 5]));
        assert_closed_form(frechet_distance(&real, &fake).unwrap(), 5.0);
    }

    #[test]
    fn fid_of_diagonal_covariances_sums_over_axes() {
        // (1 − 3)² + (2 − 0.5)² + (0 − 4)², one axis without any variance
        let real = diagonal(&[0.0; 3], &[1.0, 4.0, 0.0]);
        let fake = diagonal(&[0.0; 3], &[9.0, 0.25, 16.0]);
        assert_closed_form(frechet_distance(&real, &fake).unwrap(), 22.25);
        assert_closed_form(frechet_distance(&fake, &real).unwrap(), 22.25);
    }

    #[test]
    fn sets_without_variance_differ_by_their_means() {
        let (real, fake) = (diagonal(&[1.0, 1.0], &[0.0; 2]), diagonal(&[4.0, 5.0], &[0.0; 2]));
        assert_closed_form(frechet_distance(&real, &fake).unwrap(), 25.0);
    }

    #[test]
    fn a_set_has_no_distance_from_itself() {
        for (n, dim) in [(2, 1), (50, 8), (300, 64), (20, 64), (2, 200)] {
            let stats = waves(n, dim, 0.0);
            let distance = frechet_distance(&stats, &stats).unwrap();
            // 1e-12: f64 rounding of eigenvalues, d times. Roots of rounding noise in singular directions, of which
            // n = 2, d = 200 has 199, would make 1e-8 each.
            assert!(distance <= 1e-12 * stats.total_variance(), "n = {n}, d = {dim}: {distance}");
        }
    }

    #[test]
    fn the_distance_is_symmetric() {
        for (n, m) in [(200, 300), (10, 10), (10, 5)] {
            let (a, b) = (waves(n, 16, 0.0), waves(m, 16, 2.0));
            let (forth, back) = (frechet_distance(&a, &b).unwrap(), frechet_distance(&b, &a).unwrap());
            assert!(forth > 0.0);
            // 1e-7: where one set is more singular than the other, f64 rounding enters under a root.
            assert!((forth - back).abs() < 1e-7 * a.total_variance(), "{n} and {m} images: {forth}, {back}");
        }
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        dim: usize,
        real: Set,
        fake: Set,
        distance: f64,
    }

    #[derive(Deserialize)]
    struct Set {
        features: Vec<f32>,
        mean: Vec<f64>,
        cov: Vec<f64>,
    }

    #[test]
    fn distance_matches_scipy() {
        let cases = serde_json::from_str::<Vec<Case>>(include_str!("../tests/fixtures/frechet.json")).unwrap();
        assert_eq!(cases.len(), 2);
        for Case { name, dim, real, fake, distance } in cases {
            let [ours_real, ours_fake] = [&real, &fake].map(|set| FeatureStats::of(&set.features, dim).unwrap());
            for (ours, theirs) in [(&ours_real, &real), (&ours_fake, &fake)] {
                assert_near(&ours.mean, &theirs.mean);
                assert_near(&ours.cov, &theirs.cov);
            }
            let ours = frechet_distance(&ours_real, &ours_fake).unwrap();
            // 1e-10: f64 rounding of sqrtm, which works on a product that is not symmetric.
            assert!((ours - distance).abs() < 1e-10 * distance, "{name}: {ours}, scipy {distance}");
        }
    }

    /// 1e-12: f64 sums of 40 terms in another order.
    fn assert_near(ours: &[f64], theirs: &[f64]) {
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-12, "{ours}, expected {theirs}");
        }
    }

    #[test]
    fn sets_of_different_networks_are_refused() {
        let error = frechet_distance(&waves(9, 3, 0.0), &waves(9, 4, 0.0)).unwrap_err();
        assert_eq!(error, MetricError::FeatureDim { real: 3, fake: 4 });
    }

    #[test]
    fn malformed_statistics_are_refused() {
        let good = waves(9, 3, 0.0);
        let short = FeatureStats { cov: vec![1.0; 8], ..good.clone() };
        let expected = MetricError::CovarianceShape { which: "fake", values: 8, dim: 3 };
        assert_eq!(frechet_distance(&good, &short), Err(expected));
        let infinite = FeatureStats { mean: vec![0.0, f64::INFINITY, 0.0], ..good.clone() };
        let expected = MetricError::NonFiniteStats { which: "real", value: f64::INFINITY };
        assert_eq!(frechet_distance(&infinite, &good), Err(expected));
        let negative = diagonal(&[0.0; 3], &[1.0, -1.0, 1.0]);
        assert_eq!(frechet_distance(&negative, &good), Err(MetricError::NegativeVariance { dim: 3 }));
    }
}
