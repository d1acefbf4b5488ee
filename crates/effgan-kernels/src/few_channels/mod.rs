//! Convolution between an image of few channels (grey or colour) and a feature map in blocks of 16: the outer layers of
//! a DCGAN (Radford et al. 2016, arXiv:1511.06434).
//!
//! No im2col buffer, which would be kernel² / stride² times the image, is written. The windows are read where they lie:
//! each image gets a frame, a copy with zeros around it (14 KB for 32 × 32 pixels of colour, less than an L1 cache). A
//! row of a window is one run of kernel · channels floats of the frame, and the windows of neighbouring pixels start
//! stride · channels floats apart, which is known at compile time. Beside the frame, a thread needs a line of the
//! feature map and its products, or one block of the map for the gradient of the weights.

mod correlation;
mod tile;

use std::cell::RefCell;

use rayon::prelude::*;

use crate::buffer::{self, Buffer};
use crate::geometry::{BLOCK, Geometry};
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;

use correlation::{Correlation, TAP_TILE, tap_tile};
use tile::{Place, Product};

/// Images whose weight gradients are summed by one thread. Fixed, so that bits do not depend on the number of threads.
const CHUNK: usize = 8;

/// Floats beyond the frame's last line: reading or adding four floats at a time may pass the end of a window.
const SPARE: usize = 8;

const SPACE: &str = "runs of taps end inside the products and the frame's spare floats";

/// Whether these kernels take this link: at most four channels in `big`, whole blocks in `small`, and a distance
/// between windows that they are compiled for.
pub fn fits(g: &Geometry) -> bool {
    let windows_lie_in_frame = |small: usize, big: usize| (small - 1) * g.stride + g.kernel <= big + 2 * g.padding;
    g.big.channels <= 4
        && g.small.channels.is_multiple_of(BLOCK)
        && matches!(g.stride * g.big.channels, 1 | 2 | 3 | 4 | 6 | 8)
        && windows_lie_in_frame(g.small.height, g.big.height)
        && windows_lie_in_frame(g.small.width, g.big.width)
}

/// `small` = act(convolution of `big` + `bias`), act(v) = v where v > 0, else `slope` · v; a `slope` of 1 is none.
///
/// `big` is `[n, pixels, big.channels]`, `weights` `[kernel², big.channels, small.channels]`, `bias`
/// `[small.channels]`, `small` `[n, small.channels / 16, pixels, 16]`.
#[allow(clippy::too_many_arguments)] // what a layer is
pub fn down(
    isa: Isa,
    g: &Geometry,
    n: usize,
    big: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    small: &mut [f32],
) {
    check(g, n, big, small, None);
    assert_eq!(weights.len(), g.num_weights(), "weights are [kernel², big.channels, small.channels]");
    assert!(bias.is_none_or(|bias| bias.len() == g.small.channels), "bias is [small.channels]");
    small.par_chunks_mut(g.small.len()).zip(big.par_chunks(g.big.len())).for_each(|(small, big)| {
        with_scratch([Frame::of(g).len(), 0, 0], |[frame, ..]| {
            down_image(isa, g, big, weights, bias, slope, frame, small);
        });
    });
}

/// `big` = transposed convolution of `small` (+ `bias`, `[big.channels]`).
///
/// With `mask` = (out, slope), `small` is first multiplied by slope where out ≤ 0: the gradient of a leaky `ReLU` whose
/// output is out, of `small`'s shape. Layouts as for [`down`].
#[allow(clippy::too_many_arguments)] // what a layer is
pub fn up(
    isa: Isa,
    g: &Geometry,
    n: usize,
    small: &[f32],
    mask: Option<(&[f32], f32)>,
    weights: &[f32],
    bias: Option<&[f32]>,
    big: &mut [f32],
) {
    check(g, n, big, small, mask);
    assert_eq!(weights.len(), g.num_weights(), "weights are [kernel², big.channels, small.channels]");
    assert!(bias.is_none_or(|bias| bias.len() == g.big.channels), "bias is [big.channels]");
    let taps = Taps::of(g);
    let weights = taps.columns(g, weights);
    let empty = Frame::of(g).filled(g, bias);
    let lengths = [empty.len(), g.small.channels * g.small.width, taps.padded * g.small.width];
    big.par_chunks_mut(g.big.len()).enumerate().for_each(|(i, big)| {
        let small = image_of(small, i, g);
        let mask = mask.map(|(out, slope)| (image_of(out, i, g), slope));
        with_scratch(lengths, |[frame, masked, products]| {
            frame.copy_from_slice(&empty);
            up_image(isa, g, small, mask, &weights, frame, masked, products);
            Frame::of(g).inside(g, frame, big);
        });
    });
}

