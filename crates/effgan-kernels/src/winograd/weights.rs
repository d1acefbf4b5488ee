//! The transforms of weights and of their gradients.

use std::ops::Range;

use super::axis::{MAX_POINTS, MAX_TAPS};
use super::form::Form;
use super::product_layout::{ProductLayout, with_form};
use crate::geometry::{BLOCK, Side};
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;
use crate::parallel_for::{Shared, parallel_for};

/// Rows of a matrix that one call transforms.
const ROWS: usize = 64;
/// Blocks of columns that one call transforms row by row: as many lines of a row lie side by side.
const BLOCKS: usize = 2;
/// Rows ahead of the current one whose weights are prefetched: they are far apart, and processors do not foresee it.
const AHEAD: usize = 8;

/// A part of the matrices of all points: some of their rows, and some blocks of their columns.
#[derive(Clone)]
struct Part {
    rows: Range<usize>,
    blocks: Range<usize>,
}

/// Calls `work` for each part of matrices of `rows` rows and `blocks` blocks of columns.
fn each_part(rows: usize, blocks: usize, work: impl Fn(Part) + Send + Sync) {
    let (down, across) = (rows.div_ceil(ROWS), blocks.div_ceil(BLOCKS));
    let part = |i: usize, size: usize, of: usize| i * size..((i + 1) * size).min(of);
    parallel_for(down * across, |i| {
        work(Part { rows: part(i % down, ROWS, rows), blocks: part(i / down, BLOCKS, blocks) });
    });
}

/// G w: writes the products of those weights that write the blocks of columns `blocks` of the map `to`. They are a
/// matrix per point, whose rows are the columns of the other map's products.
pub(crate) fn weights_into_products(
    isa: Isa,
    layout: &ProductLayout,
    to: Side,
    blocks: Range<usize>,
    weights: &[f32],
    products: &mut [f32],
) {
    assert_eq!(weights.len(), layout.g.num_weights());
    assert!(blocks.end <= layout.blocks(to));
    assert_eq!(products.len(), layout.weights_len(to, blocks.len()));
    let (first, points) =
        (blocks.start, Points { stride: layout.point_stride(to, blocks.len()), start: Shared::new(products) });
    each_part(layout.blocks(to.other()) * BLOCK, blocks.len(), |part| match to {
        Side::Output => part_for_conv(isa, layout, first, part, weights, points),
        Side::Input => part_for_conv_transpose(isa, layout, first, part, weights, points),
    });
}

/// The matrices of all points.
#[derive(Clone, Copy)]
struct Points {
    start: Shared,
    /// Distance between the matrices of two points.
    stride: usize,
}

for_each_isa! { fn part_for_conv = part_for_conv_on(layout: &ProductLayout, first: usize, part: Part, weights: &[f32], points: Points); }
for_each_isa! { fn part_for_conv_transpose = part_for_conv_transpose_on(layout: &ProductLayout, first: usize, part: Part, weights: &[f32], points: Points); }

/// Calls `work` for each vector of a part, with its phase, its index among the weights of one tap, and its index in the
/// matrix of one point. A row is a phase and an input channel, a block 16 output channels, counted from block `first`.
#[inline(always)]
fn each_vector<L: Lanes>(layout: &ProductLayout, first: usize, part: Part, mut work: impl FnMut(usize, usize, usize)) {
    let (inputs, outputs) = (layout.g.input.channels, layout.g.output.channels);
    let rows = layout.blocks(Side::Input) * BLOCK;
    for row in part.rows {
        let (phase, channel) = (row / inputs, row % inputs);
        for block in part.blocks.clone() {
            for lane in (0..BLOCK).step_by(L::N) {
                let weight = channel * outputs + (first + block) * BLOCK + lane;
                work(phase, weight, (block * rows + row) * BLOCK + lane);
            }
        }
    }
}

/// Asks for the weights of the taps at `tap(y, x)` in a later row of the part.
#[inline(always)]
fn prefetch_taps<L: Lanes, F: Form>(tap: impl Fn(usize, usize) -> *const f32, outputs: usize) {
    for (y, x) in taps::<F>() {
        L::prefetch_far(tap(y, x).wrapping_add(AHEAD * outputs));
    }
}

#[inline(always)]
unsafe fn part_for_conv_on<L: Lanes>(
    layout: &ProductLayout,
    first: usize,
    part: Part,
    weights: &[f32],
    points: Points,
) {
    let (of_tap, outputs) = (layout.g.input.channels * layout.g.output.channels, layout.g.output.channels);
    with_form!(layout.kind, F => each_vector::<L>(layout, first, part, |phase, weight, product| {
        let tap = |y, x| weights.as_ptr().wrapping_add(weight + F::tap(phase, y, x) * of_tap);
        prefetch_taps::<L, F>(tap, outputs);
        // SAFETY: the caller has checked the lengths.
        unsafe { at_points::<L, F>(tap, points.start.pointer().add(product), points.stride) };
    }));
}

