//! Sliced Wasserstein distance of two sets of patches (Rabin et al. 2011; Karras et al. 2018, arXiv:1710.10196, appendix B).

use effgan_nn::parallel_map;
use effgan_nn::rng::{Purpose, Streams};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use serde::{Deserialize, Serialize};

use crate::Patches;

/// Random directions, 4 × 128 in the paper.
const DIRECTIONS: usize = 512;
/// Directions onto which patches are projected at once.
const TILE: usize = 32;
/// Seed of the directions, which are the same in each evaluation.
const SEED: u64 = 1;

/// The sliced Wasserstein distance on one level of the pyramids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelDistance {
    /// Height of the images on this level.
    pub height: usize,
    /// Their width.
    pub width: usize,
    /// The distance, ≥ 0; lower is closer.
    pub swd: f64,
}

/// The sliced Wasserstein distance of the patches on each level, finest first, times 1,000 as in the paper.
///
/// The patches of a set are brought to zero mean and unit deviation per channel (a channel without deviation, to zeros) and projected onto
/// 512 random directions of the unit sphere. The distance is the mean absolute difference of the sorted projections, over patches and
/// directions. Of the larger set, as many patches are taken as the smaller one has, evenly. The number of threads, `jobs`, changes no bit.
///
/// # Panics
/// When the images have different shapes.
pub(crate) fn sliced_wasserstein(real: &Patches, images: &Patches, jobs: usize) -> Vec<LevelDistance> {
    let directions = Streams::of_run(SEED).normal(Purpose::Direction, 0, DIRECTIONS * real.dim());
    along(&directions, real, images, jobs)
}

/// The same along these `directions` `[n, c · 7 · 7]`, which are made of length 1.
fn along(directions: &[f32], real: &Patches, images: &Patches, jobs: usize) -> Vec<LevelDistance> {
    assert_eq!((real.channels, &real.sizes), (images.channels, &images.sizes), "the images have one shape");
    let (dim, count) = (real.dim(), real.count().min(images.count()));
    let tiles: Vec<Tile> = directions.chunks(TILE * dim).map(|directions| Tile::new(directions, dim)).collect();
    let of_level = |(level, &[height, width]): (usize, &[usize; 2])| {
        let [real, images] = [real, images].map(|set| normalised(set, level, count));
        let sums = parallel_map(tiles.len(), jobs, |tile| tiles[tile].sum_of_distances(&real, &images));
        let num_directions = directions.len() / dim;
        LevelDistance { height, width, swd: 1000.0 * sums.iter().sum::<f64>() / num_directions as f64 }
    };
    real.sizes.iter().enumerate().map(of_level).collect()
}

/// `count` patches of a level, evenly taken, with zero mean and unit deviation per channel.
fn normalised(set: &Patches, level: usize, count: usize) -> Vec<f32> {
    let (all, dim) = (set.count(), set.dim());
    let patch = |i: usize| &set.levels[level][(i as u128 * all as u128 / count as u128) as usize * dim..][..dim];
    let mut patches = (0..count).flat_map(patch).copied().collect::<Vec<f32>>();
    let area = dim / set.channels;
    for channel in 0..set.channels {
        let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
            let areas = patches.chunks_exact(area).skip(channel).step_by(set.channels);
            areas.map(|area| area.iter().map(|&value| of(f64::from(value))).sum::<f64>()).sum()
        };
        let n = (count * area) as f64;
        let mean = sum(&|x| x) / n;
        let deviation = (sum(&|x| (x - mean).powi(2)) / n).sqrt();
        let scale = if deviation > 0.0 { deviation.recip() } else { 0.0 };
        for area in patches.chunks_exact_mut(area).skip(channel).step_by(set.channels) {
            for value in area {
                *value = ((f64::from(*value) - mean) * scale) as f32;
            }
        }
    }
    patches
}

/// At most [`TILE`] directions of length 1, `[n, d]`.
struct Tile {
    directions: Vec<f32>,
    dim: usize,
}

impl Tile {
    /// `directions` `[n, d]` of any length but 0.
    fn new(directions: &[f32], dim: usize) -> Self {
        let mut directions = directions.to_vec();
        for direction in directions.chunks_exact_mut(dim) {
            let length = direction.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            for x in direction {
                *x = (f64::from(*x) / length) as f32;
            }
        }
        Self { directions, dim }
    }

