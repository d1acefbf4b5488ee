//! Membership inference with samples alone: whether images that a generator was trained on can be told from images of the same kind that it
//! never saw.
//!
//! Each attack gives every image a score, which is the larger the nearer samples are: minus the distance from the nearest sample (GAN-Leaks,
//! full black-box: Chen et al. 2020, arXiv:1909.03935), or the share of the samples within a distance ε (Hilprecht, Härterich, Bernau 2019,
//! "Monte Carlo and Reconstruction Membership Inference Attacks against Generative Models", doi:10.2478/popets-2019-0067), where ε is the
//! median distance of all images from their nearest samples. A calibrated attack subtracts what the same attack gives with samples of another
//! generator: an image that is near to samples of any generator is merely an ordinary one. If the other generator is the one that the training
//! began with, the rest is what this training added.

use serde::{Deserialize, Serialize};

use crate::bounds::{Bounded, Points};
use crate::centred::Frame;
use crate::error::{MetricError, Result};
use crate::neighbours::{count_within, nearest};
use crate::roc::{area_under_curve, clopper_pearson, recognised};

/// How an image is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// By the nearest sample.
    NearestSample,
    /// By the share of samples within the median distance.
    MonteCarlo,
    /// By the logit of the discriminator that was trained on the images (LOGAN, white-box: Hayes, Melis, Danezis, De Cristofaro 2019,
    /// arXiv:1705.07663), which only the client has.
    Discriminator,
}

impl Attack {
    /// The name as it is written down.
    pub fn name(self) -> &'static str {
        match self {
            Self::NearestSample => "nearest-sample",
            Self::MonteCarlo => "monte-carlo",
            Self::Discriminator => "discriminator",
        }
    }
}

/// How well an attack tells training images from held-out ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// The attack.
    pub attack: Attack,
    /// Whether another generator's samples calibrate it.
    pub is_calibrated: bool,
    /// Probability that a training image has a larger score than a held-out image, with ties counted as half, 0..1: 0.5 is guessing.
    pub auc: f64,
    /// Lower end of the 95 % interval of `auc` (`DeLong`).
    pub auc_low: f64,
    /// Upper end of the interval.
    pub auc_high: f64,
    /// Share of the held-out images that may be mistaken for training images at `tpr`: 0.01 with 1,000 of them or more, else 0.1.
    pub fpr: f64,
    /// Share of the training images that are then recognised, 0..1. Guessing recognises `fpr` and a little more, (k + 1) / (n + 1) on average
    /// where k of n held-out images may be mistaken, since the threshold is one of theirs.
    pub tpr: f64,
    /// Lower end of the 95 % interval of `tpr` (Clopper, Pearson) for this threshold; that the threshold is drawn, too, it leaves out.
    pub tpr_low: f64,
    /// Upper end of the interval.
    pub tpr_high: f64,
}

/// Held-out images from which on one in a hundred is more than a few.
const MANY_HELD_OUT: usize = 1000;

