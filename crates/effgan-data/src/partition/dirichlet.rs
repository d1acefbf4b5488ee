//! Each class is split over the clients by Dirichlet proportions (Hsu et al. 2019, arXiv:1909.06335).
//!
//! As in Yurochkin et al. 2019 (arXiv:1905.12022) the proportions are drawn per class, over clients, so that clients differ
//! in size as well as in mix: with α → 0 a class lies on one client, with α → ∞ every client gets an even share of each.

use super::{Shares, images_by_class};
use crate::{ClientName, DataError};
use rand::{Rng, RngExt, distr::Open01, seq::SliceRandom};
use rand_distr::Gamma;
use serde::{Deserialize, Serialize};

/// How often proportions are drawn before a partition with `min_examples` is given up.
const MAX_DRAWS: usize = 100;

/// `kind = "dirichlet"`: for each class, proportions over clients ~ Dirichlet(α), drawn anew until nobody is too small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dirichlet {
    /// Concentration α, finite and > 0; small is heterogeneous. Common values are 0.1 to 1.
    pub alpha: f64,
    /// The keys that each kind has.
    #[serde(flatten)]
    pub shares: Shares,
}

impl Dirichlet {
    /// Checks what can be checked without images.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let Self { alpha, .. } = *self;
        if alpha.is_finite() && alpha > 0.0 { Ok(()) } else { Err(DataError::Alpha { alpha }) }
    }

    /// The images of each client, of whom each has `min_examples` to train on.
    ///
    /// # Errors
    /// [`DataError::TooFewAfterDraws`] when no draw gives everyone enough.
    pub(super) fn deal<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Result<Vec<Vec<u32>>, DataError> {
        let mut classes = images_by_class((0..).take(labels.len()), labels);
        classes.retain(|images| !images.is_empty());
        let class_sizes: Vec<usize> = classes.iter().map(Vec::len).collect();
        let counts = self.draw_counts(&class_sizes, rng)?;
        let mut dealt = vec![Vec::new(); self.shares.clients];
        for (images, counts) in classes.iter_mut().zip(&counts) {
            images.shuffle(rng);
            let mut rest = images.as_slice();
            for (client, &count) in dealt.iter_mut().zip(counts) {
                client.extend_from_slice(rest.split_off(..count).expect("the counts of a class sum to its size"));
            }
        }
        Ok(dealt)
    }

    /// Images of each class, by client, from the first draw in which each client has enough.
    fn draw_counts<R: Rng + ?Sized>(&self, class_sizes: &[usize], rng: &mut R) -> Result<Vec<Vec<usize>>, DataError> {
        let Shares { clients, min_examples, .. } = self.shares;
        let mut best = None;
        for _ in 0..MAX_DRAWS {
            let counts: Vec<Vec<usize>> =
                class_sizes.iter().map(|&size| split_by(&self.draw_proportions(rng), size)).collect();
            let smallest = self.smallest_client(&counts);
            if smallest.0 >= min_examples {
                return Ok(counts);
            }
            best = best.max(Some(smallest));
        }
        let (num_train, client) = best.expect("MAX_DRAWS is not 0");
        let (draws, alpha, name) = (MAX_DRAWS, self.alpha, ClientName::simulated(client, clients));
        Err(DataError::TooFewAfterDraws { draws, name, num_train, min_examples, alpha, clients })
    }

    /// The client with the fewest images to train on, as (images, client).
    fn smallest_client(&self, counts: &[Vec<usize>]) -> (usize, usize) {
        let num_train = |client: usize| self.shares.num_train(counts.iter().map(|class| class[client]).sum());
        (0..self.shares.clients).map(|client| (num_train(client), client)).min().expect("there is a client")
    }

    /// One draw of Dirichlet(α) over the clients, up to a common factor: each in [0, 1], the largest 1.
    ///
    /// Proportions are Gamma(α) draws, which underflow to 0 all together when α is small. So this takes logarithms, by
    /// Gamma(α) = Gamma(α + 1) · U^(1/α), and multiplies them by min(α, 1) until the largest is subtracted, as ln U / α can
    /// overflow too.
    fn draw_proportions<R: Rng + ?Sized>(&self, rng: &mut R) -> Vec<f64> {
        let scale = self.alpha.min(1.0);
        let gamma = Gamma::new(self.alpha + 1.0, 1.0).expect("alpha is finite and above 0");
        let scaled_log = |_| {
            let (boosted, u): (f64, f64) = (rng.sample(gamma), rng.sample(Open01));
            scale * boosted.ln() + scale / self.alpha * u.ln()
        };
        let logs: Vec<f64> = (0..self.shares.clients).map(scaled_log).collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logs.iter().map(|log| ((log - largest) / scale).exp()).collect()
    }
}

/// `size` images split in proportion to `proportions`, whose sum is above 0, by rounding their running sum: exact in all.
fn split_by(proportions: &[f64], size: usize) -> Vec<usize> {
    let per_unit = size as f64 / proportions.iter().sum::<f64>();
    let (mut sum, mut cut) = (0.0, 0);
    let mut counts: Vec<usize> = Vec::with_capacity(proportions.len());
    for proportion in proportions {
        sum += proportion;
        let next = ((sum * per_unit).round() as usize).min(size);
        counts.push(next - cut);
        cut = next;
    }
    assert_eq!(cut, size, "the running sum ends at the sum, so its cut is the whole class");
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn dirichlet(alpha: f64, clients: usize) -> Dirichlet {
        Dirichlet { alpha, shares: Shares::of(clients) }
    }

    fn labels(num_images: usize) -> Vec<u8> {
        (0..num_images).map(|i| (i % 10) as u8).collect()
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
                .map(|_| dirichlet(alpha, 4).draw_proportions(&mut rng))
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
            let draw = dirichlet(alpha, 8).draw_proportions(&mut rng);
            assert!(draw.iter().all(|p| (0.0..=1.0).contains(p)) && draw.contains(&1.0), "alpha {alpha:?}: {draw:?}");
        }
    }

    #[test]
    fn tiny_alpha_puts_each_class_on_one_client_chosen_at_random() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let winners: Vec<usize> = (0..40)
            .map(|_| split_by(&dirichlet(1e-300, 4).draw_proportions(&mut rng), 100))
            .map(|counts| counts.iter().position(|&count| count == 100).expect("one client holds the class"))
            .collect();
        assert!((0..4).all(|client| winners.contains(&client)), "{winners:?}");
    }

    #[test]
    fn huge_alpha_is_an_even_deal() {
        let dealt = dirichlet(1e12, 4).deal(&labels(400), &mut ChaCha8Rng::seed_from_u64(4)).unwrap();
        assert!(dealt.iter().all(|client| client.len() == 100));
    }

    #[test]
    fn too_few_after_all_draws_names_the_best_draw() {
        let error = dirichlet(0.01, 50).deal(&labels(2000), &mut ChaCha8Rng::seed_from_u64(5)).unwrap_err().to_string();
        assert!(error.starts_with("after 100 draws client-00"), "{error}");
        let end = "fewer than min_examples = 16, with alpha = 0.01 and 50 clients; \
                   raise alpha or lower clients or min_examples";
        assert!(error.contains("got 0 images at best, ") && error.ends_with(end), "{error}");
    }

    #[test]
    fn alpha_must_be_finite_and_positive() {
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = dirichlet(alpha, 2).check().unwrap_err().to_string();
            assert_eq!(message, format!("partition.alpha = {alpha:?} is not a finite number above 0"));
        }
    }
}
