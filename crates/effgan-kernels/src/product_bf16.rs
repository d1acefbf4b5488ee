//! The products of `product.rs` with operands rounded to bf16 and sums in f32, for processors with AVX-512 BF16.
//!
//! Such a processor multiplies two pairs of bf16 and adds both products to an f32 in one lane, so that an instruction
//! does twice the work of an f32 one. Operands come and results go in f32; in between, two rows of A or B, rounded to
//! nearest (ties to even; what is below 2⁻¹²⁶ becomes 0), make one [`Line`].

use std::cell::RefCell;

use super::buffer::{Reused, kept_by_length};
use super::geometry::BLOCK;
use super::product::{Blocks, BlocksMut, end};

/// Whether this processor has what this file is made of; without it no product here may be called.
pub(crate) fn available() -> bool {
    avx512::available()
}

/// Two rows of a block in bf16, one after the other or interleaved: one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; BLOCK]);

kept_by_length!(Line, Line([0; BLOCK]), Line([u32::MAX; BLOCK]));

/// A matrix in blocks as [`Line`]s: block after block, the last row of an odd number paired with zeros.
#[derive(Default)]
pub(crate) struct Packed {
    /// May be longer than the matrix: what a larger one has left.
    lines: Reused<Line>,
    lines_per_block: usize,
    blocks: usize,
    rows: usize,
}

impl Packed {
    /// Becomes `matrix`, of `rows` rows, each row whole: the left side of a product.
    fn rows(&mut self, rows: usize, matrix: Blocks) {
        self.pack::<false>(rows, matrix);
    }

    /// Becomes `matrix`, of `rows` rows, the values of two rows interleaved: the right side of a product.
    pub(crate) fn pairs_of_rows(&mut self, rows: usize, matrix: Blocks) {
        self.pack::<true>(rows, matrix);
    }

    fn pack<const INTERLEAVED: bool>(&mut self, rows: usize, matrix: Blocks) {
        assert!(available(), "bf16 products are called only where `available()`");
        (self.rows, self.lines_per_block, self.blocks) = (rows, rows.div_ceil(2), matrix.count);
        let len = self.blocks * self.lines_per_block;
        if self.lines.len() < len {
            self.lines = Reused::of(len);
        }
        for block in 0..self.blocks {
            let lines = &mut self.lines[block * self.lines_per_block..][..self.lines_per_block];
            let values = &matrix.values[block * matrix.stride..][..rows * BLOCK];
            // SAFETY: the processor has the instructions, by the assertion.
            unsafe { avx512::round::<INTERLEAVED>(values, lines) };
        }
    }
}

/// B of a [`product`], of `rows` rows, for all products that it takes part in: packing it takes as long as a product
/// with five to ten rows.
pub(crate) fn pack(rows: usize, b: Blocks) -> Packed {
    let mut packed = Packed::default();
    packed.pairs_of_rows(rows, b);
    packed
}

