//! The sampled Gaussian mechanism (Mironov, Talwar, Zhang 2019, arXiv:1908.10530), one step of DP-SGD.

use crate::bounds::{MAX_NOISE, MIN_NOISE};
use crate::error::{PrivacyError, Result};

/// One step: Poisson sampling of the records at a rate q, then the sum of what each contributes, of norm at most C, with Gaussian noise of
/// deviation σC.
///
/// A record that is added or removed changes the outcome from Q = N(0, σ²) to P = (1 − q) N(0, σ²) + q N(1, σ²), or back, in units of C
/// and along the record's own direction: no other change of one record reveals more (theorem 4 there).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledGaussian {
    noise_multiplier: f64,
    sample_rate: f64,
}

impl SampledGaussian {
    /// A step with noise of `noise_multiplier` σ times the clipping norm, from 0.05 to 10⁶, and Poisson sampling at `sample_rate` q from 0 to
    /// 1.
    ///
    /// # Errors
    /// [`PrivacyError::NoiseMultiplier`] or [`PrivacyError::SampleRate`] outside of these ranges.
    pub fn new(noise_multiplier: f64, sample_rate: f64) -> Result<Self> {
        if !(MIN_NOISE..=MAX_NOISE).contains(&noise_multiplier) {
            return Err(PrivacyError::NoiseMultiplier { value: noise_multiplier });
        }
        if !(0.0..=1.0).contains(&sample_rate) {
            return Err(PrivacyError::SampleRate { value: sample_rate });
        }
        Ok(Self { noise_multiplier, sample_rate })
    }

    /// σ, the deviation of the noise in units of the clipping norm.
    pub fn noise_multiplier(&self) -> f64 {
        self.noise_multiplier
    }

    /// q, the probability that a record takes part.
    pub fn sample_rate(&self) -> f64 {
        self.sample_rate
    }

    /// ln(P/Q) at the outcome σz, the privacy loss; it rises with z, from ln(1 − q).
    pub(crate) fn loss(&self, z: f64) -> f64 {
        let (q, sigma) = (self.sample_rate, self.noise_multiplier);
        // ln of N(1, σ²) over N(0, σ²)
        let full = z / sigma - 0.5 / (sigma * sigma);
        if q == 1.0 {
            full
        } else if full < 700.0 {
            // Keeps the digits of a loss near 0, which most steps have where q is small.
            (q * full.exp_m1()).ln_1p()
        } else {
            // e^full overflows.
            full + (q + (1.0 - q) * (-full).exp()).ln()
        }
    }

    /// The z at which the privacy loss is `loss`: −∞ where it is larger everywhere.
    pub(crate) fn z_of_loss(&self, loss: f64) -> f64 {
        let (q, sigma) = (self.sample_rate, self.noise_multiplier);
        let full = if q == 1.0 {
            loss
        } else if loss < 30.0 {
            let excess = loss.exp_m1() / q;
            if excess > -1.0 { excess.ln_1p() } else { f64::NEG_INFINITY }
        } else {
            loss + (1.0 - (1.0 - q) * (-loss).exp()).ln() - q.ln()
        };
        sigma * full + 0.5 / sigma
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_the_log_of_the_ratio_of_the_densities() {
        let step = SampledGaussian::new(1.5, 0.04).unwrap();
        for z in [-3.0_f64, 0.0, 0.4, 5.0] {
            let density = |mean: f64| (-0.5 * (z - mean / 1.5).powi(2)).exp();
            let ratio = (0.96 * density(0.0) + 0.04 * density(1.0)) / density(0.0);
            // 1e-15: rounding of a few operations on numbers below 1.
            assert!((step.loss(z) - ratio.ln()).abs() < 2e-15, "{z}");
        }
    }

    #[test]
    fn each_loss_has_its_outcome_at_every_scale() {
        for (sigma, q) in [(0.05, 1e-9), (0.3, 0.5), (1.0, 1e-5), (10.0, 1.0), (1e6, 1e-3), (1.0, 1.0 - 1e-9)] {
            let step = SampledGaussian::new(sigma, q).unwrap();
            for z in [0.1, 3.0, 8.0, 1.0 / sigma, 40.0] {
                let loss = step.loss(z);
                let found = step.z_of_loss(loss);
                let off = (step.loss(found) - loss).abs();
                // 1e-9: near ln(1 − q) many z share one f64, so the loss is compared, not z.
                assert!(off <= 1e-9 * loss.abs(), "sigma {sigma}, q {q}, z {z}: {found}");
            }
            assert!(q == 1.0 || step.z_of_loss((-q).ln_1p() * 1.01 - 1e-300) == f64::NEG_INFINITY);
        }
    }

    #[test]
    fn noise_and_rates_that_mean_nothing_are_refused() {
        let line = |sigma, q| SampledGaussian::new(sigma, q).unwrap_err().to_string();
        assert_eq!(
            line(0.0, 0.1),
            "noise multiplier 0.0 must be from 0.05 to 1000000.0; below, the noise hides no record"
        );
        assert!(line(f64::NAN, 0.1).starts_with("noise multiplier NaN must be from"));
        assert!(line(f64::INFINITY, 0.1).starts_with("noise multiplier inf must be from"));
        assert_eq!(
            line(1.0, 1.5),
            "sample rate 1.5 must be from 0 to 1; it is the expected batch over the number of records"
        );
        assert!(line(1.0, -1e-300).starts_with("sample rate -1e-300"));
        assert!(line(1.0, f64::NAN).starts_with("sample rate NaN"));
    }
}
