//! Sources of images: a model, files, or memory.

use std::collections::BTreeSet;
use std::iter;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use effgan_data::{ImageFiles, ImageList};
use effgan_fl::ensemble::Selection;
use effgan_fl::sample::{Draw, sample};
use effgan_fl::{Ensemble, FlError};
use effgan_nn::{Device, Model, Params};

use crate::failure::{Failure, Result};

/// Pixels that are read or generated at a time, in bytes; a larger image is read alone.
const MAX_PIECE: usize = 1 << 28;

/// Images that are read or generated in parts; those of files may have different shapes.
pub enum Images<'a> {
    /// Samples of the selected generators of a model with this seed; there is no limit to their number.
    Model(&'a Ensemble, Selection, u64),
    /// Samples of a generator, as many as are wanted.
    Generator(Generator<'a>),
    /// A folder of images or an array file.
    Files(&'a ImageFiles),
    /// Images in memory, u8 `[n, c, h, w]`, and their shape `[c, h, w]`.
    Pixels(&'a [u8], [usize; 3]),
    /// The images in memory with these indices.
    Subset(&'a [u8], [usize; 3], Vec<u32>),
}

/// A generator that draws samples.
pub struct Generator<'a> {
    /// The model whose generator it is.
    pub model: &'a dyn Model,
    /// Its tensors, without the network's name before theirs.
    pub tensors: Params,
    /// Classes that a conditional one does not draw, sorted, and not all.
    pub without: &'a [u8],
    /// The seed of the samples.
    pub seed: u64,
}

impl Generator<'_> {
    fn draw(&self, range: Range<u64>, device: Device, jobs: usize, stop: &AtomicBool) -> Result<Vec<u8>> {
        let tensors =
            |_| if stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(self.tensors.clone()) };
        let draw = Draw { without: self.without, ..Draw::new(self.seed, range, device, jobs) };
        Ok(sample(self.model, &[1.0], &tensors, &draw)?)
    }
}

impl<'a> Images<'a> {
    /// Images u8 `[n, c, h, w]` of a shape `[c, h, w]` that a caller gives.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) when an image has no pixels, or neither 1 nor 3 channels.
    ///
    /// # Panics
    /// When `pixels` is not a whole number of images.
    pub fn in_memory(pixels: &'a [u8], shape: [usize; 3]) -> Result<Self> {
        if !matches!(shape[0], 1 | 3) || len_of(shape) == 0 {
            let line = format!(
                "images have shape {shape:?}, expected [c, h, w] with c = 1 (grey) or 3 and at least one pixel"
            );
            return Err(Failure::usage(anyhow!(line)));
        }
        assert!(pixels.len().is_multiple_of(len_of(shape)), "there is a whole number of images");
        Ok(Self::Pixels(pixels, shape))
    }

    /// The shape `[c, h, w]` of image `i`.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn shape(&self, i: usize) -> [usize; 3] {
        match self {
            Self::Model(model, ..) => model.image_shape(),
            Self::Generator(generator) => generator.model.image_shape(),
            Self::Files(files) => files.shape(i),
            Self::Pixels(_, shape) | Self::Subset(_, shape, _) => *shape,
        }
    }

    /// The shapes of the first `n` images, n ≥ 1.
    pub(super) fn shapes(&self, n: usize) -> BTreeSet<[usize; 3]> {
        match self {
            Self::Files(_) => (0..n).map(|i| self.shape(i)).collect(),
            _ => BTreeSet::from([self.shape(0)]),
        }
    }

    /// Those with these indices, of images in memory.
    ///
    /// # Panics
    /// When the images are not in memory.
    pub(super) fn subset(&self, indices: Vec<u32>) -> Images<'a> {
        match self {
            Self::Pixels(pixels, shape) => Images::Subset(pixels, *shape, indices),
            _ => panic!("only images in memory have a subset"),
        }
    }

    /// The number of images; `None` for samples.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Model(..) | Self::Generator(_) => None,
            Self::Files(files) => Some(files.len()),
            Self::Pixels(pixels, shape) => Some(pixels.len() / len_of(*shape)),
            Self::Subset(_, _, indices) => Some(indices.len()),
        }
    }

    /// The first `n` images in pieces of at most `max_images`, which are small enough to be held in memory.
    pub(super) fn pieces(&self, n: usize, max_images: usize) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        iter::from_fn(move || {
            let (most, mut bytes) = (n.min(start + max_images), 0);
            let fits = |i: &usize| {
                bytes += len_of(self.shape(*i));
                bytes <= MAX_PIECE || *i == start
            };
            let piece = start..start + (start..most).take_while(fits).count();
            start = piece.end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Returns the images of `range`; `jobs` threads draw those of a model on `device`.
    ///
    /// # Errors
    /// When a file cannot be read, a member does not match the manifest, or `stop` becomes true.
    pub fn read(&self, range: Range<usize>, device: Device, jobs: usize, stop: &AtomicBool) -> Result<ImageList<'_>> {
        Ok(match self {
            Self::Model(model, selection, seed) => {
                let go_on = || if stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(()) };
                let range = range.start as u64..range.end as u64;
                let pixels = model.sample_while(&go_on, selection, &Draw::new(*seed, range, device, jobs))?;
                ImageList::of_one_shape(pixels, model.image_shape())
            }
            Self::Generator(generator) => {
                let range = range.start as u64..range.end as u64;
                ImageList::of_one_shape(generator.draw(range, device, jobs, stop)?, generator.model.image_shape())
            }
            Self::Files(files) => files.read(range)?,
            Self::Pixels(pixels, shape) => {
                let len = len_of(*shape);
                ImageList::of_one_shape(&pixels[range.start * len..range.end * len], *shape)
            }
            Self::Subset(pixels, shape, indices) => {
                let len = len_of(*shape);
                let image = |index: &u32| &pixels[*index as usize * len..][..len];
                let gathered: Vec<u8> = indices[range].iter().flat_map(image).copied().collect();
                ImageList::of_one_shape(gathered, *shape)
            }
        })
    }
}

fn len_of(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_so_many_images_or_so_many_bytes_and_every_image_is_in_one() {
        let of = |shape: [usize; 3], n: usize, max: usize| -> Vec<Range<usize>> {
            Images::Subset(&[], shape, Vec::new()).pieces(n, max).collect()
        };
        assert_eq!(of([1, 28, 28], 5, 2), [0..2, 2..4, 4..5]);
        assert!(of([1, 28, 28], 0, 2).is_empty());
        // 2^28 bytes hold four images of 2^26, and none of 2^29.
        assert_eq!(of([1, 1 << 13, 1 << 13], 6, 64), [0..4, 4..6]);
        assert_eq!(of([2, 1 << 14, 1 << 14], 2, 64), [0..1, 1..2]);
    }
}