thread_local! {
    /// A and B of the product that runs.
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
mod avx512 {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_loadu_ps,
        _mm512_loadu_si512, _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
        _mm512_store_si512, _mm512_storeu_ps,
    };
    use std::mem::transmute;

    use super::{BLOCK, Line, Packed};
    use crate::product::{tile_heights, tile_of_height};

    /// Rows of a tile: with two blocks of columns, 28 of the 32 registers hold sums.
    const TILE_ROWS: usize = 14;
    /// Pairs of columns in a row of a block.
    const PAIRS: usize = BLOCK / 2;

    /// Lane 2 i of two rows' 32 values is value i of the first, lane 2 i + 1 that of the second.
    const INTERLEAVE: [u16; 2 * BLOCK] = {
        let mut from = [0; 2 * BLOCK];
        let mut i = 0;
        while i < 2 * BLOCK {
            from[i] = (i / 2 + i % 2 * BLOCK) as u16;
            i += 1;
        }
        from
    };

    pub(crate) fn available() -> bool {
        let detected = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        detected && is_x86_feature_detected!("avx512bf16")
    }

    /// Rounds the rows of one block, of which two make a line.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(crate) fn round<const INTERLEAVED: bool>(rows: &[f32], lines: &mut [Line]) {
        let (twos, last) = rows.as_chunks::<{ 2 * BLOCK }>();
        for (two, line) in twos.iter().zip(&mut *lines) {
            round_two::<INTERLEAVED>(two, line);
        }
        if let (false, Some(line)) = (last.is_empty(), lines.last_mut()) {
            let mut two = [0.0; 2 * BLOCK];
            two[..BLOCK].copy_from_slice(last);
            round_two::<INTERLEAVED>(&two, line);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn round_two<const INTERLEAVED: bool>(two: &[f32; 2 * BLOCK], line: &mut Line) {
        let from = two.as_ptr();
        // SAFETY: both halves are inside `two`; types of 64 bytes that hold any bits; a line is aligned.
        unsafe {
            let rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from.add(BLOCK)), _mm512_loadu_ps(from));
            let mut values: __m512i = transmute(rounded);
            if INTERLEAVED {
                values = _mm512_permutexvar_epi16(_mm512_loadu_si512(INTERLEAVE.as_ptr().cast()), values);
            }
            _mm512_store_si512(line.0.as_mut_ptr().cast(), values);
        }
    }

    /// What a tile reads and writes. Distances are in pairs for A, in lines for B, in floats for C.
    #[derive(Clone, Copy)]
    struct Tile {
        a: *const u32,
        a_stride: usize,
        blocks: usize,
        pairs_per_block: usize,
        b: *const Line,
        b_stride: usize,
        c: *mut f32,
        c_stride: usize,
        add: bool,
    }

    /// Strip by strip of B's columns, so that a strip stays in the first cache while the rows of A pass.
    ///
    /// # Safety
    /// C's blocks, `c_stride` floats apart, hold A's rows; A has as many columns as B rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(crate) unsafe fn product(a: &Packed, b: &Packed, c: *mut f32, c_stride: usize) {
        for block in (0..b.blocks).step_by(2) {
            // SAFETY: the caller's.
            unsafe {
                let at = Tile {
                    a: a.lines.as_ptr().cast(),
                    a_stride: a.lines_per_block * BLOCK,
                    blocks: a.blocks,
                    pairs_per_block: PAIRS,
                    b: b.lines.as_ptr().add(block * b.lines_per_block),
                    b_stride: b.lines_per_block,
                    c: c.add(block * c_stride),
                    c_stride,
                    add: false,
                };
                if block + 2 <= b.blocks { strip::<2>(a.rows, at) } else { strip::<1>(a.rows, at) }
            }
        }
    }

    /// All rows of one strip of columns, `V` blocks wide, in tiles of nearly equal height.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn strip<const V: usize>(rows: usize, mut at: Tile) {
        for height in tile_heights(rows, TILE_ROWS) {
            // SAFETY: the heights of all tiles add up to `rows`.
            unsafe {
                tile_of_height!(height, H => tile::<V, H, PAIRS, 1>(at));
                at.a = at.a.add(height * PAIRS);
                at.c = at.c.add(height * BLOCK);
            }
        }
    }

    /// `H` values of A, `APART` pairs apart, times `V` blocks of B's columns, in registers; A's next pairs are `STEP`
    /// further.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn tile<const V: usize, const H: usize, const APART: usize, const STEP: usize>(at: Tile) {
        // SAFETY: the caller's rows and blocks are inside the matrices; types of 64 bytes that hold any bits.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); V]; H];
            let mut b = at.b;
            for block in 0..at.blocks {
                let mut a = at.a.add(block * at.a_stride);
                for _ in 0..at.pairs_per_block {
                    let mut row = [_mm512_setzero_si512(); V];
                    for v in 0..V {
                        row[v] = _mm512_load_si512(b.add(v * at.b_stride).cast());
                    }
                    for i in 0..H {
                        let pair: __m512bh = transmute(_mm512_set1_epi32((*a.add(i * APART)).cast_signed()));
                        for v in 0..V {
                            sums[i][v] = _mm512_dpbf16_ps(sums[i][v], pair, transmute::<__m512i, __m512bh>(row[v]));
                        }
                    }
                    a = a.add(STEP);
                    b = b.add(1);
                }
            }
            for i in 0..H {
                for v in 0..V {
                    let to = at.c.add(v * at.c_stride + i * BLOCK);
                    let sum = if at.add { _mm512_add_ps(sums[i][v], _mm512_loadu_ps(to)) } else { sums[i][v] };
                    _mm512_storeu_ps(to, sum);
                }
            }
        }
    }

    /// Tiles of Aᵀ B have 8 rows, which divide a block, and up to three blocks of columns.
    ///
    /// # Safety
    /// C's blocks, `c_stride` floats apart, hold as many rows as A has columns; A and B have the same number of rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(crate) unsafe fn product_of_transposed(a: &Packed, b: &Packed, c: *mut f32, c_stride: usize, add: bool) {
        const HEIGHT: usize = BLOCK / 2;
        for block in (0..b.blocks).step_by(3) {
            for first in (0..a.blocks * BLOCK).step_by(HEIGHT) {
                // SAFETY: the caller's.
                unsafe {
                    let of_block = a.lines.as_ptr().add(first / BLOCK * a.lines_per_block).cast::<u32>();
                    let at = Tile {
                        a: of_block.add(first % BLOCK),
                        a_stride: 0,
                        blocks: 1,
                        pairs_per_block: a.lines_per_block,
                        b: b.lines.as_ptr().add(block * b.lines_per_block),
                        b_stride: b.lines_per_block,
                        c: c.add(block * c_stride + first * BLOCK),
                        c_stride,
                        add,
                    };
                    match b.blocks - block {
                        1 => tile::<1, HEIGHT, 1, BLOCK>(at),
                        2 => tile::<2, HEIGHT, 1, BLOCK>(at),
                        _ => tile::<3, HEIGHT, 1, BLOCK>(at),
                    }
                }
            }
        }
    }
}

