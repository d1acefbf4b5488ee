//! Patches of the levels of Laplacian pyramids, which the sliced Wasserstein distance compares (Karras et al. 2018, arXiv:1710.10196,
//! appendix B).

use std::ops::Range;

use effgan_nn::parallel_map;
use effgan_nn::rng::{Purpose, Streams};
use rand::RngExt;

use crate::laplacian::{pyramid, sizes};

/// Pixels on each side of a patch.
const SIDE: usize = 7;
/// Patches of all images together, per level; fewer where that would be more than [`MOST_PER_IMAGE`].
const MOST: usize = 1 << 15;
/// Patches of one image, per level. The paper takes as many of each image, of 16,384 images.
const MOST_PER_IMAGE: usize = 128;
/// Seed of the places, which are the same in each evaluation.
const SEED: u64 = 1;

/// Patches of 7 × 7 pixels at random places of the images of a set, for each level of their Laplacian pyramids.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// c, the channels of the images.
    pub(crate) channels: usize,
    /// Of each level, finest first, its size `[h, w]`.
    pub(crate) sizes: Vec<[usize; 2]>,
    /// Of each level its patches, `[m, c, 7, 7]`; m is the same for all levels.
    pub(crate) levels: Vec<Vec<f32>>,
}

/// Where the patches of one image are on a level: the rows and columns of their first pixels.
type Places = Vec<[usize; 2]>;

impl Patches {
    /// Whether images of `shape` `[c, h, w]` have patches: no side is below 7 pixels.
    pub fn fit([_, h, w]: [usize; 3]) -> bool {
        h.min(w) >= SIDE
    }

    /// No patches of images of `shape` `[c, h, w]`, to which those of images are added.
    pub fn none_of([channels, h, w]: [usize; 3]) -> Self {
        let sizes = sizes([h, w]);
        Self { channels, levels: vec![Vec::new(); sizes.len()], sizes }
    }

    /// Adds the patches of u8 `images` `[range.len(), c, h, w]`, which are those of `range` of a set of n.
    ///
    /// A set has 128 n patches per level, 32,768 at most, and its images have equally many, or differ by one. Their places depend on the
    /// image's number alone. The number of threads, `jobs`, changes no result.
    ///
    /// # Panics
    /// When the images do not fill the range, or have no patches.
    pub fn add(&mut self, images: &[u8], range: Range<usize>, n: usize, jobs: usize) {
        self.add_at(images, range, jobs, |image, size| {
            let mut rng = Streams::of_run(SEED).at(Purpose::Patch, image as u64);
            let mut place = || size.map(|side| rng.random_range(0..=side - SIDE));
            number_of(image, n).map(|_| place()).collect()
        });
    }

    /// Adds the patches of the images that follow, of the same shape.
    pub(crate) fn extend(&mut self, more: Self) {
        self.levels.iter_mut().zip(more.levels).for_each(|(level, more)| level.extend(more));
    }

    /// The same as [`add`](Self::add) with patches at the `places` of image i of the set on a level of size `[h, w]`.
    pub(crate) fn add_at(
        &mut self,
        images: &[u8],
        range: Range<usize>,
        jobs: usize,
        places: impl Fn(usize, [usize; 2]) -> Places + Sync,
    ) {
        let image_len = self.channels * self.sizes[0].iter().product::<usize>();
        assert_eq!(images.len(), range.len() * image_len, "the images fill the range");
        let of_images = parallel_map(range.len(), jobs, |i| {
            self.of_image(&images[i * image_len..][..image_len], |size| places(range.start + i, size))
        });
        for levels in of_images {
            self.levels.iter_mut().zip(levels).for_each(|(all, level)| all.extend(level));
        }
    }

    /// The patches of one image `[c, h, w]`, per level.
    fn of_image(&self, image: &[u8], places: impl Fn([usize; 2]) -> Places) -> Vec<Vec<f32>> {
        let places: Vec<Places> = self.sizes.iter().map(|size| places(*size)).collect();
        let mut levels = vec![Vec::new(); places.len()];
        if places.iter().all(Vec::is_empty) {
            return levels;
        }
        let channels = image.chunks_exact(image.len() / self.channels);
        let pyramids: Vec<Vec<Vec<f32>>> = channels.map(|channel| pyramid(channel, self.sizes[0])).collect();
        for (level, places) in places.into_iter().enumerate() {
            let width = self.sizes[level][1];
            for [top, left] in places {
                for channel in &pyramids {
                    let rows = (top..top + SIDE).map(|y| &channel[level][y * width + left..][..SIDE]);
                    rows.for_each(|row| levels[level].extend_from_slice(row));
                }
            }
        }
        levels
    }

    /// Values of a patch: c · 7 · 7.
    pub(crate) fn dim(&self) -> usize {
        self.channels * SIDE * SIDE
    }

    /// Patches per level.
    pub(crate) fn count(&self) -> usize {
        self.levels[0].len() / self.dim()
    }
}

/// The patches of image `i` of n, as numbers among all patches of the set.
fn number_of(i: usize, n: usize) -> Range<usize> {
    let all = MOST.min(MOST_PER_IMAGE * n);
    let until = |i: usize| (all as u128 * i as u128 / n as u128) as usize;
    until(i)..until(i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_128_patches_an_image_or_32768_evenly_among_its_images() {
        for (n, least, most) in [(1, 128, 128), (256, 128, 128), (2000, 16, 17), (40_000, 0, 1)] {
            let of_images: Vec<usize> = (0..n).map(|i| number_of(i, n).len()).collect();
            assert_eq!(of_images.iter().sum::<usize>(), MOST.min(128 * n), "{n}");
            assert_eq!((of_images.iter().min(), of_images.iter().max()), (Some(&least), Some(&most)), "{n}");
        }
    }

    #[test]
    fn patches_of_a_set_are_those_of_its_pieces_for_any_number_of_threads() {
        let (shape, n) = ([3, 20, 33], 300);
        let image_len = shape.iter().product::<usize>();
        let pixels: Vec<u8> = (0..n * image_len).map(|i| (i * i % 251) as u8).collect();
        let (mut whole, mut in_pieces) = (Patches::none_of(shape), Patches::none_of(shape));
        whole.add(&pixels, 0..n, n, 1);
        for range in [0..100, 100..300] {
            let mut piece = Patches::none_of(shape);
            piece.add(&pixels[range.start * image_len..range.end * image_len], range, n, 3);
            in_pieces.extend(piece);
        }
        assert_eq!((whole.count(), whole.sizes.len()), (MOST, 1));
        assert_eq!(whole, in_pieces);
    }

    #[test]
    fn a_patch_is_where_it_was_asked_for() {
        let mut patches = Patches::none_of([2, 9, 10]);
        let image: Vec<u8> = (0..180).collect();
        patches.add_at(&image, 0..1, 1, |_, _| vec![[2, 3]]);
        // Row 2 and column 3 are pixel 23 of the first channel, and 90 later is the second one.
        let [first, second] = [23, 113].map(|at| (0..49).map(|i| (at + i / 7 * 10 + i % 7) as f32).collect::<Vec<_>>());
        assert_eq!(patches.levels, [[first, second].concat()]);
        assert!(Patches::fit([1, 7, 9]) && !Patches::fit([1, 9, 6]));
    }
}
