//! Precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et al. 2020,
//! arXiv:2002.09797).
//!
//! Each image has a ball whose radius is the distance to its k-th nearest neighbour in the same set. Precision and density count
//! fake images in the balls of real ones, recall counts real images in the balls of fake ones, and coverage counts balls of real
//! images that contain a fake one.

use effgan_nn::parallel_map;

use crate::bounds::{Bounded, OUT_OF_REACH, Points};
use crate::centred::{Frame, blocks};
use crate::error::{MetricError, Result};
use crate::neighbours::kth_nearest;

/// Quality (precision, density) and variety (recall, coverage) of fake images; higher is better.
///
/// For two sets from one source, density and coverage are about 1 and 1 − 2⁻ᵏ for any n. Precision and recall depend on n, and
/// are only comparable at the same n.
#[derive(Clone, Debug, PartialEq)]
pub struct Prdc {
    /// Share of fake images in at least one real ball, 0..1. One outlier among the real images makes it large.
    pub precision: f64,
    /// Share of real images in at least one fake ball, 0..1. Scattered fake images increase it, whatever they show.
    pub recall: f64,
    /// Mean number of real balls that contain a fake image, divided by k: ≥ 0, and above 1 when fake images gather where real
    /// ones are dense.
    pub density: f64,
    /// Share of real balls with at least one fake image, 0..1.
    pub coverage: f64,
    /// The k of the k-th nearest neighbour.
    pub nearest_k: usize,
}

impl Prdc {
    /// The k in the examples of the papers and of the package `prdc`.
    pub const NEAREST_K: usize = 5;
}

/// Precision, recall, density and coverage as the package `prdc` counts them: an image on the edge of a ball is outside.
///
/// `real` and `fake` are features `[n, d]` row-major with d = `dim`; distances are Euclidean, in f64; `nearest_k` ≥ 1. Equal
/// vectors have exactly the distance 0, which the package's arithmetic does not guarantee. The result does not depend on the
/// number of threads, `jobs`.
///
/// # Errors
/// [`MetricError::TooFewFor`] when a set has no more than `nearest_k` images, [`MetricError::NearestK`] when that is 0,
/// [`MetricError::FeatureShape`] or [`MetricError::NonFiniteFeature`] when a set is malformed.
pub fn prdc(real: &[f32], fake: &[f32], dim: usize, nearest_k: usize, jobs: usize) -> Result<Prdc> {
    if nearest_k == 0 {
        return Err(MetricError::NearestK);
    }
    let (real, fake) = (Points::new(real, dim)?, Points::new(fake, dim)?);
    for (which, n) in [("real", real.len()), ("fake", fake.len())] {
        if n <= nearest_k {
            let score = "precision and recall with its nearest neighbours";
            return Err(MetricError::TooFewFor { which, n, least: nearest_k + 1, score });
        }
    }
    let [real_radii, fake_radii] = [real, fake].map(|points| squared_radii(points, nearest_k, jobs));
    let Counts { recalled, covered, balls } = count([real, fake], [&real_radii, &fake_radii], jobs);
    let (n_real, n_fake) = (real.len() as f64, fake.len() as f64);
    Ok(Prdc {
        precision: balls.iter().filter(|&&balls| balls > 0).count() as f64 / n_fake,
        recall: recalled as f64 / n_real,
        density: balls.iter().sum::<u64>() as f64 / (nearest_k as f64 * n_fake),
        coverage: covered as f64 / n_real,
        nearest_k,
    })
}

/// Squared distance of each point from its k-th nearest neighbour in the set.
fn squared_radii(points: Points<'_>, nearest_k: usize, jobs: usize) -> Vec<f64> {
    let frame = Frame::around(&[points.features], points.dim, jobs);
    let points = Bounded::new(points, &frame, jobs);
    kth_nearest(&points, nearest_k, jobs).into_iter().map(|squared| squared / points.unit).collect()
}

struct Counts {
    /// Number of real images in at least one fake ball.
    recalled: usize,
    /// Number of real balls with at least one fake image.
    covered: usize,
    /// Number of real balls that contain each fake image.
    balls: Vec<u64>,
}

