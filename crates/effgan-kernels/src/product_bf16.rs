//! The products of `product.rs` with factors rounded to bf16 and sums in f32, for processors with AVX-512 BF16.
//!
//! In each lane, an instruction of such a processor multiplies two pairs of bf16 and adds both products to an f32:
//! twice the work of an f32 instruction. Operands and results are f32. Two rows of A or B, rounded to nearest (ties to
//! even; values below 2⁻¹²⁶ become 0), are packed into one [`Line`].

use super::buffer::kept_by_length;
use super::geometry::BLOCK;
use super::product::{Blocks, BlocksMut, end};

/// Whether this processor has the instructions. If not, the functions here panic.
pub(crate) fn available() -> bool {
    avx512::available()
}

/// Two rows of a block in bf16, one after the other or interleaved; one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line([u32; BLOCK]);

kept_by_length!(Line, Line([0; BLOCK]), Line([u32::MAX; BLOCK]));

/// A matrix in bf16, block after block. The last row of an odd number is paired with zeros.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pack: Pack,
    lines: &'a [Line],
    blocks: usize,
    rows: usize,
}

/// How two rows lie in a [`Line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pack {
    /// One after the other, for the left factor of a product.
    Rows,
    /// Interleaved, for the right factor, and for both factors of a product with a transpose.
    Pairs,
}

impl<'a> Packed<'a> {
    /// Number of lines of a matrix of `rows` rows in `blocks` blocks.
    pub(crate) fn lines(rows: usize, blocks: usize) -> usize {
        blocks * rows.div_ceil(2)
    }

    /// Rounds `matrix`, of `rows` rows, into `lines`.
    pub(crate) fn write(pack: Pack, rows: usize, matrix: Blocks, lines: &'a mut [Line]) -> Self {
        assert!(available(), "bf16 products are for processors where `available()`");
        assert_eq!(lines.len(), Self::lines(rows, matrix.count));
        for (block, lines) in lines.chunks_exact_mut(rows.div_ceil(2).max(1)).enumerate() {
            let values = &matrix.values[block * matrix.stride..][..rows * BLOCK];
            // SAFETY: the processor has the instructions, by the assertion.
            unsafe {
                match pack {
                    Pack::Rows => avx512::round::<false>(values, lines),
                    Pack::Pairs => avx512::round::<true>(values, lines),
                }
            }
        }
        Self { pack, lines, blocks: matrix.count, rows }
    }

    /// A matrix that was [written](Self::write) to `lines`.
    pub(crate) fn of(pack: Pack, lines: &'a [Line], rows: usize, blocks: usize) -> Self {
        assert!(available(), "bf16 products are for processors where `available()`");
        assert_eq!(lines.len(), Self::lines(rows, blocks));
        Self { pack, lines, blocks, rows }
    }

    fn lines_per_block(&self) -> usize {
        self.rows.div_ceil(2)
    }
}

/// C = A B: `a.rows` × 16 · `a.blocks`, times 16 · `a.blocks` × 16 · `b.blocks`.
pub(crate) fn product(a: Packed, b: Packed, c: BlocksMut) {
    let (to, len, stride, count) = c.parts();
    assert_eq!([a.pack, b.pack], [Pack::Rows, Pack::Pairs]);
    assert_eq!((a.blocks * BLOCK, b.blocks), (b.rows, count), "the sizes of A, B and C disagree");
    assert!(len >= end(stride, count, a.rows), "C ends before its last block");
    // SAFETY: the processor has the instructions, as `Packed` asserts; sizes are checked above.
    unsafe { avx512::product(a, b, to, stride) };
}

/// C = Aᵀ B: A is `rows` × 16 · `a.blocks`, B `rows` × 16 · `b.blocks`, C 16 · `a.blocks` × 16 · `b.blocks`; added to C
/// when `add`.
pub(crate) fn product_of_transposed(a: Packed, b: Packed, c: BlocksMut, add: bool) {
    let (to, len, stride, count) = c.parts();
    assert_eq!([a.pack, b.pack], [Pack::Pairs; 2]);
    assert_eq!((a.rows, b.blocks), (b.rows, count), "the sizes of A, B and C disagree");
    assert!(len >= end(stride, count, a.blocks * BLOCK), "C ends before its last block");
    // SAFETY: the processor has the instructions, as `Packed` asserts; sizes are checked above.
    unsafe { avx512::product_of_transposed(a, b, to, stride, add) };
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

    pub(crate) unsafe fn product(_a: Packed, _b: Packed, _c: *mut f32, _c_stride: usize) {
        unreachable!("`available()` is false");
    }

    pub(crate) unsafe fn product_of_transposed(_a: Packed, _b: Packed, _c: *mut f32, _c_stride: usize, _add: bool) {
        unreachable!("`available()` is false");
    }
}

#[cfg(test)]
mod tests;
