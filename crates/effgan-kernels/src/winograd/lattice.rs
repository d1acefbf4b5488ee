//! The pixels of a plane that one transform reads or writes.

use crate::geometry::{BLOCK, MapShape};

/// Every `step`-th pixel of a plane of 16 channels, from `origin` on; zero outside the plane.
#[derive(Clone, Copy)]
pub(crate) struct Lattice {
    pub height: usize,
    pub width: usize,
    pub step: usize,
    /// Row and column of the first pixel, plus one, so that those in a border of one pixel are not negative.
    pub origin: [usize; 2],
}

impl Lattice {
    /// All pixels of a map.
    pub(crate) fn whole(shape: &MapShape) -> Self {
        Self { height: shape.height, width: shape.width, step: 1, origin: [1, 1] }
    }

    /// One of the four phases of a map with a border of one pixel.
    pub(crate) fn phase(shape: &MapShape, phase: usize) -> Self {
        Self { height: shape.height, width: shape.width, step: 2, origin: [phase / 2, phase % 2] }
    }

    /// Index of the start of row `y` in the plane, if it is inside.
    #[inline(always)]
    pub(crate) fn row(&self, y: usize) -> Option<usize> {
        let row = (self.step * y + self.origin[0]).wrapping_sub(1);
        (row < self.height).then(|| row * self.width * BLOCK)
    }

    /// Index of column `x` in a row of the plane, if it is inside.
    #[inline(always)]
    pub(crate) fn column(&self, x: usize) -> Option<usize> {
        let column = (self.step * x + self.origin[1]).wrapping_sub(1);
        (column < self.width).then(|| column * BLOCK)
    }

    /// From a pixel to the same one of the plane that follows: the transforms ask the caches for it while they are at
    /// this one.
    #[inline(always)]
    pub(crate) fn next_plane(&self) -> usize {
        self.height * self.width * BLOCK
    }
}