/// `grad` = gradient of the weights, `[kernel², big.channels, small.channels]`, given `big` and the gradient `small`;
/// returns the sum of `small` per channel, which is the gradient of a convolution's bias.
///
/// `mask` is applied to `small` first, as in [`up`]. Layouts as for [`down`].
pub fn weight_grad(
    isa: Isa,
    g: &Geometry,
    n: usize,
    big: &[f32],
    small: &[f32],
    mask: Option<(&[f32], f32)>,
    grad: &mut [f32],
) -> Vec<f32> {
    check(g, n, big, small, mask);
    assert_eq!(grad.len(), g.num_weights(), "weights are [kernel², big.channels, small.channels]");
    let length = grad.len() + g.small.channels;
    let mut partials = Buffer::zeros(n.div_ceil(CHUNK).max(1) * length);
    partials.par_chunks_mut(length).enumerate().for_each(|(chunk, partial)| {
        let lengths = [Frame::of(g).len_for_taps(), g.small.pixels() * BLOCK, 0];
        with_scratch(lengths, |[frame, masked, _]| {
            for i in chunk * CHUNK..n.min((chunk + 1) * CHUNK) {
                let big = &big[i * g.big.len()..][..g.big.len()];
                let mask = mask.map(|(out, slope)| (image_of(out, i, g), slope));
                weight_grad_image(isa, g, big, image_of(small, i, g), mask, frame, masked, partial);
            }
        });
    });
    // f32: one addition per chunk, few beside those of an image's own f32 sum, which has a term for each pixel.
    let (total, others) = partials.split_at_mut(length);
    for partial in others.chunks(length) {
        total.iter_mut().zip(partial).for_each(|(total, partial)| *total += partial);
    }
    grad.copy_from_slice(&total[..grad.len()]);
    let mut sums = buffer::take(g.small.channels);
    sums.copy_from_slice(&total[grad.len()..]);
    sums
}

fn check(g: &Geometry, n: usize, big: &[f32], small: &[f32], mask: Option<(&[f32], f32)>) {
    assert!(fits(g), "{g:?} is not for the kernels of few channels");
    assert_eq!(big.len(), n * g.big.len(), "big is [n, pixels, channels]");
    assert_eq!(small.len(), n * g.small.len(), "small is [n, channels / 16, pixels, 16]");
    assert!(mask.is_none_or(|(out, _)| out.len() == small.len()), "the mask has small's shape");
}

fn image_of<'a>(small: &'a [f32], i: usize, g: &Geometry) -> &'a [f32] {
    &small[i * g.small.len()..][..g.small.len()]
}

/// Runs `work` on three buffers of the thread, of these lengths and with whatever was left in them.
fn with_scratch(lengths: [usize; 3], work: impl FnOnce([&mut [f32]; 3])) {
    thread_local! {
        static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let total = lengths.iter().sum();
        if scratch.len() < total {
            scratch.resize(total, 0.0);
        }
        let (first, rest) = scratch.split_at_mut(lengths[0]);
        let (second, rest) = rest.split_at_mut(lengths[1]);
        work([first, second, &mut rest[..lengths[2]]]);
    });
}

/// An image with its padding: `lines` lines of `line` floats.
#[derive(Clone, Copy)]
struct Frame {
    lines: usize,
    line: usize,
}

