//! Sets of images that are outliers among other sets.

use crate::{FeatureStats, MetricError, Result};

/// The distance of each set from the others, in units of the median such distance: 1 is usual, 5 is far.
///
/// The distance of two sets is the Euclidean distance of the means and standard deviations of their features, which would be the
/// root of their Fréchet distance if the features were independent. A set's distance from the others is the lower median of its
/// distances. As long as fewer than half of the sets are bad, even if they collude, every set is measured against a good one, and
/// the unit is the distance of a good set. Among two sets or fewer, none is far.
///
/// # Errors
/// [`MetricError::FeatureDim`] when two sets have different features.
pub fn distances_from_others(sets: &[FeatureStats]) -> Result<Vec<f64>> {
    let points: Vec<Vec<f64>> = sets.iter().map(point).collect();
    if let Some(other) = sets.iter().find(|set| set.dim() != sets[0].dim()) {
        return Err(MetricError::FeatureDim { real: sets[0].dim(), fake: other.dim() });
    }
    let from_others = |(i, a): (usize, &Vec<f64>)| {
        let others = points.iter().enumerate().filter(|(j, _)| *j != i);
        lower_median(others.map(|(_, b)| distance(a, b)).collect())
    };
    let distances: Vec<f64> = points.iter().enumerate().map(from_others).collect();
    let unit = lower_median(distances.clone());
    Ok(distances.into_iter().map(|distance| if unit > 0.0 { distance / unit } else { 0.0 }).collect())
}

/// Means and standard deviations of the features.
fn point(set: &FeatureStats) -> Vec<f64> {
    let variances = set.cov.iter().step_by(set.dim() + 1);
    set.mean.iter().copied().chain(variances.map(|variance| variance.max(0.0).sqrt())).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// The median, the lower one of two; 0 when there are no values.
fn lower_median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set with this mean and variance of its one feature.
    fn set(mean: f64, variance: f64) -> FeatureStats {
        FeatureStats { n: 100, mean: vec![mean], cov: vec![variance] }
    }

    fn on_a_line(means: &[f64]) -> Vec<f64> {
        distances_from_others(&means.iter().map(|&mean| set(mean, 1.0)).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn five_sets_on_a_line_by_hand() {
        // Each one's second smallest of four distances: 2, 1, 1, 2, 18; the third smallest of these is 2.
        assert_eq!(on_a_line(&[0.0, 1.0, 2.0, 3.0, 20.0]), [1.0, 0.5, 0.5, 1.0, 9.0]);
    }

    #[test]
    fn a_set_with_another_spread_is_as_far_as_one_with_another_mean() {
        let sets = [set(0.0, 1.0), set(1.0, 1.0), set(2.0, 1.0), set(1.0, 100.0)];
        // The medians of three distances are 2, 1, 2 and √(9² + 1²), a deviation of 10 being 9 more than one of 1; the
        // second smallest of these is 2.
        assert_eq!(distances_from_others(&sets).unwrap(), [1.0, 0.5, 1.0, 82.0_f64.sqrt() / 2.0]);
    }

    #[test]
    fn a_minority_that_lies_together_is_far_and_the_others_are_not() {
        for bad in 1..5 {
            let means: Vec<f64> = (0..9).map(|i| if i < bad { 1000.0 } else { f64::from(i) }).collect();
            let distances = on_a_line(&means);
            let (far, near) = distances.split_at(bad as usize);
            assert!(far.iter().all(|&far| far > 100.0) && near.iter().all(|&near| near <= 2.0), "{distances:?}");
        }
    }

    #[test]
    fn no_set_is_far_among_two_or_among_equal_ones() {
        assert_eq!(on_a_line(&[0.0, 9.0]), [1.0, 1.0]);
        assert_eq!(on_a_line(&[0.0, 0.0, 0.0, 9.0]), [0.0; 4]);
        assert_eq!((on_a_line(&[3.0]), on_a_line(&[])), (vec![0.0], vec![]));
    }

    #[test]
    fn sets_of_different_features_are_refused() {
        let wide = FeatureStats { n: 2, mean: vec![0.0; 2], cov: vec![0.0; 4] };
        let error = distances_from_others(&[set(0.0, 1.0), wide]).unwrap_err();
        assert_eq!(error, MetricError::FeatureDim { real: 1, fake: 2 });
    }
}
