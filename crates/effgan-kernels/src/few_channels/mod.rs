//! Convolution of an image of few channels (grey or colour) into a feature map in blocks of 16, and its transpose: the
//! outer layers of a DCGAN (Radford et al. 2016, arXiv:1511.06434).
//!
//! There is no im2col buffer, which would be kernel² / stride² times as large as the image. Windows are read from a
//! *frame*, a copy of the image with its padding (14 KB for 32 × 32 pixels of colour, less than an L1 cache). A row of
//! a window is one run of kernel · channels floats in the frame, and the windows of neighbouring pixels start stride ·
//! channels floats apart, a distance known at compile time. Besides the frame, a thread needs a line of the feature map
//! and its products, or, for the gradient of the weights, one block of the map.

mod conv;
mod conv_transpose;
mod correlation;
mod frame;
mod tile;
mod weight_grad;

pub use conv::conv;
pub use conv_transpose::conv_transpose;
pub use weight_grad::weight_grad;

use crate::buffer::Scratch;
use crate::cost::Cost;
use crate::geometry::{BLOCK, Geometry};

/// Whether these kernels take this geometry: at most four channels in `input`, whole blocks in `output`, and a distance
/// between windows that they are compiled for.
pub fn fits(g: &Geometry) -> bool {
    let windows_lie_in_frame =
        |output: usize, input: usize| (output - 1) * g.stride + g.kernel <= input + 2 * g.padding;
    g.input.channels <= 4
        && g.output.channels.is_multiple_of(BLOCK)
        && matches!(g.stride * g.input.channels, 1 | 2 | 3 | 4 | 6 | 8)
        && windows_lie_in_frame(g.output.height, g.input.height)
        && windows_lie_in_frame(g.output.width, g.input.width)
}

/// Estimated nanoseconds of a forward and a backward pass of `n` images, if the kernels take the geometry. They read
/// their windows in place, and reach three quarters of the speed of a product.
pub(crate) fn cost(cost: Cost, g: &Geometry, n: usize) -> Option<f64> {
    fits(g).then(|| 3.0 * 1.3 * cost.product(n * g.multiply_adds(), 0.0))
}

/// The [signs](crate::activation::signs) of a leaky ReLU's output, and its slope: a gradient passes back through it
/// before anything else.
type Mask<'a> = (&'a [u16], f32);

fn check(g: &Geometry, n: usize, input: &[f32], output: &[f32], mask: Option<Mask>) {
    assert!(fits(g), "the kernels of few channels do not take {g:?}");
    assert_eq!(input.len(), n * g.input.len(), "input is [n, pixels, channels]");
    assert_eq!(output.len(), n * g.output.len(), "output is [n, channels / 16, pixels, 16]");
    assert!(mask.is_none_or(|(signs, _)| BLOCK * signs.len() == output.len()), "the mask has output's shape");
}

fn image_of<'a>(output: &'a [f32], i: usize, g: &Geometry) -> &'a [f32] {
    &output[i * g.output.len()..][..g.output.len()]
}

/// The mask of image `i`.
fn mask_of<'a>((signs, slope): Mask<'a>, i: usize, g: &Geometry) -> Mask<'a> {
    let len = g.output.len() / BLOCK;
    (&signs[i * len..][..len], slope)
}

/// Runs `work` on three pieces of memory of these lengths and with unspecified contents.
fn with_scratch(lengths: [usize; 3], work: impl FnOnce([&mut [f32]; 3])) {
    let [mut first, mut second, mut third] = lengths.map(Scratch::of);
    work([&mut first, &mut second, &mut third]);
}

#[cfg(test)]
mod tests;