    /// The sum over the directions of the mean absolute difference of sorted projections of two sets of equally many patches.
    fn sum_of_distances(&self, real: &[f32], images: &[f32]) -> f64 {
        let [real, images] = [real, images].map(|patches| self.sorted_projections(patches));
        let distance = |(a, b): (&Vec<f32>, &Vec<f32>)| {
            a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).sum::<f64>() / a.len() as f64
        };
        real.iter().zip(&images).map(distance).sum()
    }

    /// Of each direction, the projections of all patches in ascending order.
    fn sorted_projections(&self, patches: &[f32]) -> Vec<Vec<f32>> {
        let (num_directions, count) = (self.directions.len() / self.dim, patches.len() / self.dim);
        let mut projections = vec![0.0; num_directions * count];
        matmul(
            MatMut::from_row_major_slice_mut(&mut projections, num_directions, count),
            Accum::Replace,
            MatRef::from_row_major_slice(&self.directions, num_directions, self.dim),
            MatRef::from_row_major_slice(patches, count, self.dim).transpose(),
            1.0,
            Par::Seq,
        );
        projections.chunks_exact(count).map(sorted).collect()
    }
}

/// Bits of a key that one pass of [`sorted`] looks at.
const DIGIT_BITS: usize = 11;

/// The values in ascending order. A radix sort takes a fifth of the time of a comparison sort, and a score sorts three thousand times.
fn sorted(values: &[f32]) -> Vec<f32> {
    let mut keys: Vec<u32> = values.iter().copied().map(ordered).collect();
    let mut moved = vec![0; keys.len()];
    for shift in (0..u32::BITS as usize).step_by(DIGIT_BITS) {
        let digit = |key: u32| (key >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut places = [0; 1 << DIGIT_BITS];
        for &key in &keys {
            places[digit(key)] += 1;
        }
        let mut first = 0;
        for place in &mut places {
            first += std::mem::replace(place, first);
        }
        for &key in &keys {
            let place = &mut places[digit(key)];
            moved[*place] = key;
            *place += 1;
        }
        std::mem::swap(&mut keys, &mut moved);
    }
    keys.into_iter().map(value_of).collect()
}

/// A key that is larger for a larger value: the sign bit flipped, and of negative values all bits.
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// The value of a key of [`ordered`].
fn value_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images `[n, c, h, w]` of the fixture's formula, of `kind` 0 or 1.
    fn images(n: usize, [channels, height, width]: [usize; 3], kind: usize) -> Vec<u8> {
        let pixel = |at: usize| {
            let (x, y) = (at % width, at / width % height);
            let (c, i) = (at / (width * height) % channels, at / (width * height * channels));
            let value = (i + 1) * (3 * x + 5 * y * y + 7 * c) + (2 + kind) * x * y + 40 * kind * c;
            (value % (256 - 60 * kind)) as u8
        };
        (0..n * channels * height * width).map(pixel).collect()
    }

    /// Patches of these images, as many of each as a run would take.
    fn patches(n: usize, shape: [usize; 3], kind: usize) -> Patches {
        let mut patches = Patches::none_of(shape);
        patches.add(&images(n, shape, kind), 0..n, n, 1);
        patches
    }

    #[derive(Deserialize)]
    struct Case {
        n: usize,
        shape: [usize; 3],
        levels: Vec<Level>,
    }

    #[derive(Deserialize)]
    struct Level {
        #[serde(flatten)]
        distance: LevelDistance,
        mean_magnitude: f64,
    }

    impl Case {
        /// Patches at the places of the fixture's formula.
        fn patches(&self, kind: usize) -> Patches {
            let mut patches = Patches::none_of(self.shape);
            let sizes = patches.sizes.clone();
            patches.add_at(&images(self.n, self.shape, kind), 0..self.n, 2, |i, [height, width]| {
                let level = sizes.iter().position(|size| *size == [height, width]).unwrap();
                let place = |j: usize| {
                    [(7 * i + 11 * j + 3 * level) % (height - 6), (5 * i + 13 * j * j + level) % (width - 6)]
                };
                (0..4).map(place).collect()
            });
            patches
        }
    }

    #[test]
    fn levels_and_distances_are_those_of_numpy() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/fixtures/sliced_wasserstein.json")).unwrap();
        for case in cases {
            let [real, fake] = [0, 1].map(|kind| case.patches(kind));
            let directions: Vec<f32> = (0..24 * real.dim())
                .map(|at| (at / real.dim(), at % real.dim()))
                .map(|(d, k)| ((31 * d + 17 * k + d * k * k) % 101) as f32 - 50.0)
                .collect();
            let found = along(&directions, &real, &fake, 2);
            assert_eq!(found.len(), case.levels.len());
            let pixels = images(case.n, case.shape, 0);
            let pyramids: Vec<Vec<Vec<f32>>> = pixels
                .chunks(real.sizes[0].iter().product())
                .map(|channel| crate::laplacian::pyramid(channel, real.sizes[0]))
                .collect();
            for (level, (found, Level { distance, mean_magnitude })) in found.iter().zip(&case.levels).enumerate() {
                assert_eq!([found.height, found.width], [distance.height, distance.width]);
                let magnitudes: Vec<f64> =
                    pyramids.iter().flat_map(|levels| &levels[level]).map(|x| f64::from(x.abs())).collect();
                let magnitude = magnitudes.iter().sum::<f64>() / magnitudes.len() as f64;
                // 1e-6: f32 here and f64 there, of means over hundreds of values.
                assert!((magnitude / mean_magnitude - 1.0).abs() < 1e-6, "{magnitude}, NumPy {mean_magnitude}");
                assert!((found.swd / distance.swd - 1.0).abs() < 1e-6, "{}, NumPy {}", found.swd, distance.swd);
            }
        }
    }

    #[test]
    fn equal_sets_have_distance_0_and_jobs_change_no_bit() {
        let shape = [3, 28, 28];
        let [real, fake] = [0, 1].map(|kind| patches(20, shape, kind));
        assert!(sliced_wasserstein(&real, &real, 1).iter().all(|level| level.swd == 0.0));
        let found = [1, 2, 5].map(|jobs| {
            let mut fake = Patches::none_of(shape);
            fake.add(&images(20, shape, 1), 0..20, 20, jobs);
            sliced_wasserstein(&real, &fake, jobs)
        });
        assert_eq!(found[0], sliced_wasserstein(&real, &fake, 3));
        assert_eq!((&found[0], &found[0]), (&found[1], &found[2]));
        assert!(found[0].iter().all(|level| level.swd > 1.0), "{found:?}");
    }

    #[test]
    fn values_are_sorted_as_by_comparison() {
        let small = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_769).cast_signed() >> (i % 31)) as f32 / 65_536.0);
        let values: Vec<f32> = small.chain([0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, -1e-40]).collect();
        let mut expected = values.clone();
        expected.sort_by(f32::total_cmp);
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(sorted(&values)), bits(expected));
        assert!(sorted(&[]).is_empty());
    }

    #[test]
    fn images_of_one_value_have_a_distance() {
        let mut grey = Patches::none_of([1, 16, 16]);
        grey.add(&[128; 16 * 16 * 10], 0..10, 10, 1);
        assert!(sliced_wasserstein(&grey, &grey, 1).iter().all(|level| level.swd == 0.0));
        // All projections of the grey images are 0, so that the distance is the mean magnitude of the others' projections, which is
        // about √(2/π) = 0.8 of normal ones of deviation 1.
        let swd = sliced_wasserstein(&patches(10, [1, 16, 16], 0), &grey, 1)[0].swd;
        assert!((400.0..1200.0).contains(&swd), "{swd}");
    }

    #[test]
    fn a_larger_set_is_compared_by_as_many_patches_as_the_smaller_one_has() {
        let shape = [1, 16, 16];
        let [few, many] = [5, 30].map(|n| patches(n, shape, 0));
        assert_eq!((few.count(), many.count()), (640, 3840));
        // Of every sixth patch.
        let swd = sliced_wasserstein(&few, &many, 1);
        let mut thinned = Patches::none_of(shape);
        thinned.levels = vec![many.levels[0].chunks(49).step_by(6).flatten().copied().collect()];
        assert_eq!(swd, sliced_wasserstein(&few, &thinned, 1));
        assert_eq!(swd, sliced_wasserstein(&many, &few, 1));
    }
}
