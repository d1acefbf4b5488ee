//! The transforms of weights and of their gradients.

use super::product_layout::{AXIS_POINTS, ProductLayout};
use crate::buffer::Buffer;
use crate::geometry::BLOCK;
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;

/// G w for the convolution: a matrix of 4 · input channels × output channels per point.
pub(crate) fn weights_into_products(isa: Isa, layout: &ProductLayout, weights: &[f32], products: &mut [f32]) {
    assert_eq!(weights.len(), layout.g.num_weights());
    assert_eq!(products.len(), layout.weights_len());
    weights_for_conv(isa, layout, weights, products);
}

for_each_isa! { fn weights_for_conv = weights_for_conv_on(layout: &ProductLayout, weights: &[f32], products: &mut [f32]); }

#[inline(always)]
pub(crate) unsafe fn weights_for_conv_on<L: Lanes>(layout: &ProductLayout, weights: &[f32], products: &mut [f32]) {
    let (input, output) = (layout.g.input.channels, layout.g.output.channels);
    let at = WeightPoints { tap_stride: input * output, point_stride: layout.point_stride() };
    for column in (0..output).step_by(L::N) {
        for (phase, row) in (0..4).flat_map(|phase| (0..input).map(move |row| (phase, row))) {
            let line = (column / BLOCK * 4 * input + phase * input + row) * BLOCK + column % BLOCK;
            // SAFETY: lengths are checked above.
            unsafe { at.of::<L>(weights.as_ptr().add(row * output + column), phase, products.as_mut_ptr().add(line)) };
        }
    }
}

/// (G w)ᵀ for the transposed convolution: a matrix of output channels × 4 · input channels per point.
pub(crate) fn weights_into_transposed_products(
    isa: Isa,
    layout: &ProductLayout,
    weights: &[f32],
    products: &mut [f32],
) {
    assert_eq!(weights.len(), layout.g.num_weights());
    assert_eq!(products.len(), layout.weights_len());
    let (rows, columns) = (weights.len() / layout.g.output.channels, layout.g.output.channels);
    let mut transposed = Buffer::of(weights.len());
    transpose(weights, rows, columns, &mut transposed);
    weights_for_conv_transpose(isa, layout, &transposed, products);
}

/// Transposes a matrix of `rows` × `columns`, both multiples of 16, in squares of 16 × 16.
pub(crate) fn transpose(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
    for (row, column) in (0..rows).step_by(BLOCK).flat_map(|row| (0..columns).step_by(BLOCK).map(move |c| (row, c))) {
        let mut square = [[0.0; BLOCK]; BLOCK];
        for j in 0..BLOCK {
            let line = &from[(row + j) * columns + column..][..BLOCK];
            for i in 0..BLOCK {
                square[i][j] = line[i];
            }
        }
        for i in 0..BLOCK {
            to[(column + i) * rows + row..][..BLOCK].copy_from_slice(&square[i]);
        }
    }
}

for_each_isa! { fn weights_for_conv_transpose = weights_for_conv_transpose_on(layout: &ProductLayout, transposed: &[f32], products: &mut [f32]); }

#[inline(always)]
pub(crate) unsafe fn weights_for_conv_transpose_on<L: Lanes>(
    layout: &ProductLayout,
    transposed: &[f32],
    products: &mut [f32],
) {
    let (input, output) = (layout.g.input.channels, layout.g.output.channels);
    let at = WeightPoints { tap_stride: input, point_stride: layout.point_stride() };
    for (phase, column) in (0..4).flat_map(|phase| (0..input).step_by(L::N).map(move |column| (phase, column))) {
        for row in 0..output {
            let column_of_all = phase * input + column;
            let line = (column_of_all / BLOCK * output + row) * BLOCK + column_of_all % BLOCK;
            // SAFETY: lengths are checked above.
            unsafe {
                at.of::<L>(transposed.as_ptr().add(row * 16 * input + column), phase, products.as_mut_ptr().add(line));
            };
        }
    }
}

