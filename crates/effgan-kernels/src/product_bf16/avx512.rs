//! The products with the instructions of AVX-512 BF16.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_store_si512, _mm512_storeu_ps,
};
use std::mem::transmute;

use super::{BLOCK, Line, Packed};
use crate::product::{tile_heights, tile_of_height};

/// Maximum number of rows of a tile: two blocks wide, it keeps its sums in 28 of the 32 registers.
const TILE_ROWS: usize = 14;
/// Pairs of columns in a block.
const PAIRS: usize = BLOCK / 2;

/// Interleaves two rows: lane 2 i is value i of the first row, lane 2 i + 1 that of the second.
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

/// Rounds the rows of one block, two to a line.
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

/// What a tile reads and writes. Distances are in pairs of values for A, in lines for B and in floats for C.
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

/// C = A B in strips of columns: a strip of B stays in the L1 cache while all rows of A are read.
///
/// # Safety
/// C's blocks, `c_stride` floats apart, hold A's rows; A has as many columns as B rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) unsafe fn product(a: Packed, b: Packed, c: *mut f32, c_stride: usize) {
    for block in (0..b.blocks).step_by(2) {
        // SAFETY: the caller's.
        unsafe {
            let at = Tile {
                a: a.lines.as_ptr().cast(),
                a_stride: a.lines_per_block() * BLOCK,
                blocks: a.blocks,
                pairs_per_block: PAIRS,
                b: b.lines.as_ptr().add(block * b.lines_per_block()),
                b_stride: b.lines_per_block(),
                c: c.add(block * c_stride),
                c_stride,
                add: false,
            };
            if block + 2 <= b.blocks { strip::<2>(a.rows, at) } else { strip::<1>(a.rows, at) }
        }
    }
}

/// Computes all rows of one strip of columns, `V` blocks wide, in tiles of nearly equal height.
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

/// Computes `H` rows, whose pairs in A are `APART` pairs apart, times `V` blocks of B's columns, in registers. The next
/// pair of a row is `STEP` pairs further.
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

/// C = Aᵀ B in tiles of 8 rows, which divide a block, and up to three blocks of columns.
///
/// # Safety
/// C's blocks, `c_stride` floats apart, hold as many rows as A has columns; A and B have the same number of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) unsafe fn product_of_transposed(a: Packed, b: Packed, c: *mut f32, c_stride: usize, add: bool) {
    const HEIGHT: usize = BLOCK / 2;
    for block in (0..b.blocks).step_by(3) {
        for first in (0..a.blocks * BLOCK).step_by(HEIGHT) {
            // SAFETY: the caller's.
            unsafe {
                let of_block = a.lines.as_ptr().add(first / BLOCK * a.lines_per_block()).cast::<u32>();
                let at = Tile {
                    a: of_block.add(first % BLOCK),
                    a_stride: 0,
                    blocks: 1,
                    pairs_per_block: a.lines_per_block(),
                    b: b.lines.as_ptr().add(block * b.lines_per_block()),
                    b_stride: b.lines_per_block(),
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
