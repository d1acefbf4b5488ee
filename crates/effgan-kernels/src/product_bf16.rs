//! The products of `product.rs` with factors rounded to bf16 and sums in f32, for processors with AVX-512 BF16.
//!
//! In each lane, an instruction of such a processor multiplies two pairs of bf16 and adds both products to an f32:
//! twice the work of an f32 instruction. Operands and results are f32. Two rows of A or B, rounded to nearest (ties to
//! even; values below 2⁻¹²⁶ become 0), are packed into one [`Line`].

use std::cell::RefCell;

use super::buffer::{Scratch, kept_by_length};
use super::geometry::BLOCK;
use super::product::{Blocks, BlocksMut, end};

/// Whether this processor has the instructions. If not, the functions here panic.
pub(crate) fn available() -> bool {
    avx512::available()
}

/// Two rows of a block in bf16, one after the other or interleaved; one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; BLOCK]);

kept_by_length!(Line, Line([0; BLOCK]), Line([u32::MAX; BLOCK]));

/// A matrix in bf16, block after block. The last row of an odd number is paired with zeros.
#[derive(Default)]
pub(crate) struct Packed {
    /// May be longer than the matrix, since it is reused.
    lines: Scratch<Line>,
    lines_per_block: usize,
    blocks: usize,
    rows: usize,
}

impl Packed {
    /// Packs `matrix`, of `rows` rows, as the left factor of a product: row after row.
    fn rows(&mut self, rows: usize, matrix: Blocks) {
        self.pack::<false>(rows, matrix);
    }

    /// Packs `matrix`, of `rows` rows, as the right factor of a product: the values of two rows are interleaved.
    pub(crate) fn pairs_of_rows(&mut self, rows: usize, matrix: Blocks) {
        self.pack::<true>(rows, matrix);
    }

    fn pack<const INTERLEAVED: bool>(&mut self, rows: usize, matrix: Blocks) {
        assert!(available(), "bf16 products are for processors where `available()`");
        (self.rows, self.lines_per_block, self.blocks) = (rows, rows.div_ceil(2), matrix.count);
        let len = self.blocks * self.lines_per_block;
        if self.lines.len() < len {
            self.lines = Scratch::of(len);
        }
        for block in 0..self.blocks {
            let lines = &mut self.lines[block * self.lines_per_block..][..self.lines_per_block];
            let values = &matrix.values[block * matrix.stride..][..rows * BLOCK];
            // SAFETY: the processor has the instructions, by the assertion.
            unsafe { avx512::round::<INTERLEAVED>(values, lines) };
        }
    }
}

/// Packs `b`, of `rows` rows, once for all [`product`]s with it: packing takes as long as a product with five to ten
/// rows.
pub(crate) fn pack(rows: usize, b: Blocks) -> Packed {
    let mut packed = Packed::default();
    packed.pairs_of_rows(rows, b);
    packed
}

thread_local! {
    /// A and B of the current product.
    static SCRATCH: RefCell<[Packed; 2]> = RefCell::default();
}

/// C = A B: `rows` × 16 · `a.count`, times 16 · `a.count` × 16 · blocks of B.
pub(crate) fn product(rows: usize, a: Blocks, b: &Packed, c: BlocksMut) {
    let (to, len, stride, count) = c.parts();
    assert_eq!((a.count * BLOCK, b.blocks), (b.rows, count), "the sizes of A, B and C disagree");
    assert!(len >= end(stride, count, rows), "C ends before its last block");
    SCRATCH.with_borrow_mut(|[packed_a, _]| {
        packed_a.rows(rows, a);
        // SAFETY: packing has asserted that the processor has the instructions; sizes are checked above.
        unsafe { avx512::product(packed_a, b, to, stride) };
    });
}

/// C = Aᵀ B: A is `rows` × 16 · `a.count`, B `rows` × 16 · `b.count`, C 16 · `a.count` × 16 · `b.count`; added to C
/// when `add`.
pub(crate) fn product_of_transposed(rows: usize, a: Blocks, b: Blocks, c: BlocksMut, add: bool) {
    let (to, len, stride, count) = c.parts();
    assert_eq!(b.count, count, "the sizes of B and C disagree");
    assert!(len >= end(stride, count, a.count * BLOCK), "C ends before its last block");
    SCRATCH.with_borrow_mut(|[packed_a, packed_b]| {
        packed_a.pairs_of_rows(rows, a);
        packed_b.pairs_of_rows(rows, b);
        // SAFETY: packing has asserted that the processor has the instructions; sizes are checked above.
        unsafe { avx512::product_of_transposed(packed_a, packed_b, to, stride, add) };
    });
}

#[cfg(target_arch = "x86_64")]
mod avx512;

/// For other targets. Never called, since packing asserts `available()`.
#[cfg(not(target_arch = "x86_64"))]
mod avx512 {
    use super::{Line, Packed};

    pub(crate) fn available() -> bool {
        false
    }

    pub(crate) unsafe fn round<const INTERLEAVED: bool>(_rows: &[f32], _lines: &mut [Line]) {
        unreachable!("`available()` is false");
    }

    pub(crate) unsafe fn product(_a: &Packed, _b: &Packed, _c: *mut f32, _c_stride: usize) {
        unreachable!("`available()` is false");
    }

    pub(crate) unsafe fn product_of_transposed(_a: &Packed, _b: &Packed, _c: *mut f32, _c_stride: usize, _add: bool) {
        unreachable!("`available()` is false");
    }
}

#[cfg(test)]
mod tests;
