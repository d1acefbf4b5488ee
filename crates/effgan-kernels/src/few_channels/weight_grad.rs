//! The gradient of the weights of either layer, and of a convolution's bias.

use rayon::prelude::*;

use super::correlation::{Correlation, tap_tile};
use super::frame::Frame;
use super::{Mask, check, image_of, mask_of, with_scratch};
use crate::buffer::{self, Buffer};
use crate::geometry::{BLOCK, Geometry};
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;

/// Images whose gradients are summed in one piece of work. Fixed, so that bits do not depend on the number of threads.
pub(super) const CHUNK: usize = 8;

/// `grad` = gradient of the weights, `[kernel², input.channels, output.channels]`. Returns the sum of `output` per
/// channel, which is the gradient of a convolution's bias.
///
/// One of `input` and `output` is what the layer read, the other the gradient of what it wrote. `mask` applies to
/// `output` first, as in [`conv_transpose`](super::conv_transpose()). Layouts are those of [`conv`](super::conv()).
pub fn weight_grad(
    isa: Isa,
    g: &Geometry,
    n: usize,
    input: &[f32],
    output: &[f32],
    mask: Option<Mask>,
    grad: &mut [f32],
) -> Vec<f32> {
    check(g, n, input, output, mask);
    assert_eq!(grad.len(), g.num_weights(), "weights are [kernel², input.channels, output.channels]");
    let length = grad.len() + g.output.channels;
    let mut partials = Buffer::zeros(n.div_ceil(CHUNK).max(1) * length);
    partials.par_chunks_mut(length).enumerate().for_each(|(chunk, partial)| {
        let lengths = [Frame::of(g).len_for_taps(), g.output.pixels() * BLOCK, 0];
        with_scratch(lengths, |[frame, masked, _]| {
            for i in chunk * CHUNK..n.min((chunk + 1) * CHUNK) {
                let input = &input[i * g.input.len()..][..g.input.len()];
                let mask = mask.map(|mask| mask_of(mask, i, g));
                weight_grad_image(isa, g, input, image_of(output, i, g), mask, frame, masked, partial);
            }
        });
    });
    // f32 is enough: one addition per chunk, where an image's own f32 sum has one per pixel.
    let (total, others) = partials.split_at_mut(length);
    for partial in others.chunks(length) {
        total.iter_mut().zip(partial).for_each(|(total, partial)| *total += partial);
    }
    grad.copy_from_slice(&total[..grad.len()]);
    let mut sums = buffer::take(g.output.channels);
    sums.copy_from_slice(&total[grad.len()..]);
    sums
}

for_each_isa! {
    fn weight_grad_image = weight_grad_image_on(
        g: &Geometry, input: &[f32], output: &[f32], mask: Option<Mask>,
        frame: &mut [f32], masked: &mut [f32], partial: &mut [f32],
    );
}

/// Adds one image to `partial`: the weights' gradient, then the sums of `output`. `masked` holds one vector per pixel.
#[inline(always)]
unsafe fn weight_grad_image_on<L: Lanes>(
    g: &Geometry,
    input: &[f32],
    output: &[f32],
    mask: Option<Mask>,
    frame: &mut [f32],
    masked: &mut [f32],
    partial: &mut [f32],
) {
    Frame::of(g).pad(g, input, frame);
    let correlation = Correlation::new(g, frame, output, mask, masked, partial);
    // SAFETY: the caller's promise on instructions.
    unsafe {
        match tap_tile::<L>(g.kernel, g.kernel * g.input.channels) {
            (5, 5) if L::N == BLOCK => correlation.of_taps::<L, 5, 5>(),
            (4, 4) if L::N == BLOCK => correlation.of_taps::<L, 4, 4>(),
            (2, 5) => correlation.of_taps::<L, 2, 5>(),
            (2, 4) => correlation.of_taps::<L, 2, 4>(),
            _ => correlation.of_taps::<L, 3, 3>(),
        }
    }
}