/// Stands in where the target has no such instructions, for code that is never reached: packing asserts `available()`.
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reference::{assert_close, noise};

    fn at(rows: usize, r: usize, c: usize) -> usize {
        c / BLOCK * rows * BLOCK + r * BLOCK + c % BLOCK
    }

    fn blocks(values: &[f32], rows: usize) -> Blocks<'_> {
        Blocks { values, stride: rows * BLOCK, count: values.len() / (rows * BLOCK) }
    }

    fn blocks_mut(values: &mut [f32], rows: usize) -> BlocksMut<'_> {
        let count = values.len() / (rows * BLOCK);
        BlocksMut::new(values, rows * BLOCK, count)
    }

    /// To bf16, the upper half of an f32: to nearest, ties to even.
    fn rounded(values: &[f32]) -> Vec<f32> {
        let round = |bits: u32| (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
        values.iter().map(|value| f32::from_bits(round(value.to_bits()))).collect()
    }

    /// A B and Aᵀ D in f64.
    struct Exact {
        product: Vec<f64>,
        of_transposed: Vec<f64>,
    }

    impl Exact {
        fn of([a, b, d]: [&[f32]; 3], rows: usize, [k, n]: [usize; 2]) -> Self {
            let mut exact = Self { product: vec![0.0; rows * n], of_transposed: vec![0.0; k * n] };
            for (r, i, j) in (0..rows).flat_map(|r| (0..k).flat_map(move |i| (0..n).map(move |j| (r, i, j)))) {
                let a = f64::from(a[at(rows, r, i)]);
                exact.product[at(rows, r, j)] += a * f64::from(b[at(k, i, j)]);
                exact.of_transposed[at(k, i, j)] += a * f64::from(d[at(rows, r, j)]);
            }
            exact
        }
    }

    fn has_bf16() -> bool {
        if !available() {
            eprintln!("skipped: this processor has no AVX-512 BF16");
        }
        available()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn products_are_those_of_plain_loops_on_rounded_operands(
            rows in 1_usize..60, depth in 1_usize..4, width in 1_usize..8, seed in 0_u64..99,
        ) {
            if !has_bf16() {
                return Ok(());
            }
            let (k, n) = (depth * BLOCK, width * BLOCK);
            let (a, b, d) = (noise(rows * k, seed), noise(k * n, seed + 1), noise(rows * n, seed + 2));
            let mut exact = Exact::of([&rounded(&a), &rounded(&b), &rounded(&d)], rows, [k, n]);
            let mut c = vec![f32::NAN; rows * n];
            product(rows, blocks(&a, rows), &pack(k, blocks(&b, k)), blocks_mut(&mut c, rows));
            // Products of bf16 are exact; f32 sums of at most 64 of them.
            assert_close("A B", &c, &exact.product, 1e-5);
            let mut c = vec![f32::NAN; k * n];
            product_of_transposed(rows, blocks(&a, rows), blocks(&d, rows), blocks_mut(&mut c, k), false);
            assert_close("A' D", &c, &exact.of_transposed, 1e-5);
            product_of_transposed(rows, blocks(&a, rows), blocks(&d, rows), blocks_mut(&mut c, k), true);
            exact.of_transposed.iter_mut().for_each(|value| *value *= 2.0);
            assert_close("A' D twice", &c, &exact.of_transposed, 1e-5);
        }
    }

    #[test]
    fn rounding_moves_a_product_by_no_more_than_bf16_allows() {
        if !has_bf16() {
            return;
        }
        let (rows, k, n) = (37, 48, 80);
        let (a, b, d) = (noise(rows * k, 1), noise(k * n, 2), noise(rows * n, 3));
        let exact = Exact::of([&a, &b, &d], rows, [k, n]);
        let sizes = |values: &[f32]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
        let most = Exact::of([&sizes(&a), &sizes(&b), &sizes(&d)], rows, [k, n]);
        let (mut c, mut of_transposed) = (vec![0.0; rows * n], vec![0.0; k * n]);
        product(rows, blocks(&a, rows), &pack(k, blocks(&b, k)), blocks_mut(&mut c, rows));
        product_of_transposed(rows, blocks(&a, rows), blocks(&d, rows), blocks_mut(&mut of_transposed, k), false);
        let all_ours = c.iter().chain(&of_transposed);
        let all_exact = exact.product.iter().chain(&exact.of_transposed);
        let all_most = most.product.iter().chain(&most.of_transposed);
        let mut largest = 0.0_f64;
        for ((&ours, exact), most) in all_ours.zip(all_exact).zip(all_most) {
            largest = largest.max((f64::from(ours) - exact).abs() / most);
        }
        // 8 bits: each factor is off by at most 2⁻⁹ of itself, a product by 2⁻⁸ and 2⁻¹⁸, f32 sums by less than the
        // rest of 1 %.
        assert!(largest < 1.01 * f64::exp2(-8.0), "off by {largest} of the sum of all sizes");
        assert!(largest > f64::exp2(-14.0), "f32 would be off by {largest} of the sum of all sizes");
    }

    #[test]
    fn a_smaller_matrix_may_take_the_place_of_a_larger_one() {
        if !has_bf16() {
            return;
        }
        let (large, small, a) = (noise(32 * 48, 6), noise(16 * 32, 7), noise(3 * 16, 8));
        let mut used = pack(32, blocks(&large, 32));
        used.pairs_of_rows(16, blocks(&small, 16));
        let (mut c, mut of_new) = (vec![f32::NAN; 3 * 32], vec![0.0; 3 * 32]);
        product(3, blocks(&a, 3), &used, blocks_mut(&mut c, 3));
        product(3, blocks(&a, 3), &pack(16, blocks(&small, 16)), blocks_mut(&mut of_new, 3));
        assert_eq!(c, of_new);
    }

    #[test]
    fn ties_are_rounded_to_even() {
        if !has_bf16() {
            return;
        }
        // Between 1 and 1 + 2⁻⁷, whose last bits are even and odd, and between the latter and 1 + 2⁻⁶.
        let mut a = vec![0.0; 2 * BLOCK];
        (a[0], a[BLOCK]) = (1.0 + f32::exp2(-8.0), 1.0 + 3.0 * f32::exp2(-8.0));
        let (one, mut c) = (vec![1.0; BLOCK * BLOCK], vec![0.0; 2 * BLOCK]);
        product(2, blocks(&a, 2), &pack(BLOCK, blocks(&one, BLOCK)), blocks_mut(&mut c, 2));
        assert_eq!((c[0], c[BLOCK]), (1.0, 1.0 + f32::exp2(-6.0)));
    }

    #[test]
    fn blocks_may_be_farther_apart_than_they_are_long() {
        if !has_bf16() {
            return;
        }
        let (rows, apart) = (5, 7);
        let (a, b) = (noise(2 * apart * BLOCK, 4), noise(2 * BLOCK * BLOCK, 5));
        let close = [&a[..rows * BLOCK], &a[apart * BLOCK..][..rows * BLOCK]].concat();
        let (mut c, mut close_c) = (vec![0.5; 2 * apart * BLOCK], vec![0.0; rows * BLOCK]);
        let to = BlocksMut::new(&mut c, apart * BLOCK, 1);
        let b = pack(2 * BLOCK, blocks(&b, 2 * BLOCK));
        product(rows, Blocks { values: &a, stride: apart * BLOCK, count: 2 }, &b, to);
        product(rows, blocks(&close, rows), &b, blocks_mut(&mut close_c, rows));
        assert_eq!(c[..rows * BLOCK], close_c);
        assert!(c[rows * BLOCK..].iter().all(|&value| value == 0.5), "wrote past its rows");
    }
}
