//! Weights of which none exceeds a given share of their sum.

/// `min(w, c)` for each w of `weights` (≥ 0), with the c for which the largest result is `max_share` of the sum of all; the
/// weights themselves when none exceeds that share. With fewer than 1 / `max_share` positive weights there is no such c: all
/// become the smallest one.
pub(crate) fn capped(weights: &[f64], max_share: f64) -> Vec<f64> {
    let mut sorted: Vec<f64> = weights.iter().copied().filter(|&weight| weight > 0.0).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    for largest in 0..sorted.len() {
        // c = max_share · (largest · c + the sum of the others).
        let rest = 1.0 - max_share * largest as f64;
        let cap = max_share * sorted[largest..].iter().sum::<f64>() / rest;
        // 1e-12: shares such as 1/3 are rounded.
        if rest > 0.0 && sorted[largest] <= cap * (1.0 + 1e-12) {
            return if largest == 0 { weights.to_vec() } else { weights.iter().map(|w| w.min(cap)).collect() };
        }
    }
    let smallest = sorted.last().copied().unwrap_or_default();
    weights.iter().map(|weight| weight.min(smallest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_weight_is_lowered_by_hand() {
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
    fn too_few_weights_become_equal_and_a_weight_of_zero_stays_zero() {
        assert_eq!(capped(&[9.0, 0.0, 4.0], 0.3), [4.0, 0.0, 4.0]);
    }
}
