//! Clients that differ in their mix of classes and in their number of images (`FedDyn`, Acar et al. 2021, arXiv:2111.04263).
//!
//! As in the paper's code, sizes are log-normal, and each client has a mix of classes ~ Dirichlet(α), as in Hsu et al. 2019
//! (arXiv:1909.06335). Images are then assigned one by one, each to a client with room left, from a class that is drawn by its
//! mix. A class that has run out is skipped. Sizes are therefore exact, and mixes are as close as the available images allow.

use super::{CommonKeys, Distribution, images_by_class};
use crate::DataError;
use rand::{Rng, RngExt, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// `kind = "label-quantity"`: log-normal sizes, and a mix of classes ~ Dirichlet(α) for each client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelQuantity {
    /// Concentration α of each client's mix of classes, finite and > 0; small is heterogeneous.
    pub alpha: f64,
    /// Standard deviation σ of the logarithms of the sizes, finite and ≥ 0; 0 is even.
    pub sigma: f64,
    /// The keys that all kinds share.
    #[serde(flatten)]
    pub common: CommonKeys,
}

impl LabelQuantity {
    /// Checks everything that can be checked without images.
    pub(super) fn check(&self) -> Result<(), DataError> {
        self.mixes().check()?;
        self.sizes().check()
    }

    /// Assigns images to clients, at least `min_examples` training images to each.
    ///
    /// # Errors
    /// [`DataError::TooFewAfterDraws`] when no draw gives every client enough images.
    pub(super) fn assign<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Result<Vec<Vec<u32>>, DataError> {
        let mut classes = images_by_class((0..).take(labels.len()), labels);
        classes.retain(|images| !images.is_empty());
        for images in &mut classes {
            images.shuffle(rng);
        }
        let sizes = self.sizes().draw_sizes(&self.common, labels.len(), rng)?;
        let mixes: Vec<Vec<f64>> = sizes.iter().map(|_| self.mixes().draw(classes.len(), rng)).collect();
        let mut assigned = vec![Vec::new(); sizes.len()];
        for client in turns(&sizes, rng) {
            let class = draw_class(&mixes[client], &classes, rng);
            assigned[client].extend(classes[class].pop());
        }
        Ok(assigned)
    }

    fn mixes(&self) -> Distribution {
        Distribution::Dirichlet { alpha: self.alpha }
    }

    fn sizes(&self) -> Distribution {
        Distribution::LogNormal { sigma: self.sigma }
    }
}

/// The order in which clients are assigned an image: each client as often as its size, shuffled.
fn turns<R: Rng + ?Sized>(sizes: &[usize], rng: &mut R) -> Vec<usize> {
    let mut turns: Vec<usize> =
        sizes.iter().enumerate().flat_map(|(client, &size)| std::iter::repeat_n(client, size)).collect();
    turns.shuffle(rng);
    turns
}

/// Draws a class with images left: by the mix or, where the mix has none of these classes, by the numbers of images left.
fn draw_class<R: Rng + ?Sized>(mix: &[f64], classes: &[Vec<u32>], rng: &mut R) -> usize {
    let left = || classes.iter().map(Vec::len);
    let mut weights: Vec<f64> = mix.iter().zip(left()).map(|(&share, n)| if n > 0 { share } else { 0.0 }).collect();
    if weights.iter().sum::<f64>() <= 0.0 {
        weights = left().map(|n| n as f64).collect();
    }
    let mut point = rng.random::<f64>() * weights.iter().sum::<f64>();
    let passes = |&class: &usize| {
        point -= weights[class];
        point < 0.0
    };
    // Rounding may leave the point beyond the end; then it is the last class with a positive weight.
    let last = weights.iter().rposition(|&weight| weight > 0.0).expect("an image is left for each turn");
    (0..weights.len()).find(passes).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn assign(alpha: f64, sigma: f64, clients: usize, num_images: usize) -> Vec<Vec<u32>> {
        let common = CommonKeys { min_examples: 1, ..CommonKeys::of(clients) };
        let labels: Vec<u8> = (0..num_images).map(|i| (i % 10) as u8).collect();
        LabelQuantity { alpha, sigma, common }.assign(&labels, &mut ChaCha8Rng::seed_from_u64(11)).unwrap()
    }

    fn most_of_one_class(images: &[u32]) -> f64 {
        let count = |class| images.iter().filter(|&&image| image % 10 == class).count();
        (0..10).map(count).max().unwrap() as f64 / images.len() as f64
    }

    #[test]
    fn sizes_are_log_normal_whatever_the_mixes() {
        for alpha in [0.01, 100.0] {
            let logs: Vec<f64> =
                assign(alpha, 0.5, 400, 40_000).iter().map(|images| (images.len() as f64).ln()).collect();
            let mean = logs.iter().sum::<f64>() / 400.0;
            let deviation = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 400.0).sqrt();
            // 5 standard errors, σ / √(2 · 400) each, and whole images of about 100.
            assert!((deviation - 0.5).abs() < 5.0 * 0.5 / 800_f64.sqrt() + 0.01, "alpha {alpha}: {deviation}");
        }
    }

    #[test]
    fn small_alpha_gives_clients_one_class_and_large_alpha_all() {
        let mean = |alpha| {
            let assigned = assign(alpha, 0.0, 20, 4000);
            assert!(assigned.iter().all(|images| images.len() == 200));
            assigned.iter().map(|images| most_of_one_class(images)).sum::<f64>() / 20.0
        };
        // At α = 0.01 a mix is one class, but 20 clients of 200 images do not use ten classes of 400 images evenly.
        assert!(mean(0.01) > 0.6, "{}", mean(0.01));
        // At α → ∞ a client of 200 images has 20 of each class, and the most frequent of ten has about 27 by chance.
        assert!(mean(1e6) < 0.18, "{}", mean(1e6));
    }

    #[test]
    fn a_mix_of_classes_that_have_run_out_takes_the_others() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(draw_class(&[1.0, 0.0, 0.0], &[vec![], vec![], vec![5]], &mut rng), 2);
        assert_eq!(draw_class(&[1.0, 0.5, 0.0], &[vec![], vec![3], vec![5]], &mut rng), 1);
    }
}