/// Transforms between the 2 × 2 taps of a phase and the 25 points.
#[derive(Clone, Copy)]
pub(crate) struct WeightPoints {
    tap_stride: usize,
    point_stride: usize,
}

impl WeightPoints {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, weights: *const f32, phase: usize, points: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            let zero = L::splat(0.0);
            let mut rows = [[zero; 2]; AXIS_POINTS];
            for x in 0..2 {
                let first = L::load(weights.add(tap(phase, 0, x) * self.tap_stride));
                let second = L::load(weights.add(tap(phase, 1, x) * self.tap_stride));
                let column = at_points([first, second]);
                for y in 0..AXIS_POINTS {
                    rows[y][x] = column[y];
                }
            }
            for y in 0..AXIS_POINTS {
                let row = at_points(rows[y]);
                for x in 0..AXIS_POINTS {
                    row[x].store(points.add((y * AXIS_POINTS + x) * self.point_stride));
                }
            }
        }
    }

    /// Gᵀ: writes the gradients of the 2 × 2 taps of a phase, given those of the 25 points.
    #[inline(always)]
    unsafe fn back<L: Lanes>(self, points: *const f32, phase: usize, grad: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            let zero = L::splat(0.0);
            let mut rows = [[zero; AXIS_POINTS]; 2];
            for x in 0..AXIS_POINTS {
                let mut column = [zero; AXIS_POINTS];
                for y in 0..AXIS_POINTS {
                    column[y] = L::load(points.add((y * AXIS_POINTS + x) * self.point_stride));
                }
                let taps = of_points(column);
                for y in 0..2 {
                    rows[y][x] = taps[y];
                }
            }
            for y in 0..2 {
                let taps = of_points(rows[y]);
                for x in 0..2 {
                    taps[x].store(grad.add(tap(phase, y, x) * self.tap_stride));
                }
            }
        }
    }
}

/// Index of tap (`y`, `x`) of a phase among the 16 of the window.
#[inline(always)]
pub(crate) fn tap(phase: usize, y: usize, x: usize) -> usize {
    (phase / 2 + 2 * y) * 4 + phase % 2 + 2 * x
}

/// G: the values of the polynomial w₀ + w₁ t at 0, 1, −1, 2 and ∞.
#[inline(always)]
pub(crate) fn at_points<L: Lanes>([w0, w1]: [L; 2]) -> [L; AXIS_POINTS] {
    [w0, w0.add(w1), w0.sub(w1), w1.scale_add(2.0, w0), w1]
}

/// Gᵀ, the transpose of [`at_points`].
#[inline(always)]
pub(crate) fn of_points<L: Lanes>([u0, u1, u2, u3, u4]: [L; AXIS_POINTS]) -> [L; 2] {
    [u0.add(u1).add(u2.add(u3)), u3.scale_add(2.0, u1.sub(u2)).add(u4)]
}

/// Gᵀ: writes the gradient of the weights, given that of their products.
pub(crate) fn weights_out_of_products(isa: Isa, layout: &ProductLayout, products: &[f32], grad: &mut [f32]) {
    assert_eq!(grad.len(), layout.g.num_weights());
    assert_eq!(products.len(), layout.weights_len());
    weights_back(isa, layout, products, grad);
}

for_each_isa! { fn weights_back = weights_back_on(layout: &ProductLayout, products: &[f32], grad: &mut [f32]); }

#[inline(always)]
pub(crate) unsafe fn weights_back_on<L: Lanes>(layout: &ProductLayout, products: &[f32], grad: &mut [f32]) {
    let (input, output) = (layout.g.input.channels, layout.g.output.channels);
    let at = WeightPoints { tap_stride: input * output, point_stride: layout.point_stride() };
    for (phase, row) in (0..4).flat_map(|phase| (0..input).map(move |row| (phase, row))) {
        for column in (0..output).step_by(L::N) {
            let line = (column / BLOCK * 4 * input + phase * input + row) * BLOCK + column % BLOCK;
            // SAFETY: lengths are checked above.
            unsafe { at.back::<L>(products.as_ptr().add(line), phase, grad.as_mut_ptr().add(row * output + column)) };
        }
    }
}
