//! Memorisation: whether samples are nearer to the training images than unseen real images are.
//!
//! Distances to the nearest training image, of samples and of held-out images, are compared by the area under the ROC curve
//! (Mann and Whitney 1947), whose interval is that of `DeLong` et al. 1988 (Biometrics 44, 837–845). Meehan et al. 2020
//! (arXiv:2004.05675) test for data copying by the same statistic.

use serde::{Deserialize, Serialize};

use crate::bounds::{Bounded, Points};
use crate::centred::Frame;
use crate::error::{MetricError, Result};
use crate::neighbours::nearest;
use crate::roc::area_under_curve;

/// How near samples are to the training images, compared with held-out real images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memorisation {
    /// Median distance from a sample to its nearest training image, divided by that of held-out images, ≥ 0: 1 means like unseen
    /// images, 0 means copies. Samples of poor quality are far from every image (above 1), which hides the few that are copied.
    pub ratio: f64,
    /// Probability that a sample is nearer to the training images than a held-out image is, with ties counted as half, 0..1: 0.5
    /// means like unseen images, 1 means copies, below 0.5 means farther away.
    pub auc: f64,
    /// Lower end of the 95 % interval of `auc` (`DeLong`), which narrows with the number of images; it has no width at 0 and 1.
    pub auc_low: f64,
    /// Upper end of the interval.
    pub auc_high: f64,
    /// Number of samples.
    pub num_samples: usize,
    /// Number of held-out images, which are not training images.
    pub num_held_out: usize,
    /// Number of training images. More of them make all distances smaller.
    pub num_train: usize,
}

/// Compares the distances from `samples` and from `held_out` images to their nearest images in `train`.
///
/// Each set is features `[n, d]`, row-major, with d = `dim`; distances are Euclidean, in f64. For an ensemble, call this once per
/// member, with the images that the member was trained on. The result does not depend on the number of threads, `jobs`.
///
/// # Errors
/// [`MetricError::TooFewFor`] when there are fewer than 2 samples, 2 held-out images or 1 training image,
/// [`MetricError::HeldOutCopies`] when the median distance of the held-out images is 0, [`MetricError::FeatureShape`] or
/// [`MetricError::NonFiniteFeature`] when a set is malformed.
pub fn memorisation(samples: &[f32], train: &[f32], held_out: &[f32], dim: usize, jobs: usize) -> Result<Memorisation> {
    let (samples, train, held_out) =
        (Points::new(samples, dim)?, Points::new(train, dim)?, Points::new(held_out, dim)?);
    for (which, n, least) in
        [("generated", samples.len(), 2), ("training", train.len(), 1), ("held-out", held_out.len(), 2)]
    {
        if n < least {
            return Err(MetricError::TooFewFor { which, n, least, score: "memorisation" });
        }
    }
    let frame = Frame::around(&[samples, train, held_out].map(|points| points.features), dim, jobs);
    let among = Bounded::new(train, &frame, jobs);
    // The unit of distances is the frame's; neither their ratio nor their order depends on it.
    let [of_samples, of_held_out] = [samples, held_out].map(|points| {
        let squared = nearest(&Bounded::new(points, &frame, jobs), &among, jobs);
        let mut distances: Vec<f64> = squared.into_iter().map(f64::sqrt).collect();
        distances.sort_by(f64::total_cmp);
        distances
    });
    let unseen = median(&of_held_out);
    if unseen == 0.0 {
        return Err(MetricError::HeldOutCopies { n: held_out.len() });
    }
    let (auc, half_width) = area_under_curve(&of_samples, &of_held_out);
    Ok(Memorisation {
        ratio: median(&of_samples) / unseen,
        auc,
        auc_low: (auc - half_width).max(0.0),
        auc_high: (auc + half_width).min(1.0),
        num_samples: samples.len(),
        num_held_out: held_out.len(),
        num_train: train.len(),
    })
}

