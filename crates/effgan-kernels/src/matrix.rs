//! Row-major matrices in slices, and their products.

use super::buffer::Scratch;
use super::geometry::BLOCK;
use super::isa::Isa;
use super::product::{Blocks, BlocksMut, product, product_of_transposed};

/// Number of blocks of columns that are multiplied at a time: the width of a register tile.
const STRIP: usize = 2;

/// A matrix in a slice, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row-major.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::of_spaced_rows(values, rows, columns, columns)
    }

    /// The first `columns` columns of `[rows, row_stride]`.
    pub(crate) fn of_spaced_rows(values: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert_eq!(Some(values.len()), rows.checked_mul(row_stride), "{rows} rows of {row_stride} values");
        assert!(columns <= row_stride, "{columns} columns of {row_stride} values");
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The transpose, of the same values.
    pub(crate) fn transposed(self) -> Self {
        let Self { values, rows, columns, row_stride, column_stride } = self;
        Self { values, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// Number of blocks of columns, the last of which may be filled up.
    fn blocks(&self) -> usize {
        self.columns.div_ceil(BLOCK)
    }

    /// Writes the blocks of columns from `first` on to `to`, `[blocks, rows, 16]`, with zeros beyond the last column and
    /// the last row.
    fn write_blocks(&self, first: usize, rows: usize, to: &mut [f32]) {
        for (block, to) in (first..).zip(to.chunks_exact_mut((rows * BLOCK).max(1))) {
            let columns = BLOCK.min(self.columns - block * BLOCK);
            let (inside, outside) = to.split_at_mut(self.rows * BLOCK);
            outside.fill(0.0);
            if columns < BLOCK {
                inside.fill(0.0);
            }
            let from = &self.values[(block * BLOCK * self.column_stride).min(self.values.len())..];
            if self.column_stride == 1 {
                for (row, line) in inside.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                    copy_line(line, &from[row * self.row_stride..][..columns]);
                }
            } else {
                for (row, line) in inside.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                    for (column, value) in line[..columns].iter_mut().enumerate() {
                        *value = from[row * self.row_stride + column * self.column_stride];
                    }
                }
            }
        }
    }
}

/// Copies with a length known at compile time in the usual case.
#[inline]
fn copy_line(to: &mut [f32; BLOCK], from: &[f32]) {
    match from.as_array() {
        Some(from) => *to = *from,
        None => to[..from.len()].copy_from_slice(from),
    }
}

/// Writes left · right, `[left.rows, right.columns]` row-major, to `product`, or adds it with `add`. Each value is one sum
/// in order.
pub(crate) fn matmul(isa: Isa, left: Matrix, right: Matrix, product: &mut [f32], add: bool) {
    assert_eq!(left.columns, right.rows, "the columns of the left factor meet the rows of the right");
    assert_eq!(Some(product.len()), left.rows.checked_mul(right.columns), "rows of the left, columns of the right");
    if product.is_empty() {
        return;
    }
    // Columns are filled up to whole blocks. Few columns are better the rows of the transpose.
    let filled_up = |rows: usize, columns: usize| rows * columns.next_multiple_of(BLOCK);
    if filled_up(right.columns, left.rows) < filled_up(left.rows, right.columns) {
        multiply(isa, right.transposed(), left.transposed(), product, [1, right.columns], add);
    } else {
        multiply(isa, left, right, product, [right.columns, 1], add);
    }
}