/// A row is an output channel, a block a phase and 16 input channels, counted from block `first`.
#[inline(always)]
unsafe fn part_for_conv_transpose_on<L: Lanes>(
    layout: &ProductLayout,
    first: usize,
    part: Part,
    weights: &[f32],
    points: Points,
) {
    let (inputs, outputs) = (layout.g.input.channels, layout.g.output.channels);
    with_form!(layout.kind, F => {
        // The taps' weights, each a square of 16 output channels by 16 input channels.
        let mut squares = [[[[0.0; BLOCK]; BLOCK]; MAX_TAPS]; MAX_TAPS];
        for block in part.blocks.clone() {
            let (phase, column) = ((first + block) * BLOCK / inputs, (first + block) * BLOCK % inputs);
            for start in part.rows.clone().step_by(BLOCK) {
                for (y, x) in taps::<F>() {
                    let from = (F::tap(phase, y, x) * inputs + column) * outputs + start;
                    for i in 0..BLOCK {
                        L::prefetch_far(weights.as_ptr().wrapping_add(from + i * outputs + 2 * BLOCK));
                    }
                    transpose(&weights[from..], outputs, &mut squares[y][x]);
                }
                for row in 0..BLOCK {
                    for lane in (0..BLOCK).step_by(L::N) {
                        // SAFETY: the caller has checked the lengths.
                        unsafe {
                            let to = points.start.pointer().add((block * outputs + start + row) * BLOCK + lane);
                            at_points::<L, F>(|y, x| squares[y][x][row].as_ptr().add(lane), to, points.stride);
                        }
                    }
                }
            }
        }
    });
}

/// Transposes 16 lines of 16 values, `stride` apart.
#[inline(always)]
fn transpose(from: &[f32], stride: usize, to: &mut [[f32; BLOCK]; BLOCK]) {
    for j in 0..BLOCK {
        let line = &from[j * stride..][..BLOCK];
        for i in 0..BLOCK {
            to[i][j] = line[i];
        }
    }
}

/// The taps of a phase.
#[inline(always)]
fn taps<F: Form>() -> impl Iterator<Item = (usize, usize)> {
    (0..F::TAPS).flat_map(|y| (0..F::TAPS).map(move |x| (y, x)))
}

/// G w of the taps at `tap(y, x)`: the value of point i is written to `points` + i · `point_stride`.
#[inline(always)]
unsafe fn at_points<L: Lanes, F: Form>(
    tap: impl Fn(usize, usize) -> *const f32,
    points: *mut f32,
    point_stride: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let zero = L::splat(0.0);
        let mut rows = [[zero; MAX_TAPS]; MAX_POINTS];
        for x in 0..F::TAPS {
            let mut column = [zero; MAX_TAPS];
            for y in 0..F::TAPS {
                column[y] = L::load(tap(y, x));
            }
            let column = F::at_points(column);
            for y in 0..F::POINTS {
                rows[y][x] = column[y];
            }
        }
        for y in 0..F::POINTS {
            let row = F::at_points(rows[y]);
            for x in 0..F::POINTS {
                row[x].store(points.add((y * F::POINTS + x) * point_stride));
            }
        }
    }
}

/// Gᵀ: writes the gradients of the weights of the blocks `blocks` of output channels, given those of their products.
///
/// # Safety
/// Nobody else reads or writes the gradients of these blocks at the same time.
pub(crate) unsafe fn weights_out_of_products(
    isa: Isa,
    layout: &ProductLayout,
    blocks: Range<usize>,
    products: &[f32],
    grad: Shared,
) {
    assert_eq!(grad.len(), layout.g.num_weights());
    assert!(blocks.end <= layout.blocks(Side::Output));
    assert_eq!(products.len(), layout.weights_len(Side::Output, blocks.len()));
    let (first, stride) = (blocks.start, layout.point_stride(Side::Output, blocks.len()));
    each_part(layout.blocks(Side::Input) * BLOCK, blocks.len(), |part| {
        part_back(isa, layout, first, part, stride, products, grad);
    });
}

for_each_isa! { fn part_back = part_back_on(layout: &ProductLayout, first: usize, part: Part, point_stride: usize, products: &[f32], grad: Shared); }

#[inline(always)]
unsafe fn part_back_on<L: Lanes>(
    layout: &ProductLayout,
    first: usize,
    part: Part,
    point_stride: usize,
    products: &[f32],
    grad: Shared,
) {
    let (of_tap, outputs) = (layout.g.input.channels * layout.g.output.channels, layout.g.output.channels);
    with_form!(layout.kind, F => each_vector::<L>(layout, first, part, |phase, weight, product| {
        let tap = |y, x| grad.pointer().wrapping_add(weight + F::tap(phase, y, x) * of_tap);
        prefetch_taps::<L, F>(|y, x| tap(y, x).cast_const(), outputs);
        // SAFETY: `weights_out_of_products` has checked the lengths; each part is written by one call.
        unsafe { of_points::<L, F>(products.as_ptr().add(product), point_stride, tap) };
    }));
}

/// Gᵀ u: the gradients of the taps are written to `tap(y, x)`.
#[inline(always)]
unsafe fn of_points<L: Lanes, F: Form>(
    points: *const f32,
    point_stride: usize,
    tap: impl Fn(usize, usize) -> *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let zero = L::splat(0.0);
        let mut rows = [[zero; MAX_POINTS]; MAX_TAPS];
        for x in 0..F::POINTS {
            let mut column = [zero; MAX_POINTS];
            for y in 0..F::POINTS {
                column[y] = L::load(points.add((y * F::POINTS + x) * point_stride));
            }
            let column = F::of_points(column);
            for y in 0..F::TAPS {
                rows[y][x] = column[y];
            }
        }
        for y in 0..F::TAPS {
            let row = F::of_points(rows[y]);
            for x in 0..F::TAPS {
                row[x].store(tap(y, x));
            }
        }
    }
}