/// The median of ascending values; the mean of the two middle ones if their number is even.
fn median(ascending: &[f64]) -> f64 {
    let n = ascending.len();
    f64::midpoint(ascending[(n - 1) / 2], ascending[n / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_by_hand() {
        // Distances from 0 and 10: samples 1, 2, 0, 5; held out 3, 2, 4. Medians 1.5 and 3.
        // Of 12 pairs the sample is nearer in 3 + (2 + 1/2) + 3 + 0 = 8.5.
        let scores = memorisation(&[1.0, 8.0, 10.0, 5.0], &[0.0, 10.0], &[3.0, -2.0, 14.0], 1, 1).unwrap();
        assert_eq!((scores.ratio, scores.num_samples, scores.num_held_out, scores.num_train), (0.5, 4, 3, 2));
        // 1e-15: four sums of shares.
        assert!((scores.auc - 8.5 / 12.0).abs() < 1e-15, "{scores:?}");
        // DeLong: shares of samples 1, 5/6, 1, 0 and of held-out images 3/4, 5/8, 3/4, all with mean 17/24.
        let by_samples =
            [1.0, 5.0 / 6.0, 1.0, 0.0].map(|share: f64| (share - 17.0 / 24.0).powi(2)).iter().sum::<f64>() / 3.0;
        let by_held_out = [0.75, 0.625, 0.75].map(|share: f64| (share - 17.0 / 24.0).powi(2)).iter().sum::<f64>() / 2.0;
        let half_width = 1.959_963_984_540_054 * (by_samples / 4.0 + by_held_out / 3.0).sqrt();
        assert!((scores.auc_low - (17.0 / 24.0 - half_width)).abs() < 1e-15, "{scores:?}");
        assert_eq!(scores.auc_high, 1.0);
    }

    #[test]
    fn copies_have_ratio_0_and_all_of_the_area() {
        let train: Vec<f32> = (0..600).map(|i| (i as f32 * 0.37).sin() + 50.0).collect();
        let held_out: Vec<f32> = train.iter().map(|x| x + 0.5).collect();
        let scores = memorisation(&train[..300], &train, &held_out, 3, 2).unwrap();
        assert_eq!((scores.ratio, scores.auc, scores.auc_low, scores.auc_high), (0.0, 1.0, 1.0, 1.0));
    }

    #[test]
    fn samples_that_are_like_held_out_images_have_an_auc_of_one_half() {
        let train: Vec<f32> = (0..90).map(|i| i as f32).collect();
        let unseen: Vec<f32> = (0..40).map(|i| i as f32 * 1.1 + 0.3).collect();
        let scores = memorisation(&unseen, &train, &unseen, 1, 1).unwrap();
        // 1e-15: sums of 40 shares.
        assert!(scores.ratio == 1.0 && (scores.auc - 0.5).abs() < 1e-15, "{scores:?}");
        assert!(scores.auc_low < 0.5 && scores.auc_high > 0.5);
    }

    #[test]
    fn errors_of_sets_are_one_line() {
        let error = |samples: &[f32], train: &[f32], held_out: &[f32]| {
            memorisation(samples, train, held_out, 1, 1).unwrap_err().to_string()
        };
        let (two, other) = ([0.0, 1.0], [3.0, 4.0]);
        assert_eq!(
            error(&[1.0], &two, &other),
            "1 generated images, fewer than the 2 that memorisation needs; pass more images"
        );
        assert_eq!(
            error(&two, &[], &other),
            "0 training images, fewer than the 1 that memorisation needs; pass more images"
        );
        assert_eq!(
            error(&two, &two, &two),
            "the median of 2 held-out images lies at distance 0 from the training images; hold out images that are not training images"
        );
        assert_eq!(
            error(&two, &[f32::NAN], &other),
            "feature 0 of image 0 is NaN, expected a finite number; check the image and the feature network"
        );
    }
}
