//! Capping what one member draws of all samples.

/// `min(w, c)` for each of `weights` (≥ 0), with the c for which the largest is `max_share` of their sum; the weights
/// themselves where none is more. Fewer than 1 / `max_share` positive weights cannot be so: they all become the least.
pub(crate) fn capped(weights: &[f64], max_share: f64) -> Vec<f64> {
    let mut sorted: Vec<f64> = weights.iter().copied().filter(|&weight| weight > 0.0).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    for largest in 0..sorted.len() {
        // c = max_share · (largest · c + the sum of the others).
        let left = 1.0 - max_share * largest as f64;
        let cap = max_share * sorted[largest..].iter().sum::<f64>() / left;
        // 1e-12: shares such as a third of three are rounded.
        if left > 0.0 && sorted[largest] <= cap * (1.0 + 1e-12) {
            return if largest == 0 { weights.to_vec() } else { weights.iter().map(|w| w.min(cap)).collect() };
        }
    }
    let least = sorted.last().copied().unwrap_or_default();
    weights.iter().map(|weight| weight.min(least)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_lowered_by_hand() {
        // c = 1/2 · (c + 30), so c = 30.
        assert_eq!(capped(&[10.0, 70.0, 20.0], 0.5), [10.0, 30.0, 20.0]);
        // c = 1/4 · (2 c + 20), so c = 10.
        assert_eq!(capped(&[50.0, 10.0, 20.0, 5.0, 5.0], 0.25), [10.0, 10.0, 10.0, 5.0, 5.0]);
        assert_eq!(capped(&[10.0, 70.0, 20.0], 0.7), [10.0, 70.0, 20.0]);
    }

    #[test]
    fn a_share_that_only_equal_weights_have_makes_them_equal() {
        for n in 1..50 {
            let weights: Vec<f64> = (1..=n).map(f64::from).collect();
            let capped = capped(&weights, 1.0 / f64::from(n));
            // 1e-9: f64 rounding of 1 − (n − 1) / n.
            assert!(capped.iter().all(|weight| (weight - 1.0).abs() < 1e-9), "{capped:?}");
        }
    }

    #[test]
    fn too_few_members_become_equal_and_one_without_weight_stays_without() {
        assert_eq!(capped(&[9.0, 0.0, 4.0], 0.3), [4.0, 0.0, 4.0]);
    }
}
