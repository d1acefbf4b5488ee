//! The forward pass of a trained network's convolutions and poolings, with windows of any shape, for computing features
//! of images.
//!
//! The maps of a few images are one matrix with a row for each pixel, `[channels / 16, n · height · width, 16]`. A 1 ×
//! 1 convolution is then a product of matrices in place. One of 3 × 3 pixels and stride 1 takes Winograd's form where
//! that costs less. For any other one, the windows of some rows at a time are copied into a matrix first (im2col;
//! Chellapilla, Puri and Simard 2006). Branches are concatenated by writing to neighbouring channels. Each row is
//! computed by itself, so that the values of an image do not depend on its neighbours.

mod convolution;
mod maps;
mod pooling;

pub use convolution::Convolution;
pub use maps::Maps;
pub use pooling::{Pooling, pool};

use crate::geometry::BLOCK;

/// The window of a convolution or a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub size: [usize; 2],
    /// Distance between neighbouring windows in pixels, vertically and horizontally.
    pub stride: usize,
    /// Pixels of padding above and below, and left and right of the map.
    pub padding: [usize; 2],
}

impl Window {
    /// A window of odd `height` and `width` centred on each pixel, so that the output has the size of the map.
    pub const fn same(height: usize, width: usize) -> Self {
        Self { size: [height, width], stride: 1, padding: [height / 2, width / 2] }
    }

    /// A square window without padding.
    pub const fn inside(side: usize, stride: usize) -> Self {
        Self { size: [side, side], stride, padding: [0, 0] }
    }

    /// Height and width of the output for a map of height and width `map`.
    ///
    /// # Panics
    /// When the window is larger than the map with its padding.
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
