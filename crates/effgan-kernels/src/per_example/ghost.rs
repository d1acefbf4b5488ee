//! The ghost norm: the squared norm of the gradient Σᵢ windowᵢ ⊗ outputᵢ over pixels i is the sum over all pairs of
//! pixels i and j of (windowᵢ · windowⱼ)(outputᵢ · outputⱼ). Goodfellow 2015 (arXiv:1510.01799) for one pixel; Li et
//! al. 2022 (arXiv:2110.05679) for several.
//!
//! The products between windows are sums over taps of products between pixels, which on a [`Grid`] are a few shifts of
//! *one* matrix, the products between all pairs of rows: kernel² / stride² times as few as between windows.
//! Both matrices are symmetric, so that half of them is enough.

use super::grid::{Grid, copy_line};
use super::sums::lanes;
use super::{ROUNDING, UNDERFLOW};
use crate::buffer::Scratch;
use crate::cost::Cost;
use crate::geometry::BLOCK;
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;
use crate::product::{Blocks, BlocksMut, product_of_transposed};

/// Blocks of columns that are computed together: the width of a register tile.
const STRIP: usize = 3;

/// Added to each product of a pixel with itself (2⁻¹¹⁶): products of f32 that underflow are off by up to 2⁻¹⁵⁰, less
/// than what is added to the norm for a pixel of this size.
const FLOOR: f64 = 1.0 / (1_u128 << 116) as f64;

/// Whether all phases have the same taps.
fn fits(grid: &Grid) -> bool {
    grid.g.kernel.is_multiple_of(grid.g.stride)
}

/// Estimated nanoseconds per example, where the method fits.
pub(super) fn cost(cost: Cost, grid: &Grid) -> Option<f64> {
    let pairs = grid.output_rows * grid.output_rows / 2;
    let mut ns = 0.03 * (grid.reach * grid.reach + 3) as f64 * pairs as f64;
    for (rows, depth) in [grid.input_rows, grid.output_rows].into_iter().zip(grid.depths()) {
        let rows = rows.next_multiple_of(BLOCK);
        // Half of the pairs, and those beside the diagonal.
        ns += cost.product(rows * (rows + STRIP * BLOCK) / 2 * depth, 0.0) + 0.3 * (rows * depth) as f64;
    }
    fits(grid).then_some(ns)
}

/// The squared norm of the gradient of one example, rounded up.
///
/// An f32 sum of d products is off by at most about d · 2⁻²⁴ times the sum of their sizes, which is at most |windowᵢ| ·
/// |windowⱼ|, or |outputᵢ| · |outputⱼ|. The sum over all pairs is therefore off by at most that factor times (Σᵢ
/// |windowᵢ| ·
/// |outputᵢ|)².
pub(super) fn squared_norm(isa: Isa, grid: &Grid, input: &[f32], output: &[f32]) -> f64 {
    assert!(fits(grid), "the taps of {:?} differ between phases", grid.g);
    let of_input = products_of_rows(isa, grid.input_rows, grid.depths()[0], |rows| {
        grid.write_transposed_input(input, rows);
    });
    let of_output = products_of_rows(isa, grid.output_rows, grid.depths()[1], |rows| {
        grid.write_transposed_output(output, rows);
    });
    let Sums { norm, terms } = on_diagonal(grid, &of_input, &of_output);
    let norm =
        norm + 2.0 * below_diagonal(isa, grid, &Lines::of_input(grid, &of_input), &Lines::of_output(grid, &of_output));
    let taps = grid.g.kernel * grid.g.kernel;
    // Those of a line of pairs, four for the diagonal, and three for the multiplication by the example's factor.
    let roundings = grid.depths().iter().sum::<usize>() + taps + grid.output_rows / 4 + 24;
    let underflow = (grid.output_rows * grid.output_rows) as f64 * UNDERFLOW;
    norm + 1.01 * roundings as f64 * ROUNDING * terms * terms + underflow
}

/// The products between all pairs of rows of a matrix, `[rows / 16, rows, 16]` with `rows` rounded up to blocks; those
/// above the blocks of the diagonal are unspecified. `write` writes the transpose of the matrix, `[rows / 16, depth,
/// 16]`.
fn products_of_rows(isa: Isa, rows: usize, depth: usize, write: impl FnOnce(&mut [f32])) -> Scratch {
    let blocks = rows.div_ceil(BLOCK);
    let mut transposed = Scratch::of(blocks * depth * BLOCK);
    write(&mut transposed);
    let mut products = Scratch::of(blocks * blocks * BLOCK * BLOCK);
    for strip in (0..blocks).step_by(STRIP) {
        let values = &transposed[strip * depth * BLOCK..];
        let rows = |count| Blocks { values, stride: depth * BLOCK, count };
        let width = STRIP.min(blocks - strip);
        let below = &mut products[(strip * blocks + strip) * BLOCK * BLOCK..];
        let below = BlocksMut::new(below, blocks * BLOCK * BLOCK, width);
        product_of_transposed(isa, depth, rows(blocks - strip), rows(width), below, false);
    }
    products
}

