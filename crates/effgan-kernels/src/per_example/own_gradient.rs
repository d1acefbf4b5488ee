//! The norm of an example's own gradient, which is computed and dropped.

use super::grid::{Grid, Tap};
use super::sums::size;
use super::{ROUNDING, UNDERFLOW};
use crate::buffer::{self, Scratch};
use crate::cost::Cost;
use crate::few_channels;
use crate::geometry::{BLOCK, Geometry};
use crate::im2col::{cols_len, cols_of, plain_len, plain_of};
use crate::isa::Isa;
use crate::matrix::matmul;
use crate::product::{Blocks, BlocksMut, product_of_transposed};

/// Estimated nanoseconds per example of [`by_taps`].
pub(super) fn cost(cost: Cost, grid: &Grid) -> f64 {
    let Geometry { input, output, .. } = grid.g;
    let maps = input.len() + output.len();
    cost.product(grid.output_rows * grid.g.num_weights(), 0.0) + 0.05 * (grid.g.num_weights() + maps) as f64
}

/// Rows of both matrices whose products are summed for a tap: the first ones, and how many.
fn rows(grid: &Grid, tap: Tap) -> ([usize; 2], usize) {
    let start = grid.first.saturating_sub(tap.shift);
    let end = (grid.first + grid.input_rows).saturating_sub(tap.shift).min(grid.output_rows);
    let count = end.saturating_sub(start);
    ([(start + tap.shift).saturating_sub(grid.first).min(grid.input_rows), start.min(grid.output_rows)], count)
}

/// Each tap's gradient is a product of two matrices, some rows of a phase of the input and of the output.
pub(super) fn by_taps(isa: Isa, grid: &Grid, input: &[f32], output: &[f32]) -> f64 {
    let [inputs, outputs] = [grid.g.input.channels, grid.g.output.channels];
    let mut input_rows = Scratch::of(grid.input_rows * grid.depths()[0]);
    grid.write_input(input, &mut input_rows);
    let mut output_rows = Scratch::of(grid.output_rows * outputs);
    grid.write_output(output, &mut output_rows);
    let mut grad = Scratch::of(inputs * outputs);
    let mut of_tap = |tap: Tap| {
        let ([input_row, output_row], count) = rows(grid, tap);
        let first = (tap.phase * inputs * grid.input_rows) + input_row * BLOCK;
        let a = Blocks { values: &input_rows[first..], stride: grid.input_rows * BLOCK, count: inputs / BLOCK };
        let values = &output_rows[output_row * BLOCK..];
        let b = Blocks { values, stride: grid.output_rows * BLOCK, count: outputs / BLOCK };
        let c = BlocksMut::new(&mut grad, inputs * BLOCK, outputs / BLOCK);
        product_of_transposed(isa, count, a, b, c, false);
        size(isa, &grad).powi(2)
    };
    grid.taps().map(&mut of_tap).sum::<f64>().sqrt()
}

/// By the kernel of a layer that reads images.
pub(super) fn of_few_channels(isa: Isa, g: &Geometry, input: &[f32], output: &[f32]) -> f64 {
    let mut grad = Scratch::of(g.num_weights());
    buffer::give_back(few_channels::weight_grad(isa, g, 1, input, output, None, &mut grad));
    size(isa, &grad)
}

/// By [`im2col`](crate::im2col), for shapes that no other method takes.
pub(super) fn by_im2col(isa: Isa, g: &Geometry, input: &[f32], output: &[f32]) -> f64 {
    let mut grad = Scratch::of(g.num_weights());
    let mut cols = Scratch::of(cols_len(g, 1));
    let mut plain = Scratch::of(plain_len(&g.output, output));
    let cols = cols_of(g, input, &mut cols).transposed();
    matmul(isa, cols, plain_of(&g.output, output, &mut plain), &mut grad, false);
    size(isa, &grad)
}

/// Largest error of the norm of a gradient, given the norms of both maps.
///
/// The gradient is a sum over pixels of products windowₚ ⊗ outputₚ. The f32 sum of P products is off by at most about P
/// · 2⁻²⁴ times the sum of their sizes, whose norm is at most Σₚ |windowₚ| · |outputₚ|, and so at most |windows| ·
/// |output|. A pixel is in at most ⌈kernel / stride⌉² windows.
pub(super) fn error(g: &Geometry, [input, output]: [f64; 2]) -> f64 {
    let pixels = g.output.pixels();
    // Six more: for an image's partial sums, for the mean before the convolution, and for the multiplication by the
    // example's factor.
    let relative = 1.01 * (pixels + 6) as f64 * ROUNDING;
    let underflow = (pixels * g.num_weights()) as f64 * UNDERFLOW;
    relative * g.kernel.div_ceil(g.stride) as f64 * input * output + underflow
}
