//! Random proportions of the clients, and whole images in those proportions.

use super::CommonKeys;
use crate::{ClientName, DataError};
use rand::{Rng, RngExt, distr::Open01};
use rand_distr::{Gamma, StandardNormal};
use std::fmt;

/// How often proportions are drawn before it is an error that no draw gives every client `min_examples` images.
pub(super) const MAX_DRAWS: usize = 100;

/// A distribution of the clients' proportions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Dirichlet with equal concentrations α, finite and > 0; the smaller α, the more uneven.
    Dirichlet {
        /// Concentration α.
        alpha: f64,
    },
    /// Log-normal weights `exp(σ z)`, `z` standard normal, divided by their sum; σ is finite and ≥ 0, and with 0 all are equal.
    LogNormal {
        /// Standard deviation σ of the logarithms.
        sigma: f64,
    },
}

impl Distribution {
    /// Checks the range of the parameter.
    pub(super) fn check(self) -> Result<(), DataError> {
        match self {
            Self::Dirichlet { alpha } if !(alpha.is_finite() && alpha > 0.0) => Err(DataError::Alpha { alpha }),
            Self::LogNormal { sigma } if !(sigma.is_finite() && sigma >= 0.0) => Err(DataError::Sigma { sigma }),
            _ => Ok(()),
        }
    }

    /// How to make the proportions more even, for error messages.
    fn remedy(self) -> &'static str {
        match self {
            Self::Dirichlet { .. } => "raise alpha",
            Self::LogNormal { .. } => "lower sigma",
        }
    }

    /// Draws the proportions of `n` parts, up to a common factor: each in [0, 1], the largest 1.
    pub(super) fn draw<R: Rng + ?Sized>(self, n: usize, rng: &mut R) -> Vec<f64> {
        match self {
            Self::Dirichlet { alpha } => draw_dirichlet(alpha, n, rng),
            Self::LogNormal { sigma } => {
                let normals: Vec<f64> = (0..n).map(|_| rng.sample(StandardNormal)).collect();
                let largest = normals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                // Subtract first, because σ z alone can overflow.
                normals.iter().map(|z| (sigma * (z - largest)).exp()).collect()
            }
        }
    }

    /// Draws sizes that sum to `num_images`, until each client has `min_examples` training images.
    ///
    /// # Errors
    /// [`DataError::TooFewAfterDraws`] when no draw gives every client enough images.
    pub(super) fn draw_sizes<R: Rng + ?Sized>(
        self,
        common: &CommonKeys,
        num_images: usize,
        rng: &mut R,
    ) -> Result<Vec<usize>, DataError> {
        let CommonKeys { clients, min_examples, .. } = *common;
        let mut best = None;
        for _ in 0..MAX_DRAWS {
            let sizes = split_by(&self.draw(clients, rng), num_images);
            let smallest = sizes.iter().enumerate().map(|(client, &size)| (common.num_train(size), client)).min();
            if smallest.is_some_and(|(num_train, _)| num_train >= min_examples) {
                return Ok(sizes);
            }
            best = best.max(smallest);
        }
        let (num_train, client) = best.expect("there is a client, and MAX_DRAWS is not 0");
        Err(self.too_few(common, num_train, client))
    }

    /// The error of a partition whose smallest client has `num_train` training images in the best draw.
    pub(super) fn too_few(self, common: &CommonKeys, num_train: usize, client: usize) -> DataError {
        let CommonKeys { clients, min_examples, .. } = *common;
        DataError::TooFewAfterDraws {
            draws: MAX_DRAWS,
            name: ClientName::simulated(client, clients).to_string(),
            num_train,
            what: "images",
            min_examples,
            distribution: self.to_string(),
            remedy: self.remedy(),
            clients,
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dirichlet { alpha } => write!(f, "alpha = {alpha:?}"),
            Self::LogNormal { sigma } => write!(f, "sigma = {sigma:?}"),
        }
    }
}

/// One draw from Dirichlet(α), up to a common factor.
///
/// The proportions are Gamma(α) draws, which all underflow to 0 when α is small. Their logarithms do not: they follow from
/// Gamma(α) = Gamma(α + 1) · U^(1/α). The term ln U / α can overflow, so the logarithms are multiplied by min(α, 1), and divided
/// by it again once the largest has been subtracted.
fn draw_dirichlet<R: Rng + ?Sized>(alpha: f64, n: usize, rng: &mut R) -> Vec<f64> {
    let scale = alpha.min(1.0);
    let gamma = Gamma::new(alpha + 1.0, 1.0).expect("alpha is finite and above 0");
    let scaled_log = |_| {
        let (boosted, u): (f64, f64) = (rng.sample(gamma), rng.sample(Open01));
        scale * boosted.ln() + scale / alpha * u.ln()
    };
    let logs: Vec<f64> = (0..n).map(scaled_log).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter().map(|log| ((log - largest) / scale).exp()).collect()
}

