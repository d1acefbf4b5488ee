//! Shards of images sorted by label, the pathological split of `McMahan` et al. 2017 (arXiv:1602.05629, section 3).
//!
//! In the paper, MNIST sorted by digit is cut into 200 shards of 300 images, and each of 100 clients gets two, so that most
//! clients have two digits, some one, and some three or four.

use super::{CommonKeys, even_parts, images_by_class};
use crate::DataError;
use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// `kind = "shards"`: images sorted by label are cut into `clients × shards_per_client` shards, which are assigned at random.
///
/// Images of one label keep the order of the data set. Shards differ in length by at most one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shards {
    /// Number of shards per client, ≥ 1; 2 in the paper. Fewer are more heterogeneous.
    pub shards_per_client: usize,
    /// The keys that all kinds share.
    #[serde(flatten)]
    pub common: CommonKeys,
}

impl Shards {
    /// Checks everything that can be checked without images.
    pub(super) fn check(&self) -> Result<(), DataError> {
        if self.shards_per_client == 0 {
            return Err(DataError::Zero { key: "partition.shards_per_client" });
        }
        Ok(())
    }

    /// Assigns images to clients.
    ///
    /// # Errors
    /// [`DataError::Shards`] when a shard would have no image.
    pub(super) fn assign<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Result<Vec<Vec<u32>>, DataError> {
        let Self { shards_per_client, common: CommonKeys { clients, .. } } = *self;
        let num_shards = clients.saturating_mul(shards_per_client);
        if num_shards > labels.len() {
            return Err(DataError::Shards { clients, shards_per_client, num_assigned: labels.len(), what: "images" });
        }
        let sorted = images_by_class((0..).take(labels.len()), labels).concat();
        let mut shards: Vec<&[u32]> = even_parts(&sorted, num_shards).collect();
        shards.shuffle(rng);
        Ok(shards.chunks(shards_per_client).map(<[&[u32]]>::concat).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeSet;

    fn assign(shards_per_client: usize, clients: usize, labels: &[u8]) -> Result<Vec<Vec<u32>>, DataError> {
        let shards = Shards { shards_per_client, common: CommonKeys::of(clients) };
        shards.assign(labels, &mut ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn the_split_of_the_paper_has_its_numbers() {
        // 60,000 images, 10 digits, 100 clients with 2 shards of 300: 20 shards a digit, none across two digits.
        let labels: Vec<u8> = (0..60_000).map(|i| (i % 10) as u8).collect();
        let assigned = assign(2, 100, &labels).unwrap();
        assert_eq!(assigned.len(), 100);
        for images in &assigned {
            let classes: BTreeSet<u32> = images.iter().map(|image| image % 10).collect();
            assert!(images.len() == 600 && (1..=2).contains(&classes.len()));
        }
        let alone = assigned.iter().filter(|images| images.iter().all(|image| image % 10 == images[0] % 10)).count();
        // The second shard has the first one's digit with chance 19/199: 9.5 clients of 100, deviation about 3.
        assert!((1..=25).contains(&alone), "{alone} clients with one digit");
    }

    #[test]
    fn a_shard_is_a_run_of_the_sorted_images() {
        // Sorted by label: 1, 3, 5, 0, 2, 4; three shards of two.
        let mut assigned = assign(1, 3, &[1, 0, 1, 0, 1, 0]).unwrap();
        assigned.sort();
        assert_eq!(assigned, [vec![1, 3], vec![2, 4], vec![5, 0]]);
    }

    #[test]
    fn shards_that_cannot_be_are_an_error() {
        for (shards_per_client, clients) in [(4, 2), (usize::MAX, 2)] {
            assert_eq!(
                assign(shards_per_client, clients, &[0; 7]).unwrap_err().to_string(),
                format!(
                    "{clients} clients with partition.shards_per_client = {shards_per_client} need at least \
                     {clients} × {shards_per_client} images, of which there are 7; lower clients or shards_per_client"
                )
            );
        }
        let error = Shards { shards_per_client: 0, common: CommonKeys::of(2) }.check().unwrap_err();
        assert_eq!(error.to_string(), "partition.shards_per_client = 0 must be at least 1");
    }
}
