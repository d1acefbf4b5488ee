//! The transposed convolution, which is also the gradient of the convolution's input.

use rayon::prelude::*;

use super::frame::Frame;
use super::tile::{Place, Product};
use super::{Mask, check, image_of, mask_of, with_scratch};
use crate::activation::mask_line;
use crate::buffer::Buffer;
use crate::geometry::{BLOCK, Geometry};
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;

const SPACE: &str = "runs of taps end inside the products and the frame's spare floats";

/// `input` = transposed convolution of `output` (+ `bias`, `[input.channels]`).
///
/// With `mask`, `output` first passes back through a leaky `ReLU`: it is multiplied by the slope where the bit of its
/// sign is not set. Layouts are those of [`conv`](super::conv()).
#[allow(clippy::too_many_arguments, reason = "a layer's input, output and parameters")]
pub fn conv_transpose(
    isa: Isa,
    g: &Geometry,
    n: usize,
    output: &[f32],
    mask: Option<Mask>,
    weights: &[f32],
    bias: Option<&[f32]>,
    input: &mut [f32],
) {
    check(g, n, input, output, mask);
    assert_eq!(weights.len(), g.num_weights(), "weights are [kernel², input.channels, output.channels]");
    assert!(bias.is_none_or(|bias| bias.len() == g.input.channels), "bias is [input.channels]");
    let taps = Taps::of(g);
    let weights = taps.columns(g, weights);
    let empty = Frame::of(g).filled(g, bias);
    let lengths = [empty.len(), g.output.channels * g.output.width, taps.padded * g.output.width];
    input.par_chunks_mut(g.input.len()).enumerate().for_each(|(i, input)| {
        let output = image_of(output, i, g);
        let mask = mask.map(|mask| mask_of(mask, i, g));
        with_scratch(lengths, |[frame, masked, products]| {
            frame.copy_from_slice(&empty);
            conv_transpose_image(isa, g, output, mask, &weights, frame, masked, products);
            Frame::of(g).inside(g, frame, input);
        });
    });
}

/// Layout of a window's taps in a row of [`conv_transpose`]'s products: `[kernel, run]`, with `run` rounded up to a
/// multiple of four floats, so that they are added to the frame four at a time, and the whole row rounded up to whole
/// vectors. What rounding adds is zero.
#[derive(Clone, Copy)]
struct Taps {
    run: usize,
    padded: usize,
}

impl Taps {
    #[inline(always)]
    fn of(g: &Geometry) -> Self {
        let run = (g.kernel * g.input.channels).next_multiple_of(4);
        Self { run, padded: (g.kernel * run).next_multiple_of(BLOCK) }
    }

    /// `weights` as `[output.channels, padded]`.
    fn columns(self, g: &Geometry, weights: &[f32]) -> Buffer {
        let (run, channels) = (g.kernel * g.input.channels, g.output.channels);
        let mut columns = Buffer::zeros(channels * self.padded);
        for (tap, weights) in weights.chunks_exact(channels).enumerate() {
            let place = tap / run * self.run + tap % run;
            for (column, &weight) in columns.chunks_exact_mut(self.padded).zip(weights) {
                column[place] = weight;
            }
        }
        columns
    }
}

for_each_isa! {
    fn conv_transpose_image = conv_transpose_image_on(
        g: &Geometry, output: &[f32], mask: Option<Mask>, weights: &[f32],
        frame: &mut [f32], masked: &mut [f32], products: &mut [f32],
    );
}

/// One image of [`conv_transpose`]: adds it to `frame`. `masked` holds a line of `output`, `products` the taps of its
/// windows.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the buffers are the thread's")]
unsafe fn conv_transpose_image_on<L: Lanes>(
    g: &Geometry,
    output: &[f32],
    mask: Option<Mask>,
    weights: &[f32],
    frame: &mut [f32],
    masked: &mut [f32],
    products: &mut [f32],
) {
    let (taps, line) = (Taps::of(g), g.output.width * BLOCK);
    let (lines, run, width) = (g.output.channels / BLOCK, BLOCK, taps.padded);
    for y in 0..g.output.height {
        let (mut windows, mut apart) = (&output[y * line..], g.output.pixels() * BLOCK);
        if let Some(mask) = mask {
            // SAFETY: the caller's promise on instructions.
            unsafe { mask_lines::<L>(g, y, output, mask, masked) };
            (windows, apart) = (&*masked, line);
        }
        let rows = g.output.width;
        let product = Product { rows, windows, lines, apart, run, weights, width, bias: None, slope: 1.0 };
        // SAFETY: the caller's promise on instructions.
        unsafe { product.into_place::<L, BLOCK>(Place { out: products, row: width, block: BLOCK }) };
        add_windows(g, taps, products, &mut frame[y * g.stride * Frame::of(g).line..]);
    }
}

/// `masked` = line `y` of `output`, `[output.channels / 16, width, 16]`, back through the activation.
#[inline(always)]
unsafe fn mask_lines<L: Lanes>(g: &Geometry, y: usize, output: &[f32], (signs, slope): Mask, masked: &mut [f32]) {
    let (pixels, width) = (g.output.pixels(), g.output.width);
    for (block, masked) in masked.chunks_exact_mut(width * BLOCK).enumerate() {
        let first = block * pixels + y * width;
        let lines = output[first * BLOCK..][..width * BLOCK].as_chunks::<BLOCK>().0;
        for ((line, &signs), to) in lines.iter().zip(&signs[first..][..width]).zip(masked.chunks_exact_mut(BLOCK)) {
            // SAFETY: both are lines; the caller's promise on instructions.
            unsafe { mask_line::<L>(line.as_ptr(), signs, slope, to.as_mut_ptr()) };
        }
    }
}

/// Adds the products of a line of windows to `frame`, which starts at the first window.
#[inline(always)]
fn add_windows(g: &Geometry, taps: Taps, products: &[f32], frame: &mut [f32]) {
    match taps.run {
        4 => add_runs::<4>(g, taps, 0, products, frame),
        8 => add_runs::<8>(g, taps, 0, products, frame),
        12 => add_runs::<12>(g, taps, 0, products, frame),
        16 => add_runs::<16>(g, taps, 0, products, frame),
        run => {
            for part in (0..run).step_by(4) {
                add_runs::<4>(g, taps, part, products, frame);
            }
        }
    }
}

/// As [`add_windows`], for RUN floats of each run, from its float `part` on.
#[inline(always)]
fn add_runs<const RUN: usize>(g: &Geometry, taps: Taps, part: usize, products: &[f32], frame: &mut [f32]) {
    let (line, step) = (Frame::of(g).line, g.stride * g.input.channels);
    // Windows this far apart share no float. A load that overlaps two recent stores would wait for both.
    let apart = RUN.div_ceil(step);
    for first in 0..apart {
        for tap in 0..g.kernel {
            for x in (first..g.output.width).step_by(apart) {
                let from: &[f32; RUN] = products[x * taps.padded + tap * taps.run + part..].first_chunk().expect(SPACE);
                let to: &mut [f32; RUN] = frame[tap * line + x * step + part..].first_chunk_mut().expect(SPACE);
                for i in 0..RUN {
                    to[i] += from[i];
                }
            }
        }
    }
}
