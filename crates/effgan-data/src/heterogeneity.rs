//! How far a partition is from an even split, in one number.

/// Mean total variation distance between a client's class shares and those of all clients together, in 0..1.
///
/// Clients are weighted by n_k, their number of training images, and only training images count. The distance of shares p and q
/// is ½ Σ |p − q|: the fraction of a client's images that would have to change class for its mix to equal the overall one.
/// 0 is an even split; k classes of equal size with one client each give 1 − 1/k.
///
/// `counts` are training images by client and class, as [`class_counts`](crate::Partition::class_counts) gives them.
///
/// # Panics
/// When the clients do not all have the same number of classes.
pub fn label_skew(counts: &[Vec<u64>]) -> f64 {
    let classes = counts.first().map_or(0, Vec::len);
    let overall: Vec<u64> = (0..classes).map(|class| counts.iter().map(|row| row[class]).sum()).collect();
    let overall_sum: u64 = overall.iter().sum();
    // Each client's distance times its n_k, so that the mean needs no division by the n_k of an empty client.
    let moved: f64 = counts
        .iter()
        .map(|row| {
            let share = row.iter().sum::<u64>() as f64 / overall_sum.max(1) as f64;
            row.iter().zip(&overall).map(|(&n, &all)| (n as f64 - share * all as f64).abs()).sum::<f64>() / 2.0
        })
        .sum();
    moved / overall_sum.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The skew of clients with these training labels, of 3 classes.
    fn skew(clients: &[&[u8]]) -> f64 {
        let count = |labels: &&[u8]| {
            let mut counts = vec![0; 3];
            labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
            counts
        };
        label_skew(&clients.iter().map(count).collect::<Vec<_>>())
    }

    /// Sums of a few small fractions, in f64.
    fn assert_close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
    }

    #[test]
    fn equal_mixes_have_no_skew_whatever_their_sizes() {
        assert_close(skew(&[&[0, 1, 2], &[0, 0, 1, 1, 2, 2]]), 0.0);
        assert_close(skew(&[&[0, 0, 1, 2]]), 0.0);
    }

    #[test]
    fn one_class_each_is_one_minus_one_over_k() {
        assert_close(skew(&[&[0, 0], &[1, 1], &[2, 2]]), 1.0 - 1.0 / 3.0);
    }

    #[test]
    fn the_mean_weights_clients_by_their_images() {
        // Overall shares 3/4 and 1/4. Client 0 (3 images): |1 − 3/4| = 1/4; client 1 (1 image): 3/4. (3·1/4 + 1·3/4) / 4.
        assert_close(skew(&[&[0, 0, 0], &[1]]), 3.0 / 8.0);
    }

    #[test]
    fn clients_without_images_have_no_skew() {
        assert_close(skew(&[&[], &[]]), 0.0);
    }
}