/// Both attacks, each plain and, where there are samples of a `reference`, calibrated.
///
/// Each set is features or pixels `[n, d]`, row-major, with d = `dim`; distances are Euclidean, in f64. The result does not depend on the number
/// of threads, `jobs`.
///
/// # Errors
/// [`MetricError::TooFewFor`] when there are fewer than 2 training images, 2 held-out images or 1 sample, [`MetricError::FeatureShape`] or
/// [`MetricError::NonFiniteFeature`] when a set is malformed.
pub fn membership(
    train: &[f32],
    held_out: &[f32],
    samples: &[f32],
    reference: Option<&[f32]>,
    dim: usize,
    jobs: usize,
) -> Result<Vec<Membership>> {
    let groups = [Points::new(train, dim)?, Points::new(held_out, dim)?];
    let samples = Points::new(samples, dim)?;
    let reference = reference.map(|reference| Points::new(reference, dim)).transpose()?;
    let sets = [("training", groups[0].len(), 2), ("held-out", groups[1].len(), 2), ("generated", samples.len(), 1)];
    let of_reference = reference.map(|points| ("reference", points.len(), 1));
    for (which, n, least) in sets.into_iter().chain(of_reference) {
        if n < least {
            return Err(MetricError::TooFewFor { which, n, least, score: "membership inference" });
        }
    }
    let all: Vec<&[f32]> =
        groups.iter().chain([&samples]).chain(&reference).map(|points: &Points<'_>| points.features).collect();
    let frame = Frame::around(&all, dim, jobs);
    let bounded = |points| Bounded::new(points, &frame, jobs);
    let (groups, samples, reference) = (groups.map(bounded), bounded(samples), reference.map(bounded));
    let distances = |from: &Bounded<'_>| groups.each_ref().map(|images| nearest(images, from, jobs));
    let of_samples = distances(&samples);
    let squared_radius = squared_median(of_samples.concat());
    let shares = |from: &Bounded<'_>| {
        groups.each_ref().map(|images| share_within(count_within(images, from, squared_radius, jobs), from.len()))
    };
    let plain = [of_samples.map(minus_roots), shares(&samples)];
    let of_reference = reference.map(|reference| [distances(&reference).map(minus_roots), shares(&reference)]);
    let results = [Attack::NearestSample, Attack::MonteCarlo].into_iter().zip(plain).enumerate().flat_map(
        |(i, (attack, scores))| {
            let calibrated = of_reference.as_ref().map(|of| differences(&scores, &of[i]));
            [Some((scores, false)), calibrated.map(|scores| (scores, true))]
                .into_iter()
                .flatten()
                .map(move |(scores, is_calibrated)| of_scores(attack, is_calibrated, scores))
        },
    );
    Ok(results.collect())
}

/// The outcome of an attack that gives training images and held-out ones these scores.
///
/// # Errors
/// [`MetricError::TooFewFor`] when there are fewer than 2 of either.
pub fn membership_of_scores(attack: Attack, train: Vec<f64>, held_out: Vec<f64>) -> Result<Membership> {
    for (which, n) in [("training", train.len()), ("held-out", held_out.len())] {
        if n < 2 {
            return Err(MetricError::TooFewFor { which, n, least: 2, score: "membership inference" });
        }
    }
    Ok(of_scores(attack, false, [train, held_out]))
}

/// The outcome of an attack, given the scores of training images and of held-out ones.
fn of_scores(attack: Attack, is_calibrated: bool, scores: [Vec<f64>; 2]) -> Membership {
    let [train, held_out] = scores.map(|mut scores| {
        scores.sort_by(f64::total_cmp);
        scores
    });
    let (auc, half_width) = area_under_curve(&held_out, &train);
    let fpr = if held_out.len() >= MANY_HELD_OUT { 0.01 } else { 0.1 };
    let hits = recognised(&held_out, &train, fpr);
    let (tpr_low, tpr_high) = clopper_pearson(hits, train.len());
    Membership {
        attack,
        is_calibrated,
        auc,
        auc_low: (auc - half_width).max(0.0),
        auc_high: (auc + half_width).min(1.0),
        fpr,
        tpr: hits as f64 / train.len() as f64,
        tpr_low,
        tpr_high,
    }
}

fn minus_roots(squared: Vec<f64>) -> Vec<f64> {
    squared.into_iter().map(|squared| -squared.sqrt()).collect()
}

fn share_within(counts: Vec<u32>, n: usize) -> Vec<f64> {
    counts.into_iter().map(|count| f64::from(count) / n as f64).collect()
}

fn differences(scores: &[Vec<f64>; 2], of_reference: &[Vec<f64>; 2]) -> [Vec<f64>; 2] {
    [0, 1].map(|group| scores[group].iter().zip(&of_reference[group]).map(|(score, other)| score - other).collect())
}

/// The square of the median of distances that are given squared.
fn squared_median(mut squared: Vec<f64>) -> f64 {
    squared.sort_by(f64::total_cmp);
    let n = squared.len();
    if n % 2 == 1 { squared[n / 2] } else { f64::midpoint(squared[n / 2 - 1].sqrt(), squared[n / 2].sqrt()).powi(2) }
}
