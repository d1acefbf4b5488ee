//! Holding out images of a client, stratified by class, so that both parts have the same mix of classes.

use super::images_by_class;
use rand::{Rng, seq::SliceRandom};
use std::cmp::Reverse;

/// Splits one client's `images` into (train, held out) with `num_held_out` of them held out, both sorted.
///
/// Each class contributes its share of the held-out images, rounded down or up; the images are drawn by `rng`.
pub(super) fn hold_out<R: Rng + ?Sized>(
    images: &[u32],
    labels: &[u8],
    num_held_out: usize,
    rng: &mut R,
) -> (Vec<u32>, Vec<u32>) {
    let mut classes = images_by_class(images.iter().copied(), labels);
    let sizes: Vec<usize> = classes.iter().map(Vec::len).collect();
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (class, quota) in classes.iter_mut().zip(quotas(&sizes, num_held_out, rng)) {
        class.shuffle(rng);
        held_out.extend_from_slice(&class[..quota]);
        train.extend_from_slice(&class[quota..]);
    }
    train.sort_unstable();
    held_out.sort_unstable();
    (train, held_out)
}

/// Splits `total` in proportion to `sizes` by the largest-remainder method; ties are broken at random.
fn quotas<R: Rng + ?Sized>(sizes: &[usize], total: usize, rng: &mut R) -> Vec<usize> {
    let sum = sizes.iter().sum::<usize>().max(1);
    let mut quotas: Vec<usize> = sizes.iter().map(|size| size * total / sum).collect();
    let left = total - quotas.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.shuffle(rng);
    order.sort_by_key(|&class| Reverse(sizes[class] * total % sum));
    for &class in &order[..left] {
        quotas[class] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn quotas_by_hand() {
        // 7 of 20: common 3.5, 2.8 and 0.7, rounded down 3, 2, 0; the two left go to the remainders 0.8 and 0.7.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(quotas(&[10, 8, 2], 7, &mut rng), [3, 3, 1]);
        assert_eq!(quotas(&[0, 0], 0, &mut rng), [0, 0]);
    }

    #[test]
    fn many_small_classes_still_hold_out_their_share() {
        // Rounding each class of 4 alone would hold out none of 40.
        let labels: Vec<u8> = (0..40).map(|i| i / 4).collect();
        let images: Vec<u32> = (0..40).collect();
        let (train, held_out) = hold_out(&images, &labels, 4, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!((train.len(), held_out.len()), (36, 4));
        assert!(train.is_sorted() && held_out.is_sorted());
    }
}