/// Splits `size` images in proportion to `proportions`, whose sum is above 0. The running sum is rounded, not each share, so the
/// counts sum to `size`.
pub(super) fn split_by(proportions: &[f64], size: usize) -> Vec<usize> {
    let per_unit = size as f64 / proportions.iter().sum::<f64>();
    let (mut sum, mut cut) = (0.0, 0);
    let mut counts: Vec<usize> = Vec::with_capacity(proportions.len());
    for proportion in proportions {
        sum += proportion;
        let next = ((sum * per_unit).round() as usize).min(size);
        counts.push(next - cut);
        cut = next;
    }
    assert_eq!(cut, size, "the running sum ends at the total");
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn dirichlet(alpha: f64) -> Distribution {
        Distribution::Dirichlet { alpha }
    }

    #[test]
    fn split_by_hand() {
        // Running sums 0.25, 0.75, 1 of 10 images: cuts at 2.5 → 3, 7.5 → 8, 10.
        assert_eq!(split_by(&[0.5, 1.0, 0.5], 10), [3, 5, 2]);
        assert_eq!(split_by(&[0.0, 1.0, 0.0], 7), [0, 7, 0]);
    }

    #[test]
    fn proportions_have_the_moments_of_a_dirichlet() {
        // Of K clients, a proportion has mean 1/K and variance (K − 1) / (K² (Kα + 1)).
        for alpha in [0.1, 0.5, 1.0, 10.0] {
            let (num_draws, mut rng) = (20_000, ChaCha8Rng::seed_from_u64(1));
            let firsts: Vec<f64> = (0..num_draws)
                .map(|_| dirichlet(alpha).draw(4, &mut rng))
                .map(|draw| draw[0] / draw.iter().sum::<f64>())
                .collect();
            let mean = firsts.iter().sum::<f64>() / f64::from(num_draws);
            let variance = firsts.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / f64::from(num_draws);
            let expected = 3.0 / (16.0 * (4.0 * alpha + 1.0));
            // 5 standard errors: sd / √n of the mean, and the relative one of a variance is below 1.2 √(2 / n).
            assert!((mean - 0.25).abs() < 5.0 * (expected / f64::from(num_draws)).sqrt(), "alpha {alpha}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.06, "alpha {alpha}: variance {variance}, not {expected}");
        }
    }

    #[test]
    fn extreme_alphas_give_proportions() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for alpha in [f64::MIN_POSITIVE, 5e-324, 1e-100, 1e-3, 1e3, 1e300, f64::MAX] {
            let draw = dirichlet(alpha).draw(8, &mut rng);
            assert!(draw.iter().all(|p| (0.0..=1.0).contains(p)) && draw.contains(&1.0), "alpha {alpha:?}: {draw:?}");
        }
    }

    #[test]
    fn tiny_alpha_puts_each_class_on_one_client_chosen_at_random() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let winners: Vec<usize> = (0..40)
            .map(|_| split_by(&dirichlet(1e-300).draw(4, &mut rng), 100))
            .map(|counts| counts.iter().position(|&count| count == 100).expect("one client holds the class"))
            .collect();
        assert!((0..4).all(|client| winners.contains(&client)), "{winners:?}");
    }

    #[test]
    fn log_normal_proportions_have_logarithms_of_deviation_sigma() {
        let (num, mut rng) = (20_000, ChaCha8Rng::seed_from_u64(4));
        for sigma in [0.0, 0.3, 2.0] {
            let logs: Vec<f64> = Distribution::LogNormal { sigma }.draw(num, &mut rng).iter().map(|p| p.ln()).collect();
            let mean = logs.iter().sum::<f64>() / num as f64;
            let deviation = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / num as f64).sqrt();
            // 5 standard errors of a deviation: σ / √(2 n) each.
            assert!((deviation - sigma).abs() <= 5.0 * sigma / (2.0 * num as f64).sqrt(), "{deviation} is not {sigma}");
        }
    }

    #[test]
    fn an_extreme_sigma_gives_proportions() {
        let draw = Distribution::LogNormal { sigma: f64::MAX }.draw(8, &mut ChaCha8Rng::seed_from_u64(5));
        assert!(draw.iter().all(|p| (0.0..=1.0).contains(p)) && draw.contains(&1.0), "{draw:?}");
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = dirichlet(alpha).check().unwrap_err().to_string();
            assert_eq!(message, format!("partition.alpha = {alpha:?} must be above 0 and finite"));
        }
        for sigma in [-0.1, f64::NAN, f64::INFINITY] {
            let message = Distribution::LogNormal { sigma }.check().unwrap_err().to_string();
            assert_eq!(message, format!("partition.sigma = {sigma:?} must be at least 0 and finite"));
        }
    }
}