impl Frame {
    #[inline(always)]
    fn of(g: &Geometry) -> Self {
        Self { lines: g.big.height + 2 * g.padding, line: (g.big.width + 2 * g.padding) * g.big.channels }
    }

    #[inline(always)]
    fn len(self) -> usize {
        self.lines * self.line + SPARE
    }

    /// With room for the taps that a [tile of them](tap_tile) has in excess of the kernel's.
    #[inline(always)]
    fn len_for_taps(self) -> usize {
        self.len() + TAP_TILE * self.line
    }

    /// Where the image's first value lies.
    #[inline(always)]
    fn start(self, g: &Geometry) -> usize {
        g.padding * (self.line + g.big.channels)
    }

    /// A frame whose pixels are all `bias`, or zero.
    fn filled(self, g: &Geometry, bias: Option<&[f32]>) -> Buffer {
        let mut frame = Buffer::zeros(self.len());
        if let Some(bias) = bias {
            frame.chunks_mut(g.big.channels).for_each(|pixel| pixel.copy_from_slice(&bias[..pixel.len()]));
        }
        frame
    }

    /// Fills `frame` with zeros and the image.
    #[inline(always)]
    fn pad(self, g: &Geometry, image: &[f32], frame: &mut [f32]) {
        frame.fill(0.0);
        let line = g.big.width * g.big.channels;
        for (from, to) in image.chunks_exact(line).zip(frame[self.start(g)..].chunks_mut(self.line)) {
            to[..line].copy_from_slice(from);
        }
    }

    /// Copies the image out of `frame`.
    fn inside(self, g: &Geometry, frame: &[f32], image: &mut [f32]) {
        let line = g.big.width * g.big.channels;
        for (to, from) in image.chunks_exact_mut(line).zip(frame[self.start(g)..].chunks(self.line)) {
            to.copy_from_slice(&from[..line]);
        }
    }
}

for_each_isa! {
    fn down_image = down_image_on(
        g: &Geometry, big: &[f32], weights: &[f32], bias: Option<&[f32]>, slope: f32,
        frame: &mut [f32], small: &mut [f32],
    );
}

/// One image of [`down`].
#[inline(always)]
unsafe fn down_image_on<L: Lanes>(
    g: &Geometry,
    big: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    frame: &mut [f32],
    small: &mut [f32],
) {
    Frame::of(g).pad(g, big, frame);
    // SAFETY: the caller's promise on instructions.
    unsafe {
        match g.stride * g.big.channels {
            1 => down_lines::<L, 1>(g, frame, weights, bias, slope, small),
            2 => down_lines::<L, 2>(g, frame, weights, bias, slope, small),
            3 => down_lines::<L, 3>(g, frame, weights, bias, slope, small),
            4 => down_lines::<L, 4>(g, frame, weights, bias, slope, small),
            6 => down_lines::<L, 6>(g, frame, weights, bias, slope, small),
            8 => down_lines::<L, 8>(g, frame, weights, bias, slope, small),
            step => unreachable!("`fits` refuses windows {step} floats apart"),
        }
    }
}

#[inline(always)]
unsafe fn down_lines<L: Lanes, const STEP: usize>(
    g: &Geometry,
    frame: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    small: &mut [f32],
) {
    let apart = Frame::of(g).line;
    let (lines, run, width) = (g.kernel, g.kernel * g.big.channels, g.small.channels);
    for y in 0..g.small.height {
        let windows = &frame[y * g.stride * apart..];
        let product = Product { rows: g.small.width, windows, lines, apart, run, weights, width, bias, slope };
        let to = Place { out: &mut small[y * g.small.width * BLOCK..], row: BLOCK, block: g.small.pixels() * BLOCK };
        // SAFETY: the caller's promise on instructions.
        unsafe { product.into_place::<L, STEP>(to) };
    }
}

/// How a window's taps lie in a row of [`up`]'s products: `[kernel, run]`, `run` rounded up to four floats, so that
/// they are added to the frame four at a time; all of it rounded up to whole vectors. What is in excess is zero.
#[derive(Clone, Copy)]
struct Taps {
    run: usize,
    padded: usize,
}

