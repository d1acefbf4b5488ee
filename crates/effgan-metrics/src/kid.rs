//! Kernel distance of two feature sets; KID if the features are Inception's (Bińkowski et al. 2018, arXiv:1801.01401).

use effgan_nn::{Purpose, Streams, parallel_map};
use rand::seq::SliceRandom;

use crate::centred::Frame;
use crate::error::{MetricError, Result};
use crate::kernel_sums::{Images, KernelSums, kernel_sums};
use crate::stats::{check_finite, num_rows};

/// A kernel distance, averaged over pairs of subsets.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelDistance {
    /// Mean over subsets; lower is closer. Two sets from one source have the expected value 0, and noise may make it negative.
    pub mean: f64,
    /// Standard deviation over subsets (divided by their number, as in torch-fidelity).
    pub std: f64,
    /// Number of subsets.
    pub subsets: usize,
    /// Number of images per subset.
    pub subset_size: usize,
}

/// Pairs of subsets: `real[i]` is compared with `fake[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsets {
    /// Indices of real images, one list per subset.
    pub real: Vec<Vec<usize>>,
    /// Indices of fake images, one list per subset.
    pub fake: Vec<Vec<usize>>,
}

impl Subsets {
    /// Number of subsets, as in torch-fidelity.
    pub const NUM: usize = 100;
    /// Number of images per subset, as in torch-fidelity; fewer if a set is smaller.
    pub const SIZE: usize = 1000;

    /// Draws subsets without repetition, each of [`SIZE`](Self::SIZE) images or as many as the smaller set has.
    ///
    /// When a subset is a whole set, all subsets are equal and the deviation is meaningless.
    pub fn draw(n_real: usize, n_fake: usize, seed: u64) -> Self {
        let (streams, size) = (Streams::of_run(seed), Self::SIZE.min(n_real).min(n_fake));
        let draw = |n: usize, step: usize| {
            let mut order: Vec<usize> = (0..n).collect();
            order.partial_shuffle(&mut streams.at(Purpose::Subset, step as u64), size).0.to_vec()
        };
        Self {
            real: (0..Self::NUM).map(|subset| draw(n_real, 2 * subset)).collect(),
            fake: (0..Self::NUM).map(|subset| draw(n_fake, 2 * subset + 1)).collect(),
        }
    }

    /// The common size of all subsets.
    fn size(&self) -> Result<usize> {
        let size = self.real.first().map_or(0, Vec::len);
        let found = if self.real.len() != self.fake.len() {
            format!("{} of real and {} of fake images", self.real.len(), self.fake.len())
        } else if let Some(other) = self.real.iter().chain(&self.fake).find(|subset| subset.len() != size) {
            format!("sizes {size} and {}", other.len())
        } else if size < 2 {
            format!("size {size}")
        } else {
            return Ok(size);
        };
        Err(MetricError::Subsets { found })
    }
}

/// Squared maximum mean discrepancy with the kernel (x·y / d + 1)³, unbiased, averaged over `subsets` (Bińkowski et al.
/// 2018, arXiv:1801.01401). It is only called KID if the features are those of Inception-2015.
///
/// `real` and `fake` are features `[n, d]` row-major with d = `dim`; products are in f32 of features less their
/// mean, and all other arithmetic is in f64. Lower is closer, and unlike the
/// Fréchet distance, its expected value does not depend on n. The result does not depend on the number of threads, `jobs`.
///
/// # Errors
/// [`MetricError::TooFewFor`] when a set has fewer than 2 images, [`MetricError::FeatureShape`] or
/// [`MetricError::NonFiniteFeature`] when a set is malformed, [`MetricError::Subsets`] or [`MetricError::SubsetIndex`] when the
/// subsets are.
pub fn kernel_distance(
    real: &[f32],
    fake: &[f32],
    dim: usize,
    subsets: &Subsets,
    jobs: usize,
) -> Result<KernelDistance> {
    for (which, features, lists) in [("real", real, &subsets.real), ("fake", fake, &subsets.fake)] {
        let n = num_rows(features, dim)?;
        if n < 2 {
            return Err(MetricError::TooFewFor { which, n, least: 2, score: "a kernel distance" });
        }
        check_finite(features, dim)?;
        if let Some(&index) = lists.iter().flatten().find(|&&index| index >= n) {
            return Err(MetricError::SubsetIndex { which, index, n });
        }
    }
    let (subset_size, n) = (subsets.size()?, subsets.real.len());
    let frame = Frame::around(&[real, fake], dim, jobs);
    // Each subset by itself takes size² products; all images at once take n² products for all subsets together.
    let sums = if (real.len() / dim) * (fake.len() / dim) <= n * subset_size * subset_size {
        let [x, y] =
            [(real, &subsets.real), (fake, &subsets.fake)].map(|(set, lists)| Images::new(&frame, set, lists, jobs));
        kernel_sums(&x, &y, jobs)
    } else {
        let of_subset = |subset: usize| {
            let [x, y] = [(real, &subsets.real), (fake, &subsets.fake)].map(|(set, lists)| {
                let rows = lists[subset].iter().map(|&index| &set[index * dim..(index + 1) * dim]);
                Images::new(&frame, &rows.collect::<Vec<_>>().concat(), &[(0..subset_size).collect()], 1)
            });
            kernel_sums(&x, &y, 1)
        };
        parallel_map(n, jobs, of_subset).concat()
    };
    let distances: Vec<f64> = sums.iter().map(|sums| squared_discrepancy(sums, subset_size as f64)).collect();
    let mean = distances.iter().sum::<f64>() / n as f64;
    let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / n as f64;
    Ok(KernelDistance { mean, std: variance.sqrt(), subsets: n, subset_size })
}

