//! Feature maps of a few images as one matrix.

use crate::buffer::Buffer;
use crate::geometry::BLOCK;
use crate::winograd::Spacing;

/// Feature maps of a few images.
#[derive(Debug)]
pub struct Maps {
    pub(super) channels: usize,
    pub(super) n: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) values: Buffer,
}

impl Maps {
    /// Maps with unspecified values.
    ///
    /// # Panics
    /// When `channels` is not a multiple of 16.
    pub fn of(channels: usize, n: usize, [height, width]: [usize; 2]) -> Self {
        assert!(channels.is_multiple_of(BLOCK), "{channels} channels are not whole blocks of {BLOCK}");
        Self { channels, n, height, width, values: Buffer::of(channels * n * height * width) }
    }

    /// The maps of images `[n, c, height, width]` with c ≤ 16, padded to 16 channels with zeros.
    ///
    /// # Panics
    /// When c > 16, or `images` is not a whole number of images.
    pub fn of_images(images: &[f32], [c, height, width]: [usize; 3]) -> Self {
        let pixels = height * width;
        assert!(c <= BLOCK && images.len().is_multiple_of(c * pixels), "whole images of at most {BLOCK} channels");
        let mut maps = Self::of(BLOCK, images.len() / (c * pixels), [height, width]);
        for (lines, image) in maps.values.chunks_exact_mut(pixels * BLOCK).zip(images.chunks_exact(c * pixels)) {
            for (pixel, line) in lines.chunks_exact_mut(BLOCK).enumerate() {
                line.fill(0.0);
                (0..c).for_each(|channel| line[channel] = image[channel * pixels + pixel]);
            }
        }
        maps
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Number of images.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The mean of each channel over the pixels, computed in f64: `[n, channels]`.
    pub fn means(&self) -> Vec<f32> {
        let pixels = self.height * self.width;
        let mut means = vec![0.0; self.n * self.channels];
        for (i, lines) in self.values.chunks_exact(pixels * BLOCK).enumerate() {
            let (block, image) = (i / self.n, i % self.n);
            for (channel, mean) in means[image * self.channels + block * BLOCK..][..BLOCK].iter_mut().enumerate() {
                let sum: f64 = lines.iter().skip(channel).step_by(BLOCK).map(|&value| f64::from(value)).sum();
                *mean = (sum / pixels as f64) as f32;
            }
        }
        means
    }

    /// Distances between its planes.
    pub(super) fn spacing(&self) -> Spacing {
        let plane = self.height * self.width * BLOCK;
        Spacing { image: plane, block: self.n * plane }
    }

    /// Rows of the matrix, one per pixel of each image.
    pub(super) fn rows(&self) -> usize {
        self.n * self.height * self.width
    }

    /// The values of the blocks from `channel` on.
    pub(super) fn lines_from(&mut self, channel: usize) -> &mut [f32] {
        let rows = self.rows();
        &mut self.values[channel / BLOCK * rows * BLOCK..]
    }
}