/// The products between rows, line by line.
struct Lines {
    values: Scratch,
    /// Length of a line.
    len: usize,
    /// Index of the product with the first row in a line. What is before it is zero.
    start: usize,
}

impl Lines {
    /// Of the input: what is beyond the blocks of the diagonal is zero. A line may be read from up to [`Grid::first`]
    /// values before its start to a block after its end.
    fn of_input(grid: &Grid, products: &[f32]) -> Self {
        let start = grid.first.next_multiple_of(BLOCK);
        let len = start + grid.input_rows.next_multiple_of(BLOCK) + BLOCK;
        let mut lines = Self { values: Scratch::of(grid.input_rows * len), len, start };
        lines.values.fill(0.0);
        lines.fill(grid.input_rows, products);
        lines
    }

    /// Of the output: what is on or above the diagonal is zero.
    fn of_output(grid: &Grid, products: &[f32]) -> Self {
        let len = grid.output_rows.next_multiple_of(BLOCK);
        let mut lines = Self { values: Scratch::of(grid.output_rows * len), len, start: 0 };
        lines.fill(grid.output_rows, products);
        for row in 0..grid.output_rows {
            lines.values[row * len + row..(row + 1) * len].fill(0.0);
        }
        lines
    }

    fn fill(&mut self, rows: usize, products: &[f32]) {
        let block_len = rows.next_multiple_of(BLOCK) * BLOCK;
        let values = &mut self.values[..];
        for (block, products) in products.chunks_exact(block_len).enumerate() {
            for row in block * BLOCK..rows {
                copy_line(&products[row * BLOCK..], &mut values[row * self.len + self.start + block * BLOCK..]);
            }
        }
    }
}

for_each_isa! {
    /// The sum over pairs of different pixels of the products between their windows times those between their outputs.
    fn below_diagonal = below_diagonal_on(grid: &Grid, input: &Lines, output: &Lines) -> f64;
}

/// Unsafe only because [`for_each_isa`] requires it.
#[inline(always)]
unsafe fn below_diagonal_on<L: Lanes>(grid: &Grid, input: &Lines, output: &Lines) -> f64 {
    assert!(
        input.start >= grid.first && input.len >= input.start + grid.input_rows + BLOCK,
        "lines have room for shifts"
    );
    assert!(input.values.len() == grid.input_rows * input.len && output.values.len() == grid.output_rows * output.len);
    assert!(output.len.is_multiple_of(BLOCK) && output.len >= grid.output_rows);
    let (of_input, of_output) = (input.values.as_ptr(), output.values.as_ptr());
    let mut total = 0.0;
    for row in 0..grid.output_rows {
        // SAFETY: `first` is below `row`, so that a vector from there on ends in the line of the output; that of the
        // input has room for `grid.first` values before its start and for a block after its end.
        let sums = unsafe {
            let mut sums = L::splat(0.0);
            for first in (0..row).step_by(L::N) {
                let mut windows = L::splat(0.0);
                for y in 0..grid.reach {
                    for x in 0..grid.reach {
                        let shift = y * grid.width + x;
                        let shifted = (row + shift).wrapping_sub(grid.first);
                        if shifted < grid.input_rows {
                            let at = shifted * input.len + input.start + first + shift - grid.first;
                            windows = windows.add(L::load(of_input.add(at)));
                        }
                    }
                }
                sums = windows.mul_add(L::load(of_output.add(row * output.len + first)), sums);
            }
            sums
        };
        total += f64::from(lanes(sums).iter().sum::<f32>());
    }
    total
}

/// Sums over pixels.
struct Sums {
    /// Of |window|² · |output|².
    norm: f64,
    /// Of |window| · |output|, rounded up.
    terms: f64,
}

fn on_diagonal(grid: &Grid, of_input: &[f32], of_output: &[f32]) -> Sums {
    let square = |rows: usize, products: &[f32], row: usize| {
        f64::from(products[(row / BLOCK * rows.next_multiple_of(BLOCK) + row) * BLOCK + row % BLOCK])
    };
    let mut sums = Sums { norm: 0.0, terms: 0.0 };
    for row in 0..grid.output_rows {
        let mut window = 0.0;
        for (y, x) in (0..grid.reach).flat_map(|y| (0..grid.reach).map(move |x| (y, x))) {
            let shifted = (row + y * grid.width + x).wrapping_sub(grid.first);
            if shifted < grid.input_rows {
                window += square(grid.input_rows, of_input, shifted);
            }
        }
        let output = square(grid.output_rows, of_output, row);
        sums.norm += window * output;
        sums.terms += ((window + FLOOR) * (output + FLOOR)).sqrt();
    }
    sums
}