/// Unbiased squared maximum mean discrepancy of two subsets of `m` images.
fn squared_discrepancy(sums: &KernelSums, m: f64) -> f64 {
    (sums.within_real + sums.within_fake) / (m * (m - 1.0)) - 2.0 * sums.between / (m * m)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(n: usize) -> Subsets {
        Subsets { real: vec![(0..n).collect()], fake: vec![(0..n).collect()] }
    }

    fn waves(n: usize, dim: usize, phase: f32) -> Vec<f32> {
        (0..n * dim).map(|i| (i as f32 * 0.37 + phase).sin() + (i / dim) as f32 * 0.01).collect()
    }

    #[test]
    fn two_points_against_two_by_hand() {
        // d = 1: k(x, y) = (xy + 1)³. Real 0 and 1: 2 · 1 / 2 = 1. Fake 2 and -1: 2 · (-1)³ / 2 = -1.
        // Between: (1 + 1 + 3³ + 0) / 4 = 29 / 4. 1 - 1 - 2 · 29 / 4 = -14.5.
        let kid = kernel_distance(&[0.0, 1.0], &[2.0, -1.0], 1, &whole(2), 1).unwrap();
        assert_eq!(kid, KernelDistance { mean: -14.5, std: 0.0, subsets: 1, subset_size: 2 });
    }

    #[test]
    fn mean_and_deviation_are_those_over_subsets() {
        // Sets of equal images a and b: 1 of n - 1 cancels in the mean of k, so the distance is k(a, a) + k(b, b) - 2 k(a, b).
        // Fake 0 and real 0, then real 1: 1 + 1 - 2 = 0 and 8 + 1 - 2 = 7.
        let subsets = Subsets { real: vec![vec![0, 1], vec![2, 3]], fake: vec![vec![0, 1]; 2] };
        let kid = kernel_distance(&[0.0, 0.0, 1.0, 1.0], &[0.0, 0.0], 1, &subsets, 2).unwrap();
        assert_eq!(kid, KernelDistance { mean: 3.5, std: 3.5, subsets: 2, subset_size: 2 });
    }

    #[test]
    fn any_number_of_jobs_gives_the_same_bits() {
        let (real, fake) = (waves(150, 33, 0.0), waves(170, 33, 1.0));
        let subsets = Subsets::draw(150, 170, 1);
        let one = kernel_distance(&real, &fake, 33, &subsets, 1).unwrap();
        assert_eq!((one.subsets, one.subset_size), (100, 150));
        for jobs in [2, 5] {
            assert_eq!(kernel_distance(&real, &fake, 33, &subsets, jobs).unwrap(), one);
        }
    }

    /// The distance of each pair of subsets from its definition: all pairs, one by one, in f64.
    fn one_by_one(real: &[f32], fake: &[f32], dim: usize, subsets: &Subsets) -> Vec<f64> {
        let kernel = |(a, i): (&[f32], usize), (b, j): (&[f32], usize)| {
            let [a, b] = [(a, i), (b, j)].map(|(set, i)| &set[i * dim..(i + 1) * dim]);
            (a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() / dim as f64 + 1.0).powi(3)
        };
        let mean = |a: &[f32], rows: &[usize], b: &[f32], columns: &[usize], same: bool| {
            let mut sum = 0.0;
            for (i, &row) in rows.iter().enumerate() {
                for (j, &column) in columns.iter().enumerate() {
                    sum += if same && i == j { 0.0 } else { kernel((a, row), (b, column)) };
                }
            }
            sum / (rows.len() * (columns.len() - usize::from(same))) as f64
        };
        let distance = |(x, y): (&Vec<usize>, &Vec<usize>)| {
            mean(real, x, real, x, true) + mean(fake, y, fake, y, true) - 2.0 * mean(real, x, fake, y, false)
        };
        subsets.real.iter().zip(&subsets.fake).map(distance).collect()
    }

    #[test]
    fn distances_across_blocks_are_those_of_all_pairs_one_by_one() {
        // More pairs in the sets than in the subsets, then fewer. One subset repeats an image, none is in order.
        for (n, size, number) in [(900, 401, 2), (450, 399, 3)] {
            let mut subsets = Subsets {
                real: (0..number).map(|s| (0..size).map(|i| (i * 7 + 13 * s) % n).collect()).collect(),
                fake: (0..number).map(|s| (0..size).map(|i| (i * 11 + 5 * s) % (n - 1)).collect()).collect(),
            };
            subsets.real[1][17] = subsets.real[1][3];
            for far in [0.0_f32, 100.0] {
                let [real, fake] = [waves(n, 19, 0.0), waves(n - 1, 19, 1.0)]
                    .map(|set| set.iter().map(|x| x + far).collect::<Vec<_>>());
                let expected = one_by_one(&real, &fake, 19, &subsets);
                let mean = expected.iter().sum::<f64>() / number as f64;
                for jobs in [1, 3] {
                    let found = kernel_distance(&real, &fake, 19, &subsets, jobs).unwrap();
                    // 1e-10 of the largest kernel: products in f32 of features less their mean.
                    let largest = real.iter().fold(0.0, |largest: f64, &x| largest.max(f64::from(x).abs()));
                    let tolerance = 1e-10 * (largest.powi(2) + 1.0).powi(3);
                    assert!((found.mean - mean).abs() < tolerance, "{n}, {far}: {}, {mean}", found.mean);
                    let std = (expected.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / number as f64).sqrt();
                    assert!((found.std - std).abs() < tolerance, "{n}, {far}: {}, {std}", found.std);
                }
            }
        }
    }

    #[test]
    fn drawn_subsets_repeat_no_image_and_differ() {
        let subsets = Subsets::draw(1500, 1200, 7);
        assert_eq!((subsets.real.len(), subsets.fake.len()), (100, 100));
        for (lists, n) in [(&subsets.real, 1500), (&subsets.fake, 1200)] {
            for list in lists {
                let mut sorted = list.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), 1000);
                assert!(sorted.iter().all(|&index| index < n));
            }
            assert_ne!(lists[0], lists[1]);
        }
        assert_ne!(subsets, Subsets::draw(1500, 1200, 8));
    }

    #[test]
    fn equal_images_have_no_distance() {
        // All kernels are equal, here (4 · 0.25 / 4 + 1)³; 1e-12 is f64 rounding of sums of them.
        let same = vec![0.5; 40];
        assert!(kernel_distance(&same, &same, 4, &whole(10), 1).unwrap().mean.abs() < 1e-12);
    }

    #[test]
    fn errors_of_sets_and_subsets_are_one_line() {
        let error = |real: &[f32], fake: &[f32], subsets: &Subsets| {
            kernel_distance(real, fake, 1, subsets, 1).unwrap_err().to_string()
        };
        let (two, pairs) = ([0.0, 1.0], whole(2));
        assert_eq!(
            error(&[1.0], &two, &Subsets::draw(1, 2, 1)),
            "1 real images, fewer than the 2 that a kernel distance needs; pass more images"
        );
        assert_eq!(
            error(&two, &[0.0, f32::NAN], &pairs),
            "feature 0 of image 1 is NaN, expected a finite number; check the image and the feature network"
        );
        assert_eq!(error(&two, &two, &whole(3)), "a subset has real image 2 of 2; draw the subsets for these sets");
        let uneven = Subsets { fake: vec![vec![0]], ..whole(2) };
        assert_eq!(
            error(&two, &two, &uneven),
            "subsets must be pairs of one size of at least 2, got sizes 2 and 1; draw them with `Subsets::draw`"
        );
    }
}