/// As [`matmul`], with the product's distances from row to row and from column to column.
fn multiply(isa: Isa, left: Matrix, right: Matrix, to: &mut [f32], distances: [usize; 2], add: bool) {
    let is_transposed = left.column_stride != 1;
    // The left factor as it is in memory, with its rows in blocks.
    let in_memory = if is_transposed { left.transposed() } else { left };
    let mut a = Scratch::of(in_memory.blocks() * in_memory.rows * BLOCK);
    in_memory.write_blocks(0, in_memory.rows, &mut a);
    let a = Blocks { values: &a, stride: in_memory.rows * BLOCK, count: in_memory.blocks() };
    let [rows, depth] = if is_transposed { [a.count * BLOCK, left.columns] } else { [left.rows, a.count * BLOCK] };
    let mut b = Scratch::of(STRIP * depth * BLOCK);
    let mut c = Scratch::of(STRIP * rows * BLOCK);
    for first in (0..right.blocks()).step_by(STRIP) {
        let blocks = STRIP.min(right.blocks() - first);
        let (b, c) = (&mut b[..blocks * depth * BLOCK], &mut c[..blocks * rows * BLOCK]);
        right.write_blocks(first, depth, b);
        let b = Blocks { values: b, stride: depth * BLOCK, count: blocks };
        let into = BlocksMut::new(c, rows * BLOCK, blocks);
        if is_transposed {
            product_of_transposed(isa, depth, a, b, into, false);
        } else {
            product(isa, rows, a, b, into);
        }
        for (block, lines) in (first..).zip(c.chunks_exact(rows * BLOCK)) {
            let columns = BLOCK.min(right.columns - block * BLOCK);
            write_rows(&lines[..left.rows * BLOCK], columns, &mut to[block * BLOCK * distances[1]..], distances, add);
        }
    }
}

/// Writes or adds the first `columns` values of each line to a row.
fn write_rows(lines: &[f32], columns: usize, to: &mut [f32], [row, column]: [usize; 2], add: bool) {
    for (i, line) in lines.as_chunks::<BLOCK>().0.iter().enumerate() {
        let to = &mut to[i * row..];
        if let (1, Some(to), BLOCK) = (column, to.first_chunk_mut::<BLOCK>(), columns) {
            for j in 0..BLOCK {
                to[j] = if add { to[j] + line[j] } else { line[j] };
            }
            continue;
        }
        for (j, value) in line[..columns].iter().enumerate() {
            let to = &mut to[j * column];
            *to = if add { *to + value } else { *value };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::naive::{assert_close_sums, noise};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn products_of_any_sizes_are_those_of_plain_loops(
            rows in 0_usize..40, depth in 0_usize..40, columns in 0_usize..70, spare in 0_usize..3,
            transposed in any::<[bool; 2]>(), add in any::<bool>(), seed in 0_u64..99,
        ) {
            let values = [(rows, depth, seed), (depth, columns, seed + 1)];
            let lay_out = |i: usize| {
                let (rows, columns, seed) = values[i];
                let [rows, columns] = if transposed[i] { [columns, rows] } else { [rows, columns] };
                noise(rows * (columns + spare), seed)
            };
            let all = [lay_out(0), lay_out(1)];
            let matrix = |i: usize| {
                let (rows, columns, _) = values[i];
                if transposed[i] {
                    Matrix::of_spaced_rows(&all[i], columns, rows, rows + spare).transposed()
                } else {
                    Matrix::of_spaced_rows(&all[i], rows, columns, columns + spare)
                }
            };
            let at = |matrix: Matrix, row: usize, column: usize| {
                f64::from(matrix.values[row * matrix.row_stride + column * matrix.column_stride])
            };
            let (left, right) = (matrix(0), matrix(1));
            let before = noise(rows * columns, seed + 2);
            let exact: Vec<f64> = (0..rows * columns).map(|i| {
                let (row, column) = (i / columns, i % columns);
                let sum: f64 = (0..depth).map(|k| at(left, row, k) * at(right, k, column)).sum();
                if add { f64::from(before[i]) + sum } else { sum }
            }).collect();
            for isa in Isa::available() {
                let mut product = before.clone();
                matmul(isa, left, right, &mut product, add);
                // f32 sums of at most 40 products.
                assert_close_sums(isa.name(), &product, &exact, 5e-6);
            }
        }
    }
}