impl Taps {
    #[inline(always)]
    fn of(g: &Geometry) -> Self {
        let run = (g.kernel * g.big.channels).next_multiple_of(4);
        Self { run, padded: (g.kernel * run).next_multiple_of(BLOCK) }
    }

    /// `weights` as `[small.channels, padded]`.
    fn columns(self, g: &Geometry, weights: &[f32]) -> Buffer {
        let (run, channels) = (g.kernel * g.big.channels, g.small.channels);
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
    fn up_image = up_image_on(
        g: &Geometry, small: &[f32], mask: Option<(&[f32], f32)>, weights: &[f32],
        frame: &mut [f32], masked: &mut [f32], products: &mut [f32],
    );
}

/// One image of [`up`]: adds it to `frame`. `masked` holds a line of `small`, `products` the taps of its windows.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the buffers belong to the thread
unsafe fn up_image_on<L: Lanes>(
    g: &Geometry,
    small: &[f32],
    mask: Option<(&[f32], f32)>,
    weights: &[f32],
    frame: &mut [f32],
    masked: &mut [f32],
    products: &mut [f32],
) {
    let (taps, line) = (Taps::of(g), g.small.width * BLOCK);
    let (lines, run, width) = (g.small.channels / BLOCK, BLOCK, taps.padded);
    for y in 0..g.small.height {
        let (mut windows, mut apart) = (&small[y * line..], g.small.pixels() * BLOCK);
        if let Some((out, slope)) = mask {
            mask_line(g, y, small, out, slope, masked);
            (windows, apart) = (&*masked, line);
        }
        let rows = g.small.width;
        let product = Product { rows, windows, lines, apart, run, weights, width, bias: None, slope: 1.0 };
        // SAFETY: the caller's promise on instructions.
        unsafe { product.into_place::<L, BLOCK>(Place { out: products, row: width, block: BLOCK }) };
        add_windows(g, taps, products, &mut frame[y * g.stride * Frame::of(g).line..]);
    }
}

/// `masked` = line `y` of `small`, `[small.channels / 16, width, 16]`, times `slope` where `out` ≤ 0.
#[inline(always)]
fn mask_line(g: &Geometry, y: usize, small: &[f32], out: &[f32], slope: f32, masked: &mut [f32]) {
    let (map, line) = (g.small.pixels() * BLOCK, g.small.width * BLOCK);
    for (block, masked) in masked.chunks_exact_mut(line).enumerate() {
        let from = block * map + y * line;
        for ((masked, &v), &out) in masked.iter_mut().zip(&small[from..][..line]).zip(&out[from..][..line]) {
            *masked = if out > 0.0 { v } else { v * slope };
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

/// The same for RUN floats of each run, from its place `part` on.
#[inline(always)]
fn add_runs<const RUN: usize>(g: &Geometry, taps: Taps, part: usize, products: &[f32], frame: &mut [f32]) {
    let (line, step) = (Frame::of(g).line, g.stride * g.big.channels);
    // Windows this far apart share no float: a load that overlaps two fresh stores would wait for them.
    let apart = RUN.div_ceil(step);
    for first in 0..apart {
        for tap in 0..g.kernel {
            for x in (first..g.small.width).step_by(apart) {
                let from: &[f32; RUN] = products[x * taps.padded + tap * taps.run + part..].first_chunk().expect(SPACE);
                let to: &mut [f32; RUN] = frame[tap * line + x * step + part..].first_chunk_mut().expect(SPACE);
                for i in 0..RUN {
                    to[i] += from[i];
                }
            }
        }
    }
}

for_each_isa! {
    fn weight_grad_image = weight_grad_image_on(
        g: &Geometry, big: &[f32], small: &[f32], mask: Option<(&[f32], f32)>,
        frame: &mut [f32], masked: &mut [f32], partial: &mut [f32],
    );
}

/// Adds one image to `partial`: the weights' gradient, then the sums of `small`. `masked` holds one vector per pixel.
#[inline(always)]
unsafe fn weight_grad_image_on<L: Lanes>(
    g: &Geometry,
    big: &[f32],
    small: &[f32],
    mask: Option<(&[f32], f32)>,
    frame: &mut [f32],
    masked: &mut [f32],
    partial: &mut [f32],
) {
    Frame::of(g).pad(g, big, frame);
    let correlation = Correlation::new(g, frame, small, mask, masked, partial);
    // SAFETY: the caller's promise on instructions.
    unsafe {
        match tap_tile::<L>(g.kernel, g.kernel * g.big.channels) {
            (5, 5) if L::N == BLOCK => correlation.of_taps::<L, 5, 5>(),
            (4, 4) if L::N == BLOCK => correlation.of_taps::<L, 4, 4>(),
            (2, 5) => correlation.of_taps::<L, 2, 5>(),
            (2, 4) => correlation.of_taps::<L, 2, 4>(),
            _ => correlation.of_taps::<L, 3, 3>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MapShape;
    use crate::reference::{self, assert_close, noise};

    /// f32 sums of at most some thousand products, relative to the largest result.
    const TOLERANCE: f64 = 2e-6;

    /// All that the kernels are compiled for; maps as narrow as one pixel and wider than the widest tile.
    fn geometry() -> impl Strategy<Value = Geometry> {
        let window = (1..=5usize, 1..=4usize, 0..=2usize);
        ((1..=4usize, 1..=3usize), (1..=7usize, 1..=19usize), window)
            .prop_map(|((big_channels, blocks), (height, width), (kernel, stride, padding))| {
                let padding = padding.min((kernel - 1) / 2);
                let small = MapShape { channels: blocks * BLOCK, height, width };
                Geometry::of_transposed(small, big_channels, kernel, stride, padding)
            })
            .prop_filter("the kernels are for it", fits)
    }

    /// Random big and small maps, weights, biases of both maps, and outputs of a leaky `ReLU`.
    struct Case {
        g: Geometry,
        n: usize,
        big: Vec<f32>,
        small: Vec<f32>,
        weights: Vec<f32>,
        small_bias: Vec<f32>,
        big_bias: Vec<f32>,
        out: Vec<f32>,
    }

    impl Case {
        fn of(g: Geometry, n: usize) -> Self {
            Self {
                g,
                n,
                big: noise(n * g.big.len(), 1),
                small: noise(n * g.small.len(), 2),
                weights: noise(g.num_weights(), 3),
                small_bias: noise(g.small.channels, 4),
                big_bias: noise(g.big.channels, 5),
                out: noise(n * g.small.len(), 6),
            }
        }

        fn masked(&self, slope: f32) -> Vec<f32> {
            self.small.iter().zip(&self.out).map(|(&v, &out)| if out > 0.0 { v } else { slope * v }).collect()
        }

        fn down(&self, isa: Isa, bias: Option<&[f32]>, slope: f32) -> Vec<f32> {
            let mut small = vec![f32::NAN; self.small.len()];
            down(isa, &self.g, self.n, &self.big, &self.weights, bias, slope, &mut small);
            small
        }

        fn up(&self, isa: Isa, mask: Option<(&[f32], f32)>, bias: Option<&[f32]>) -> Vec<f32> {
            let mut big = vec![f32::NAN; self.big.len()];
            up(isa, &self.g, self.n, &self.small, mask, &self.weights, bias, &mut big);
            big
        }

        fn weight_grad(&self, isa: Isa, mask: Option<(&[f32], f32)>) -> (Vec<f32>, Vec<f32>) {
            let mut grad = vec![f32::NAN; self.weights.len()];
            let sums = weight_grad(isa, &self.g, self.n, &self.big, &self.small, mask, &mut grad);
            (grad, sums)
        }
    }

    /// Sums over images and pixels of a map `[n, channels / 16, pixels, 16]`.
    fn channel_sums(g: &Geometry, small: &[f32]) -> Vec<f64> {
        let mut sums = vec![0.0; g.small.channels];
        for (i, &v) in small.iter().enumerate() {
            let block = i / (g.small.pixels() * BLOCK) % (g.small.channels / BLOCK);
            sums[block * BLOCK + i % BLOCK] += f64::from(v);
        }
        sums
    }

    fn grey() -> Geometry {
        Geometry::of_conv(MapShape { channels: 1, height: 28, width: 28 }, 64, 4, 2, 1)
    }

    fn colour() -> Geometry {
        Geometry::of_conv(MapShape { channels: 3, height: 32, width: 32 }, 32, 4, 2, 1)
    }

    fn holds_to_the_oracle(case: &Case) {
        let (g, n) = (&case.g, case.n);
        for isa in Isa::available() {
            let mut exact = reference::down(g, n, &case.big, &case.weights);
            assert_close("down", &case.down(isa, None, 1.0), &exact, TOLERANCE);
            for (i, v) in exact.iter_mut().enumerate() {
                let block = i / (g.small.pixels() * BLOCK) % (g.small.channels / BLOCK);
                *v += f64::from(case.small_bias[block * BLOCK + i % BLOCK]);
                *v *= if *v > 0.0 { 1.0 } else { f64::from(0.2f32) };
            }
            assert_close("down, leaky", &case.down(isa, Some(&case.small_bias), 0.2), &exact, TOLERANCE);

            let exact = reference::up(g, n, &case.small, &case.weights);
            assert_close("up", &case.up(isa, None, None), &exact, TOLERANCE);
            let masked = case.masked(0.2);
            let mask = Some((&case.out[..], 0.2));
            let mut exact = reference::up(g, n, &masked, &case.weights);
            for (i, v) in exact.iter_mut().enumerate() {
                *v += f64::from(case.big_bias[i % g.big.channels]);
            }
            assert_close("up, masked", &case.up(isa, mask, Some(&case.big_bias)), &exact, TOLERANCE);

            for (mask, small) in [(None, &case.small), (mask, &masked)] {
                let (grad, sums) = case.weight_grad(isa, mask);
                assert_close("grad", &grad, &reference::weight_grad(g, n, &case.big, small), TOLERANCE);
                assert_close("sums", &sums, &channel_sums(g, small), TOLERANCE);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn any_link_holds_to_the_f64_loops(g in geometry(), n in 0..=2usize) {
            holds_to_the_oracle(&Case::of(g, n));
        }
    }

    #[test]
    fn outer_layers_of_a_dcgan_hold_to_the_f64_loops() {
        holds_to_the_oracle(&Case::of(grey(), 9));
        holds_to_the_oracle(&Case::of(colour(), 2));
    }

    #[test]
    fn pixels_that_no_window_reaches_are_only_bias() {
        // Kernel 2, stride 2: the ninth line and column of the image are left out.
        let g = Geometry::of_conv(MapShape { channels: 1, height: 9, width: 9 }, 16, 2, 2, 0);
        let case = Case::of(g, 1);
        holds_to_the_oracle(&case);
        let big = case.up(Isa::PORTABLE, None, Some(&[0.5]));
        assert!((0..9).all(|i| big[8 * 9 + i] == 0.5 && big[i * 9 + 8] == 0.5));
    }

    #[test]
    fn many_channels_and_far_windows_do_not_fit() {
        let link = |channels, small, stride| {
            Geometry::of_conv(MapShape { channels, height: 9, width: 9 }, small, 3, stride, 1)
        };
        assert!(fits(&link(3, 16, 2)) && fits(&link(1, 32, 4)));
        assert!(!fits(&link(5, 16, 1)) && !fits(&link(1, 24, 2)) && !fits(&link(3, 16, 3)));
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let case = Case::of(grey(), 3 * CHUNK + 1);
        let mask = Some((&case.out[..], 0.2));
        for isa in Isa::available() {
            let results = [1, 2, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| (case.down(isa, None, 0.2), case.up(isa, mask, None), case.weight_grad(isa, mask)))
            });
            assert!(results[0] == results[1] && results[0] == results[2]);
        }
    }
}
