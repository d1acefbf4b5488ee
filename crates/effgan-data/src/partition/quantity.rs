//! Clients that differ only in their number of images.
//!
//! Sizes are log-normal (`FedDyn`, Acar et al. 2021, arXiv:2111.04263; `FedProx`, Li et al. 2020, arXiv:1812.06127, for
//! its synthetic data) or Dirichlet (the quantity skew q ~ Dir(β) of Li, Diao, Chen and He 2022, arXiv:2102.02079).

use super::{CommonKeys, Distribution};
use crate::DataError;
use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// `kind = "quantity"`: random sizes, redrawn until no client is too small; each client's images are a random sample of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    /// Log-normal sizes: standard deviation σ of their logarithms, finite and ≥ 0; 0 is even. Set either this or `alpha`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// Dirichlet sizes: concentration α, finite and > 0; small is uneven. Set either this or `sigma`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The keys that all kinds share.
    #[serde(flatten)]
    pub common: CommonKeys,
}

impl Quantity {
    /// Checks everything that can be checked without images.
    pub(super) fn check(&self) -> Result<(), DataError> {
        self.distribution()?.check()
    }

    /// Assigns images to clients, at least `min_examples` training images to each.
    ///
    /// # Errors
    /// [`DataError::TooFewAfterDraws`] when no draw gives every client enough images.
    pub(super) fn assign<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Result<Vec<Vec<u32>>, DataError> {
        let sizes = self.distribution()?.draw_sizes(&self.common, labels.len(), rng)?;
        let mut images: Vec<u32> = (0..).take(labels.len()).collect();
        images.shuffle(rng);
        let mut rest = images.as_slice();
        let mut take = |&size: &usize| rest.split_off(..size).expect("sizes sum to the number of images").to_vec();
        Ok(sizes.iter().map(&mut take).collect())
    }

    fn distribution(&self) -> Result<Distribution, DataError> {
        match (self.sigma, self.alpha) {
            (Some(sigma), None) => Ok(Distribution::LogNormal { sigma }),
            (None, Some(alpha)) => Ok(Distribution::Dirichlet { alpha }),
            (None, None) => Err(DataError::OneDistribution { got: "neither" }),
            (Some(_), Some(_)) => Err(DataError::OneDistribution { got: "both" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn sizes(sigma: Option<f64>, alpha: Option<f64>, clients: usize, num_images: usize) -> Vec<f64> {
        let common = CommonKeys { min_examples: 1, ..CommonKeys::of(clients) };
        let labels = vec![0; num_images];
        let assigned = Quantity { sigma, alpha, common }.assign(&labels, &mut ChaCha8Rng::seed_from_u64(7)).unwrap();
        assigned.iter().map(|images| images.len() as f64).collect()
    }

    fn deviation(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn log_normal_sizes_have_logarithms_of_deviation_sigma() {
        let logs: Vec<f64> = sizes(Some(0.5), None, 1000, 1_000_000).iter().map(|size| size.ln()).collect();
        // 5 standard errors, σ / √(2 · 1000) each; whole images of about 1000 change a logarithm by less than 0.003.
        assert!((deviation(&logs) - 0.5).abs() < 5.0 * 0.5 / 2000_f64.sqrt() + 0.003, "{}", deviation(&logs));
    }

    #[test]
    fn dirichlet_sizes_have_the_deviation_of_a_dirichlet() {
        // A proportion of K has variance (K − 1) / (K² (K α + 1)): relative deviation √((K − 1) / (K α + 1)), here
        // √(999 / 2001).
        let sizes = sizes(None, Some(2.0), 1000, 1_000_000);
        let relative = deviation(&sizes) / 1000.0;
        // The sample deviation of 1000 Gamma(2) draws has a relative standard error of √((κ − 1) / 4n), κ = 6: 3.5 %;
        // five of them.
        assert!((relative / (999.0_f64 / 2001.0).sqrt() - 1.0).abs() < 0.18, "{relative}");
    }

    #[test]
    fn a_sigma_of_zero_is_an_even_split() {
        assert!(sizes(Some(0.0), None, 8, 400).iter().all(|&size| size == 50.0));
    }

    #[test]
    fn images_are_shuffled_before_they_are_assigned() {
        let quantity = Quantity { sigma: Some(0.0), alpha: None, common: CommonKeys::of(1) };
        assert!(!quantity.assign(&[0; 100], &mut ChaCha8Rng::seed_from_u64(0)).unwrap()[0].is_sorted());
    }

    #[test]
    fn exactly_one_distribution_must_be_set() {
        for (sigma, alpha, got) in [(None, None, "neither"), (Some(1.0), Some(1.0), "both")] {
            let message = Quantity { sigma, alpha, common: CommonKeys::of(2) }.check().unwrap_err().to_string();
            let expected = r#"partition of kind "quantity" needs sigma (log-normal sizes) or alpha (Dirichlet sizes), and not both; got "#;
            assert_eq!(message, format!("{expected}{got}"));
        }
    }

    #[test]
    fn a_client_that_stays_too_small_is_named_with_the_remedy() {
        let quantity = Quantity { sigma: Some(50.0), alpha: None, common: CommonKeys::of(20) };
        let message = quantity.assign(&[0; 1000], &mut ChaCha8Rng::seed_from_u64(0)).unwrap_err().to_string();
        assert!(
            message.ends_with("with sigma = 50.0 and 20 clients; lower sigma or lower clients or min_examples"),
            "{message}"
        );
    }
}
