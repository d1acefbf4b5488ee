//! An even split: every client's images are a random sample of all images (`McMahan` et al. 2017, arXiv:1602.05629).

use super::{CommonKeys, even_parts};
use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// `kind = "iid"`: all images are shuffled and cut into one part per client; sizes differ by at most one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iid {
    /// The keys that all kinds share.
    #[serde(flatten)]
    pub common: CommonKeys,
}

impl Iid {
    /// Assigns images to clients.
    pub(super) fn assign<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Vec<Vec<u32>> {
        let mut images: Vec<u32> = (0..).take(labels.len()).collect();
        images.shuffle(rng);
        even_parts(&images, self.common.clients).map(<[u32]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn sizes_differ_by_at_most_one() {
        let assigned = Iid { common: CommonKeys::of(4) }.assign(&[0; 10], &mut ChaCha8Rng::seed_from_u64(0));
        let mut sizes: Vec<usize> = assigned.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [2, 2, 3, 3]);
    }

    #[test]
    fn images_are_shuffled_before_the_cut() {
        let assigned = Iid { common: CommonKeys::of(1) }.assign(&[0; 100], &mut ChaCha8Rng::seed_from_u64(0));
        assert!(!assigned[0].is_sorted());
    }
}
