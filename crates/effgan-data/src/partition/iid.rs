//! An even deal: every client's images are a random sample of all (`McMahan` et al. 2017, arXiv:1602.05629).

use super::{Shares, even_parts};
use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// `kind = "iid"`: all images shuffled and cut into as many parts as clients, whose sizes differ by at most one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iid {
    /// The keys that each kind has.
    #[serde(flatten)]
    pub shares: Shares,
}

impl Iid {
    /// The images of each client.
    pub(super) fn deal<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Vec<Vec<u32>> {
        let mut images: Vec<u32> = (0..).take(labels.len()).collect();
        images.shuffle(rng);
        even_parts(&images, self.shares.clients).map(<[u32]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn sizes_differ_by_at_most_one() {
        let dealt = Iid { shares: Shares::of(4) }.deal(&[0; 10], &mut ChaCha8Rng::seed_from_u64(0));
        let mut sizes: Vec<usize> = dealt.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [2, 2, 3, 3]);
    }

    #[test]
    fn images_are_shuffled_before_the_cut() {
        let dealt = Iid { shares: Shares::of(1) }.deal(&[0; 100], &mut ChaCha8Rng::seed_from_u64(0));
        assert!(!dealt[0].is_sorted());
    }
}
