//! Sliced Wasserstein distance of two sets of patches (Rabin et al. 2011; Karras et al. 2018, arXiv:1710.10196, appendix B).

use effgan_nn::parallel_map;
use effgan_nn::rng::{Purpose, Streams};
use serde::{Deserialize, Serialize};

use crate::Patches;

/// Random directions, 4 × 128 in the paper.
const DIRECTIONS: usize = 512;
/// Directions onto which patches are projected at once.
const TILE: usize = 16;
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
        let values = || patches.chunks_exact(area).skip(channel).step_by(set.channels).flatten().map(|&x| f64::from(x));
        let n = (count * area) as f64;
        let mean = values().sum::<f64>() / n;
        let deviation = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let scale = if deviation > 0.0 { deviation.recip() } else { 0.0 };
        for value in patches.chunks_exact_mut(area).skip(channel).step_by(set.channels).flatten() {
            *value = ((f64::from(*value) - mean) * scale) as f32;
        }
    }
    patches
}

/// Some directions of length 1.
struct Tile {
    /// How many, at most [`TILE`].
    len: usize,
    /// `[d, TILE]`, with zeros after the last direction.
    components: Vec<[f32; TILE]>,
}

impl Tile {
    /// At most [`TILE`] `directions`, `[n, d]`.
    fn new(directions: &[f32], dim: usize) -> Self {
        let mut components = vec![[0.0; TILE]; dim];
        for (i, direction) in directions.chunks_exact(dim).enumerate() {
            let length = direction.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            for (component, &value) in components.iter_mut().zip(direction) {
                component[i] = (f64::from(value) / length) as f32;
            }
        }
        Self { len: directions.len() / dim, components }
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
        let dim = self.components.len();
        let mut projections = vec![Vec::with_capacity(patches.len() / dim); self.len];
        for patch in patches.chunks_exact(dim) {
            let mut sums = [0.0; TILE];
            for (&value, components) in patch.iter().zip(&self.components) {
                sums.iter_mut().zip(components).for_each(|(sum, component)| *sum += value * component);
            }
            projections.iter_mut().zip(sums).for_each(|(projections, sum)| projections.push(sum));
        }
        projections.iter_mut().for_each(|projections| projections.sort_unstable_by(f32::total_cmp));
        projections
    }
}
