//! Shapes: feature maps in blocks of channels, and the geometry that a convolution and its transpose share.
//!
//! A convolution takes its *input* map to its *output* map. The transposed convolution of the same [`Geometry`] takes
//! the output map to the input map, and each is the gradient of the other with respect to what it reads: so three
//! kernels (`conv`, `conv_transpose`, `weight_grad`) are the forward and the backward pass of both layers. Everywhere
//! in this crate `input` and `output` name the maps of the *convolution*, even for a transposed one.

/// Channels that lie side by side in memory: 16 floats, one cache line and one AVX-512 register.
pub const BLOCK: usize = 16;

/// Shape of a feature map.
///
/// In memory a batch is `[n, channels / b, height · width, b]` with b = [`block`](Self::block): channels last within a
/// block (oneDNN calls it nChw16c). Unlike in plain NHWC, a kernel then reads cache lines of 16 channels at fixed
/// distances, for any number of channels, and products need no packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Channels, ≥ 1.
    pub channels: usize,
    /// Rows of pixels, ≥ 1.
    pub height: usize,
    /// Columns of pixels, ≥ 1.
    pub width: usize,
}

impl MapShape {
    /// Channels of a block: [`BLOCK`] where it divides the channels, else all of them (plain NHWC).
    pub fn block(&self) -> usize {
        if self.channels.is_multiple_of(BLOCK) { BLOCK } else { self.channels }
    }

    /// The same pixels with another number of channels.
    #[must_use]
    pub fn of_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// A map of half the sides.
    #[must_use]
    pub fn halved(self) -> Self {
        Self { height: self.height / 2, width: self.width / 2, ..self }
    }

    /// A map of twice the sides.
    #[must_use]
    pub fn doubled(self) -> Self {
        Self { height: 2 * self.height, width: 2 * self.width, ..self }
    }

    /// Height times width.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Number of values of one image's map, ≥ 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.channels * self.pixels()
    }

    /// Index of the value of channel `c` at row `y` and column `x` in the map of one image.
    pub fn index(&self, c: usize, y: usize, x: usize) -> usize {
        let block = self.block();
        ((c / block) * self.pixels() + y * self.width + x) * block + c % block
    }
}

/// One of the two maps of a [`Geometry`]. A layer that reads [`Input`](Self::Input) is a convolution, one that reads
/// [`Output`](Self::Output) a transposed convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The map that a convolution reads and a transposed one writes.
    Input,
    /// The map that a convolution writes and a transposed one reads.
    Output,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Input => Self::Output,
            Self::Output => Self::Input,
        }
    }
}

/// The maps and the window of a convolution, and of the transposed convolution that is its gradient.
///
/// Weights are `[kernel · kernel, input.channels, output.channels]`, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The convolution's input.
    pub input: MapShape,
    /// The convolution's output: (input side + 2 · padding − kernel) / stride + 1 pixels per side, rounded down.
    pub output: MapShape,
    /// Side of the square window, in pixels.
    pub kernel: usize,
    /// Distance between neighbouring windows, in pixels of the input.
    pub stride: usize,
    /// Rows and columns of zeros around the input.
    pub padding: usize,
}

impl Geometry {
    /// The geometry of a convolution of `input` into `output_channels` channels.
    pub fn of_conv(input: MapShape, output_channels: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let side = |side: usize| (side + 2 * padding - kernel) / stride + 1;
        let output = MapShape { channels: output_channels, height: side(input.height), width: side(input.width) };
        Self { input, output, kernel, stride, padding }
    }

    /// The geometry of the transposed convolution that reads `output` and writes `input_channels` channels.
    pub fn of_conv_transpose(
        output: MapShape,
        input_channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        let side = |side: usize| (side - 1) * stride + kernel - 2 * padding;
        let input = MapShape { channels: input_channels, height: side(output.height), width: side(output.width) };
        Self { input, output, kernel, stride, padding }
    }

    /// The shape of the map on `side`.
    pub fn map(&self, side: Side) -> &MapShape {
        match side {
            Side::Input => &self.input,
            Side::Output => &self.output,
        }
    }

    /// Number of weights.
    pub fn num_weights(&self) -> usize {
        self.kernel * self.kernel * self.input.channels * self.output.channels
    }

    /// Multiply-adds of one image, the same for `conv`, `conv_transpose` and `weight_grad`; those in the padding count
    /// too.
    pub fn multiply_adds(&self) -> usize {
        self.num_weights() * self.output.pixels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_and_its_transpose_have_the_same_geometry() {
        let input = MapShape { channels: 3, height: 28, width: 12 };
        let g = Geometry::of_conv(input, 5, 4, 2, 1);
        assert_eq!((g.output.height, g.output.width), (14, 6));
        assert_eq!(Geometry::of_conv_transpose(g.output, 3, 4, 2, 1), g);
    }

    #[test]
    fn channels_lie_in_blocks_of_sixteen_or_in_one() {
        let map = |channels| MapShape { channels, height: 2, width: 3 };
        assert_eq!(map(32).index(17, 1, 2), 16 * 6 + 5 * 16 + 1);
        assert_eq!(map(6).index(5, 0, 1), 6 + 5);
    }
}
