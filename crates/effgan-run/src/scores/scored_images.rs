//! Sources of images: a model, files, or memory.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use effgan_data::ImageFiles;
use effgan_fl::ensemble::Selection;
use effgan_fl::sample::Draw;
use effgan_fl::{Ensemble, FlError};
use effgan_nn::Device;

use crate::failure::Result;

/// Images of one shape, which are read or generated in parts.
pub enum Images<'a> {
    /// Samples of the selected generators of a model with this seed; there is no limit to their number.
    Model(&'a Ensemble, Selection, u64),
    /// A folder of images or an array file.
    Files(&'a ImageFiles),
    /// Images in memory, u8 `[n, c, h, w]`, and their shape `[c, h, w]`.
    Pixels(&'a [u8], [usize; 3]),
    /// The images in memory with these indices.
    Subset(&'a [u8], [usize; 3], Vec<u32>),
}

impl Images<'_> {
    /// The shape `[c, h, w]` of an image.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::Model(model, ..) => model.image_shape(),
            Self::Files(files) => files.shape(),
            Self::Pixels(_, shape) | Self::Subset(_, shape, _) => *shape,
        }
    }

    /// The number of images; `None` for a model.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Model(..) => None,
            Self::Files(files) => Some(files.len()),
            Self::Pixels(pixels, shape) => Some(pixels.len() / shape.iter().product::<usize>()),
            Self::Subset(_, _, indices) => Some(indices.len()),
        }
    }

    /// Returns the images of `range`, u8 `[n, c, h, w]`; `jobs` threads draw those of a model on `device`.
    ///
    /// # Errors
    /// When a file cannot be read, a member does not match the manifest, or `stop` becomes true.
    pub fn read(&self, range: Range<usize>, device: Device, jobs: usize, stop: &AtomicBool) -> Result<Vec<u8>> {
        let image_len: usize = self.shape().iter().product();
        Ok(match self {
            Self::Model(model, selection, seed) => {
                let go_on = || if stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(()) };
                let range = range.start as u64..range.end as u64;
                model.sample_while(&go_on, selection, &Draw::new(*seed, range, device, jobs))?
            }
            Self::Files(files) => files.read(range)?,
            Self::Pixels(pixels, _) => pixels[range.start * image_len..range.end * image_len].to_vec(),
            Self::Subset(pixels, _, indices) => {
                let image = |index: &u32| &pixels[*index as usize * image_len..][..image_len];
                indices[range].iter().flat_map(image).copied().collect()
            }
        })
    }
}
