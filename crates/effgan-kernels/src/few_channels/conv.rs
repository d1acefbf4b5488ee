//! The convolution.

use rayon::prelude::*;

use super::frame::Frame;
use super::tile::{Place, Product};
use super::{check, with_scratch};
use crate::geometry::{BLOCK, Geometry};
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;

/// `output` = act(convolution of `input` + `bias`), with act(v) = v where v > 0 and `slope` · v elsewhere; a slope of 1
/// means no activation.
///
/// `input` is `[n, pixels, input.channels]`, `weights` `[kernel², input.channels, output.channels]`, `bias`
/// `[output.channels]`, `output` `[n, output.channels / 16, pixels, 16]`.
#[allow(clippy::too_many_arguments, reason = "a layer's input, output and parameters")]
pub fn conv(
    isa: Isa,
    g: &Geometry,
    n: usize,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    output: &mut [f32],
) {
    check(g, n, input, output, None);
    assert_eq!(weights.len(), g.num_weights(), "weights are [kernel², input.channels, output.channels]");
    assert!(bias.is_none_or(|bias| bias.len() == g.output.channels), "bias is [output.channels]");
    output.par_chunks_mut(g.output.len()).zip(input.par_chunks(g.input.len())).for_each(|(output, input)| {
        with_scratch([Frame::of(g).len(), 0, 0], |[frame, ..]| {
            conv_image(isa, g, input, weights, bias, slope, frame, output);
        });
    });
}

for_each_isa! {
    fn conv_image = conv_image_on(
        g: &Geometry, input: &[f32], weights: &[f32], bias: Option<&[f32]>, slope: f32,
        frame: &mut [f32], output: &mut [f32],
    );
}

/// One image of [`conv`].
#[inline(always)]
unsafe fn conv_image_on<L: Lanes>(
    g: &Geometry,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    frame: &mut [f32],
    output: &mut [f32],
) {
    Frame::of(g).pad(g, input, frame);
    // SAFETY: the caller's promise on instructions.
    unsafe {
        match g.stride * g.input.channels {
            1 => conv_lines::<L, 1>(g, frame, weights, bias, slope, output),
            2 => conv_lines::<L, 2>(g, frame, weights, bias, slope, output),
            3 => conv_lines::<L, 3>(g, frame, weights, bias, slope, output),
            4 => conv_lines::<L, 4>(g, frame, weights, bias, slope, output),
            6 => conv_lines::<L, 6>(g, frame, weights, bias, slope, output),
            8 => conv_lines::<L, 8>(g, frame, weights, bias, slope, output),
            step => unreachable!("`fits` refuses windows {step} floats apart"),
        }
    }
}

#[inline(always)]
unsafe fn conv_lines<L: Lanes, const STEP: usize>(
    g: &Geometry,
    frame: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    output: &mut [f32],
) {
    let apart = Frame::of(g).line;
    let (lines, run, width) = (g.kernel, g.kernel * g.input.channels, g.output.channels);
    for y in 0..g.output.height {
        let windows = &frame[y * g.stride * apart..];
        let product = Product { rows: g.output.width, windows, lines, apart, run, weights, width, bias, slope };
        let to = Place { out: &mut output[y * g.output.width * BLOCK..], row: BLOCK, block: g.output.pixels() * BLOCK };
        // SAFETY: the caller's promise on instructions.
        unsafe { product.into_place::<L, STEP>(to) };
    }
}
