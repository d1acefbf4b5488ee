//! Each class is split over the clients by Dirichlet proportions (Hsu et al. 2019, arXiv:1909.06335).
//!
//! As in Yurochkin et al. 2019 (arXiv:1905.12022), the proportions are drawn per class, over the clients, so that clients differ
//! in size as well as in their mix of classes: with α → 0 each class is on one client, with α → ∞ every client gets an even share
//! of each class.

use super::{
    CommonKeys,
    distribution::{Distribution, MAX_DRAWS, split_by},
    images_by_class,
};
use crate::DataError;
use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// `kind = "dirichlet"`: for each class, proportions over clients ~ Dirichlet(α), redrawn until no client is too small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dirichlet {
    /// Concentration α, finite and > 0; small is heterogeneous. Common values are 0.1 to 1.
    pub alpha: f64,
    /// The keys that all kinds share.
    #[serde(flatten)]
    pub common: CommonKeys,
}

impl Dirichlet {
    /// Checks everything that can be checked without images.
    pub(super) fn check(&self) -> Result<(), DataError> {
        self.distribution().check()
    }

    fn distribution(&self) -> Distribution {
        Distribution::Dirichlet { alpha: self.alpha }
    }

    /// Assigns images to clients, at least `min_examples` training images to each.
    ///
    /// # Errors
    /// [`DataError::TooFewAfterDraws`] when no draw gives every client enough images.
    pub(super) fn assign<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Result<Vec<Vec<u32>>, DataError> {
        let mut classes = images_by_class((0..).take(labels.len()), labels);
        classes.retain(|images| !images.is_empty());
        let class_sizes: Vec<usize> = classes.iter().map(Vec::len).collect();
        let counts = self.draw_counts(&class_sizes, rng)?;
        let mut assigned = vec![Vec::new(); self.common.clients];
        for (images, counts) in classes.iter_mut().zip(&counts) {
            images.shuffle(rng);
            let mut rest = images.as_slice();
            for (client, &count) in assigned.iter_mut().zip(counts) {
                client.extend_from_slice(rest.split_off(..count).expect("the counts of a class sum to its size"));
            }
        }
        Ok(assigned)
    }

    /// Numbers of images `[class][client]`, from the first draw in which each client has enough.
    fn draw_counts<R: Rng + ?Sized>(&self, class_sizes: &[usize], rng: &mut R) -> Result<Vec<Vec<usize>>, DataError> {
        let CommonKeys { clients, min_examples, .. } = self.common;
        let mut best = None;
        for _ in 0..MAX_DRAWS {
            let counts: Vec<Vec<usize>> =
                class_sizes.iter().map(|&size| split_by(&self.distribution().draw(clients, rng), size)).collect();
            let smallest = self.smallest_client(&counts);
            if smallest.0 >= min_examples {
                return Ok(counts);
            }
            best = best.max(Some(smallest));
        }
        let (num_train, client) = best.expect("MAX_DRAWS is not 0");
        Err(self.distribution().too_few(&self.common, num_train, client))
    }

    /// The client with the fewest training images, as (images, client).
    fn smallest_client(&self, counts: &[Vec<usize>]) -> (usize, usize) {
        let num_train = |client: usize| self.common.num_train(counts.iter().map(|class| class[client]).sum());
        (0..self.common.clients).map(|client| (num_train(client), client)).min().expect("there is a client")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn dirichlet(alpha: f64, clients: usize) -> Dirichlet {
        Dirichlet { alpha, common: CommonKeys::of(clients) }
    }

    fn labels(num_images: usize) -> Vec<u8> {
        (0..num_images).map(|i| (i % 10) as u8).collect()
    }

    #[test]
    fn a_huge_alpha_is_an_even_split() {
        let assigned = dirichlet(1e12, 4).assign(&labels(400), &mut ChaCha8Rng::seed_from_u64(4)).unwrap();
        assert!(assigned.iter().all(|client| client.len() == 100));
    }

    #[test]
    fn too_few_after_all_draws_names_the_best_draw() {
        let error =
            dirichlet(0.01, 50).assign(&labels(2000), &mut ChaCha8Rng::seed_from_u64(5)).unwrap_err().to_string();
        assert!(error.starts_with("after 100 draws client-00"), "{error}");
        let end = "fewer than min_examples = 16, with alpha = 0.01 and 50 clients; \
                   raise alpha or lower clients or min_examples";
        assert!(error.contains("got 0 images at best, ") && error.ends_with(end), "{error}");
    }
}
