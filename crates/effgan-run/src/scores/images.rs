//! Where images come from.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use effgan_data::ImageFiles;
use effgan_fl::ensemble::Selection;
use effgan_fl::{Ensemble, FlError};

use crate::failure::Result;

/// Images of one shape, some of which are asked for at a time.
pub enum Images<'a> {
    /// Samples of these generators with this seed: as many as are asked for.
    Model(&'a Ensemble, Selection, u64),
    /// A folder or an array file.
    Files(&'a ImageFiles),
    /// u8 `[n, c, h, w]` in memory, and `[c, h, w]`.
    Pixels(&'a [u8], [usize; 3]),
    /// Some of those, by their places.
    Some(&'a [u8], [usize; 3], Vec<u32>),
}

impl Images<'_> {
    /// `[c, h, w]`.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::Model(model, ..) => model.image_shape(),
            Self::Files(files) => files.shape(),
            Self::Pixels(_, shape) | Self::Some(_, shape, _) => *shape,
        }
    }

    /// How many there are; nothing for a model.
    pub fn len(&self) -> Option<usize> {
        match self {
            Self::Model(..) => None,
            Self::Files(files) => Some(files.len()),
            Self::Pixels(pixels, shape) => Some(pixels.len() / shape.iter().product::<usize>()),
            Self::Some(_, _, places) => Some(places.len()),
        }
    }

    /// The images of `range`, u8 `[n, c, h, w]`.
    ///
    /// # Errors
    /// A file that cannot be read, a member that is not what the manifest says; `stop` became true.
    pub fn read(&self, range: Range<usize>, jobs: usize, stop: &AtomicBool) -> Result<Vec<u8>> {
        let image_len: usize = self.shape().iter().product();
        Ok(match self {
            Self::Model(model, selection, seed) => {
                let go_on = || if stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(()) };
                let range = range.start as u64..range.end as u64;
                model.sample_while(&go_on, selection, &[], *seed, range, jobs)?
            }
            Self::Files(files) => files.read(range)?,
            Self::Pixels(pixels, _) => pixels[range.start * image_len..range.end * image_len].to_vec(),
            Self::Some(pixels, _, places) => {
                let image = |place: &u32| &pixels[*place as usize * image_len..][..image_len];
                places[range].iter().flat_map(image).copied().collect()
            }
        })
    }
}