/// Counts images in balls whose squared radii are given, of real images and of fake ones.
fn count(sets: [Points<'_>; 2], radii: [&[f64]; 2], jobs: usize) -> Counts {
    let frame = Frame::around(&sets.map(|points| points.features), sets[0].dim, jobs);
    let [real, fake] = sets.map(|points| Bounded::new(points, &frame, jobs));
    let [real_radii, fake_radii] = radii.map(|radii| radii.iter().map(|radius| radius * real.unit).collect::<Vec<_>>());
    let [real_reach, fake_reach] =
        [&real_radii, &fake_radii].map(|radii| radii.iter().copied().map(reach).collect::<Vec<_>>());
    let (rows, columns) = (blocks(real.len()), blocks(fake.len()));
    let of_block = |block: usize| {
        let none = vec![false; rows[block].len()];
        let (mut recalled, mut covered, mut balls) = (none.clone(), none, vec![0_u64; fake.len()]);
        for column in 0..columns.len() {
            let tile = real.tile(block, &fake, column);
            let [mut row_reach, mut column_reach] =
                [real_reach[tile.rows.clone()].to_vec(), fake_reach[tile.columns.clone()].to_vec()];
            tile.for_pairs_in_reach(&mut row_reach, &mut column_reach, |pair, _, _| {
                let distance = || real.squared_distance(pair.row, &fake, pair.column);
                let at = pair.row - tile.rows.start;
                let inside = pair.is_within(real_radii[pair.row], distance);
                balls[pair.column] += u64::from(inside);
                covered[at] |= inside;
                recalled[at] |= pair.is_within(fake_radii[pair.column], distance);
            });
        }
        let number = |of: Vec<bool>| of.into_iter().filter(|&is| is).count();
        Counts { recalled: number(recalled), covered: number(covered), balls }
    };
    let mut counts = Counts { recalled: 0, covered: 0, balls: vec![0; fake.len()] };
    for Counts { recalled, covered, balls } in parallel_map(rows.len(), jobs, of_block) {
        counts.recalled += recalled;
        counts.covered += covered;
        counts.balls.iter_mut().zip(balls).for_each(|(sum, balls)| *sum += balls);
    }
    counts
}

/// The largest lower bound of a squared distance that may be below `squared_radius`. Nothing is in a ball of radius 0.
fn reach(squared_radius: f64) -> f32 {
    if squared_radius == 0.0 { OUT_OF_REACH } else { (squared_radius as f32).next_up() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_by_hand() {
        // k = 1. Real 0, 1, 3: radii 1, 1, 2. Fake 0.5, 2, 10: radii 1.5, 1.5, 8.
        // 0.5 lies in the balls of 0 and 1; 2 in that of 3 (1 away), on the edge of 1's; 10 in none.
        // Real 0 lies in the ball of 0.5; 1 in 0.5's and 2's; 3 in 2's and 10's.
        let scores = prdc(&[0.0, 1.0, 3.0], &[0.5, 2.0, 10.0], 1, 1, 1).unwrap();
        let expected = Prdc { precision: 2.0 / 3.0, recall: 1.0, density: 1.0, coverage: 1.0, nearest_k: 1 };
        assert_eq!(scores, expected);
    }

    #[test]
    fn a_missing_mode_lowers_only_recall_and_coverage() {
        let at = |centre: f32| (0..20).map(move |i| centre + i as f32);
        let real: Vec<f32> = at(0.0).chain(at(1000.0)).collect();
        let fake: Vec<f32> = at(0.25).collect();
        let Prdc { precision, recall, coverage, .. } = prdc(&real, &fake, 1, 5, 2).unwrap();
        assert_eq!((precision, recall, coverage), (1.0, 0.5, 0.5));
    }

    #[test]
    fn equal_images_are_on_the_edge_of_balls_of_radius_zero() {
        let scores = prdc(&[0.3; 40], &[0.3; 32], 4, 5, 1).unwrap();
        assert_eq!(scores, Prdc { precision: 0.0, recall: 0.0, density: 0.0, coverage: 0.0, nearest_k: 5 });
    }

    /// The scores by their definition: the distances of all pairs, one by one.
    fn one_by_one(real: &[f32], fake: &[f32], dim: usize, nearest_k: usize) -> Prdc {
        let distance =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>();
        let [real, fake] = [real, fake].map(|set| set.chunks(dim).collect::<Vec<_>>());
        let radii = |set: &[&[f32]]| {
            let radius = |a: &&[f32]| {
                let mut distances: Vec<f64> = set.iter().map(|b| distance(a, b)).collect();
                distances.sort_by(f64::total_cmp);
                distances[nearest_k]
            };
            set.iter().map(radius).collect::<Vec<_>>()
        };
        let (of_real, of_fake) = (radii(&real), radii(&fake));
        let in_real = |i: usize, j: usize| distance(real[i], fake[j]) < of_real[i];
        let in_fake = |i: usize, j: usize| distance(real[i], fake[j]) < of_fake[j];
        let (is, js) = (0..real.len(), 0..fake.len());
        let share = |number: usize, n: usize| number as f64 / n as f64;
        let balls: usize = is.clone().map(|i| js.clone().filter(|&j| in_real(i, j)).count()).sum();
        Prdc {
            precision: share(js.clone().filter(|&j| is.clone().any(|i| in_real(i, j))).count(), fake.len()),
            recall: share(is.clone().filter(|&i| js.clone().any(|j| in_fake(i, j))).count(), real.len()),
            density: share(balls, nearest_k * fake.len()),
            coverage: share(is.filter(|&i| js.clone().any(|j| in_real(i, j))).count(), real.len()),
            nearest_k,
        }
    }

    #[test]
    fn scores_across_blocks_with_ties_and_copies_are_those_of_all_pairs_one_by_one() {
        // Whole numbers, whose distances are exact: many are equal, and 100 points are there twice.
        let (mut real, mut fake) = (whole_numbers(700, 6, 0), whole_numbers(611, 6, 1_000_003));
        real.extend_from_within(..100 * 6);
        let apart = one_by_one(&real, &fake, 6, 5);
        assert_eq!(prdc(&real, &fake, 6, 5, 2).unwrap(), apart);
        fake[..300 * 6].copy_from_slice(&real[100 * 6..400 * 6]);
        let copies = one_by_one(&real, &fake, 6, 5);
        assert_eq!(prdc(&real, &fake, 6, 5, 3).unwrap(), copies);
        assert_ne!(apart, copies);
    }

    #[test]
    fn scores_of_images_nearer_than_the_rounding_of_products_are_those_of_all_pairs_one_by_one() {
        // Fakes 1e-2 from each other among real ones that are 1 and more apart, all 2,000 from zero.
        let around = |set: Vec<f32>, spread: fn(usize) -> f32| -> Vec<f32> {
            set.iter().enumerate().map(|(i, x)| 300.0 + (i % 40) as f32 + x * 1e-3 * spread(i / 40)).collect()
        };
        let real = around(whole_numbers(401, 40, 9), |image| image as f32);
        let fake = around(whole_numbers(700, 40, 7), |_| 1.0);
        assert_eq!(prdc(&real, &fake, 40, 3, 2).unwrap(), one_by_one(&real, &fake, 40, 3));
    }

    /// Numbers from -2 to 2 without a random generator, by mixing the bits of their indices.
    fn whole_numbers(n: usize, dim: usize, seed: u32) -> Vec<f32> {
        let number = |at: u32| {
            let x = (at ^ at >> 16).wrapping_mul(0x7FEB_352D);
            let x = (x ^ x >> 15).wrapping_mul(0x846C_A68B);
            ((x ^ x >> 16) % 5) as f32 - 2.0
        };
        (0..(n * dim) as u32).map(|at| number(at + seed)).collect()
    }

    #[test]
    fn any_number_of_jobs_gives_the_same_bits() {
        let waves = |phase: f32| (0..700 * 9).map(|i| (i as f32 * 0.37 + phase).sin()).collect::<Vec<_>>();
        let (real, fake) = (waves(0.0), waves(1.0));
        let one = prdc(&real, &fake, 9, 5, 1).unwrap();
        for jobs in [2, 7] {
            assert_eq!(prdc(&real, &fake, 9, 5, jobs).unwrap(), one);
        }
    }

    #[test]
    fn errors_of_sets_are_one_line() {
        let error = |real: &[f32], k| prdc(real, &[0.0, 1.0, 2.0], 1, k, 1).unwrap_err().to_string();
        assert_eq!(
            error(&[1.0], 2),
            "1 real images, fewer than the 3 that precision and recall with its nearest neighbours needs; pass more images"
        );
        assert_eq!(error(&[1.0, 2.0], 0), "nearest_k = 0 must be at least 1");
        assert_eq!(
            error(&[1.0, f32::NAN, 2.0], 2),
            "feature 0 of image 1 is NaN, expected a finite number; check the image and the feature network"
        );
    }
}
