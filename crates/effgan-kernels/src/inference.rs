//! Convolutions and poolings of a trained network, forward alone and with windows of any shape: what features of images
//! are computed with.
//!
//! The maps of a few images are one matrix with a row for each pixel, `[channels / 16, n · height · width, 16]`. A
//! convolution of 1 × 1 is then a product of matrices as they lie, any other one a product of its windows, written out
//! for some rows at a time (im2col, Chellapilla, Puri and Simard 2006), and branches are joined by writing next to each
//! other. Each row is computed alone, so that an image's values do not depend on its neighbours.

mod convolution;
mod maps;
mod pooling;

pub use convolution::Convolution;
pub use maps::Maps;
pub use pooling::{Pooling, pool};

use crate::geometry::BLOCK;

/// Where a window lies: its height and width, its steps, and the border around the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub size: [usize; 2],
    /// Pixels from one window to the next, down and across.
    pub stride: usize,
    /// Pixels above and below, and left and right, that are outside of the map.
    pub padding: [usize; 2],
}

impl Window {
    /// The window of `height` × `width` whose centre is each pixel of the map: as many come out as go in.
    pub const fn same(height: usize, width: usize) -> Self {
        Self { size: [height, width], stride: 1, padding: [height / 2, width / 2] }
    }

    /// A square window inside of the map.
    pub const fn inside(side: usize, stride: usize) -> Self {
        Self { size: [side, side], stride, padding: [0, 0] }
    }

    /// Height and width of what comes of a map.
    ///
    /// # Panics
    /// When the window is larger than the map with its border.
    pub fn of_map(&self, map: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|i| (map[i] + 2 * self.padding[i] - self.size[i]) / self.stride + 1)
    }

    fn is_a_pixel(&self) -> bool {
        *self == Self::same(1, 1)
    }
}

#[inline(always)]
fn line(plane: &[f32], pixel: usize) -> &[f32; BLOCK] {
    plane[pixel * BLOCK..][..BLOCK].try_into().expect("a line has as many values as a block")
}

#[cfg(test)]
mod tests;
