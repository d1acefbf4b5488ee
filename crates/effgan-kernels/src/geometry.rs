//! Shapes: feature maps in blocks of channels, and the link between two maps that a convolution is.

/// Channels that lie side by side in memory: 16 floats, one cache line and one AVX-512 register.
pub const BLOCK: usize = 16;

/// Shape of a feature map.
///
/// In memory a batch is `[n, channels / b, height · width, b]` with b = [`block`](Self::block): channels last within a
/// block (oneDNN calls it nChw16c). A kernel then walks over lines of 16 channels with fixed distances, whatever the
/// number of channels.
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
    /// b: [`BLOCK`] where it divides the channels, else all channels (plain NHWC).
    pub fn block(&self) -> usize {
        if self.channels.is_multiple_of(BLOCK) { BLOCK } else { self.channels }
    }

    /// Height times width.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values of one image's map; a map has at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.channels * self.pixels()
    }

    /// Where the value of channel `c` at pixel (`y`, `x`) of an image's map lies.
    pub fn index(&self, c: usize, y: usize, x: usize) -> usize {
        let block = self.block();
        ((c / block) * self.pixels() + y * self.width + x) * block + c % block
    }
}

/// One of the two maps that a link connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The map with more pixels, which a convolution starts from.
    Big,
    /// The map with fewer pixels, which a transposed convolution starts from.
    Small,
}

impl Side {
    /// The map at the other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Big => Self::Small,
            Self::Small => Self::Big,
        }
    }
}

/// A convolution takes `big` to `small`; a transposed one takes `small` to `big`; each is the other's gradient.
///
/// Weights are `[kernel · kernel, big.channels, small.channels]`, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The map with more pixels.
    pub big: MapShape,
    /// The map with fewer pixels: (side + 2 · padding − kernel) / stride + 1, rounded down, a side.
    pub small: MapShape,
    /// Width of the square window.
    pub kernel: usize,
    /// Distance between windows.
    pub stride: usize,
    /// Zeros around the big map.
    pub padding: usize,
}

impl Geometry {
    /// The link from `big` to a map of `small_channels`.
    pub fn of_conv(big: MapShape, small_channels: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let side = |side: usize| (side + 2 * padding - kernel) / stride + 1;
        let small = MapShape { channels: small_channels, height: side(big.height), width: side(big.width) };
        Self { big, small, kernel, stride, padding }
    }

    /// The link whose transposed convolution takes `small` to a map of `big_channels`.
    pub fn of_transposed(small: MapShape, big_channels: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let side = |side: usize| (side - 1) * stride + kernel - 2 * padding;
        let big = MapShape { channels: big_channels, height: side(small.height), width: side(small.width) };
        Self { big, small, kernel, stride, padding }
    }

    /// The map of a side.
    pub fn map(&self, side: Side) -> &MapShape {
        match side {
            Side::Big => &self.big,
            Side::Small => &self.small,
        }
    }

    /// Number of weights.
    pub fn num_weights(&self) -> usize {
        self.kernel * self.kernel * self.big.channels * self.small.channels
    }

    /// Multiply-adds of one image in any of the three directions, borders counted.
    pub fn multiply_adds(&self) -> usize {
        self.num_weights() * self.small.pixels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_give_the_same_link() {
        let big = MapShape { channels: 3, height: 28, width: 12 };
        let link = Geometry::of_conv(big, 5, 4, 2, 1);
        assert_eq!((link.small.height, link.small.width), (14, 6));
        assert_eq!(Geometry::of_transposed(link.small, 3, 4, 2, 1), link);
    }

    #[test]
    fn channels_lie_in_blocks_of_sixteen_or_in_one() {
        let map = |channels| MapShape { channels, height: 2, width: 3 };
        assert_eq!(map(32).index(17, 1, 2), 16 * 6 + 5 * 16 + 1);
        assert_eq!(map(6).index(5, 0, 1), 6 + 5);
    }
}
