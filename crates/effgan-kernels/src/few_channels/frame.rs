//! An image with its padding.

use crate::buffer::Buffer;
use crate::geometry::Geometry;

/// Maximum number of lines of a tile of taps, and its longest run.
pub(super) const TAP_TILE: usize = 5;

/// Floats after the frame's last line: reading or adding four floats at a time may pass the end of a window.
const SPARE: usize = 8;

/// The layout of an image with its padding: `lines` lines of `line` floats, then [`SPARE`].
#[derive(Clone, Copy)]
pub(super) struct Frame {
    lines: usize,
    /// Floats of a line.
    pub(super) line: usize,
}

impl Frame {
    #[inline(always)]
    pub(super) fn of(g: &Geometry) -> Self {
        Self { lines: g.input.height + 2 * g.padding, line: (g.input.width + 2 * g.padding) * g.input.channels }
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.lines * self.line + SPARE
    }

    /// The length with room for a [tile of taps](super::correlation::tap_tile) that is larger than the kernel.
    #[inline(always)]
    pub(super) fn len_for_taps(self) -> usize {
        self.len() + TAP_TILE * self.line
    }

    /// Index of the image's first value.
    #[inline(always)]
    pub(super) fn start(self, g: &Geometry) -> usize {
        g.padding * (self.line + g.input.channels)
    }

    /// A frame in which each pixel is `bias`, or zero.
    pub(super) fn filled(self, g: &Geometry, bias: Option<&[f32]>) -> Buffer {
        let mut frame = Buffer::zeros(self.len());
        if let Some(bias) = bias {
            frame.chunks_mut(g.input.channels).for_each(|pixel| pixel.copy_from_slice(&bias[..pixel.len()]));
        }
        frame
    }

    /// Writes the image to `frame`, with zeros around it.
    #[inline(always)]
    pub(super) fn pad(self, g: &Geometry, image: &[f32], frame: &mut [f32]) {
        frame.fill(0.0);
        let line = g.input.width * g.input.channels;
        for (from, to) in image.chunks_exact(line).zip(frame[self.start(g)..].chunks_mut(self.line)) {
            to[..line].copy_from_slice(from);
        }
    }

    /// Copies the image out of `frame`.
    pub(super) fn inside(self, g: &Geometry, frame: &[f32], image: &mut [f32]) {
        let line = g.input.width * g.input.channels;
        for (to, from) in image.chunks_exact_mut(line).zip(frame[self.start(g)..].chunks(self.line)) {
            to.copy_from_slice(&from[..line]);
        }
    }
}
