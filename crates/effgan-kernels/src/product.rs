//! Products of matrices in blocks of 16 columns, computed in register tiles.
//!
//! A matrix of `r` rows and `16 · b` columns is `[b, r, 16]`, with blocks `stride` floats apart. The rows of a block
//! are contiguous: a tile reads whole cache lines in order, 64 bytes apart for any size of the matrix, and no
//! operand has to be packed.

use std::marker::PhantomData;
use std::time::Instant;

use super::geometry::BLOCK;
use super::isa::{Isa, for_each_isa};
use super::lanes::Lanes;

/// A matrix in blocks: its values, the distance between blocks in floats, and the number of blocks.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

/// As [`Blocks`], for writing.
pub(crate) struct BlocksMut<'a> {
    values: *mut f32,
    len: usize,
    stride: usize,
    count: usize,
    slice: PhantomData<&'a mut [f32]>,
}

impl<'a> BlocksMut<'a> {
    pub(crate) fn new(values: &'a mut [f32], stride: usize, count: usize) -> Self {
        Self { values: values.as_mut_ptr(), len: values.len(), stride, count, slice: PhantomData }
    }

    /// Pointer to the first float, number of floats that may be written from there, distance between blocks, and number
    /// of blocks.
    pub(crate) fn parts(self) -> (*mut f32, usize, usize, usize) {
        (self.values, self.len, self.stride, self.count)
    }

    /// The same blocks without the rows before `first`, so that threads can write different rows of one matrix.
    ///
    /// # Safety
    /// No row is written through two parts at the same time.
    pub(crate) unsafe fn starting_at(&self, first: usize) -> Self {
        assert!(self.len >= first * BLOCK);
        // SAFETY: inside the slice, by the assertion.
        let values = unsafe { self.values.add(first * BLOCK) };
        Self { values, len: self.len - first * BLOCK, ..*self }
    }
}

// SAFETY: it is a `&mut [f32]`; parts of it write different rows, as `starting_at` requires.
unsafe impl Send for BlocksMut<'_> {}
// SAFETY: through a shared reference only `starting_at` can be called, which requires different rows.
unsafe impl Sync for BlocksMut<'_> {}

/// Index after the last float of a matrix of `rows` rows in `count` blocks.
pub(crate) fn end(stride: usize, count: usize, rows: usize) -> usize {
    if count == 0 { 0 } else { (count - 1) * stride + rows * BLOCK }
}

/// C = A B: `rows` × 16 · `a.count`, times 16 · `a.count` × 16 · `b.count`.
pub(crate) fn product(isa: Isa, rows: usize, a: Blocks, b: Blocks, c: BlocksMut) {
    assert!(a.values.len() >= end(a.stride, a.count, rows), "A ends before its last block");
    assert!(b.values.len() >= end(b.stride, b.count, a.count * BLOCK), "B ends before its last block");
    assert!(c.len >= end(c.stride, c.count, rows), "C ends before its last block");
    assert_eq!(b.count, c.count);
    product_by_isa(isa, rows, a, b, c);
}

/// C = Aᵀ B: A is `rows` × 16 · `a.count`, B `rows` × 16 · `b.count`, C 16 · `a.count` × 16 · `b.count`; added to C
/// when `add`.
pub(crate) fn product_of_transposed(isa: Isa, rows: usize, a: Blocks, b: Blocks, c: BlocksMut, add: bool) {
    assert!(a.values.len() >= end(a.stride, a.count, rows), "A ends before its last block");
    assert!(b.values.len() >= end(b.stride, b.count, rows), "B ends before its last block");
    assert!(c.len >= end(c.stride, c.count, a.count * BLOCK), "C ends before its last block");
    assert_eq!(b.count, c.count);
    transposed_by_isa(isa, rows, a, b, c, add);
}

for_each_isa! { fn product_by_isa = product_on(rows: usize, a: Blocks, b: Blocks, c: BlocksMut); }
for_each_isa! { fn transposed_by_isa = transposed_on(rows: usize, a: Blocks, b: Blocks, c: BlocksMut, add: bool); }

/// Computes C in strips of columns: a strip of B stays in the L1 cache while all rows of A are read.
#[inline(always)]
unsafe fn product_on<L: Lanes>(rows: usize, a: Blocks, b: Blocks, c: BlocksMut) {
    let mut block = 0;
    while block < b.count {
        let wide = L::TILE_BLOCKS == 2 && block + 2 <= b.count;
        let pointers = Tile {
            a: a.values.as_ptr(),
            a_stride: a.stride,
            depth: a.count,
            b: b.values.as_ptr().wrapping_add(block * b.stride),
            b_stride: b.stride,
            c: c.values.wrapping_add(block * c.stride),
            c_stride: c.stride,
            next: b.values.as_ptr().wrapping_add((block + if wide { 2 } else { 1 }) * b.stride),
            share: (if wide { 2 * BLOCK } else { BLOCK }).div_ceil(rows.div_ceil(L::TILE_ROWS).max(1)),
        };
        // SAFETY: `product` has checked that all blocks end inside their slices.
        unsafe {
            match (L::N, wide) {
                (16, true) => strip::<L, 2>(rows, pointers),
                (16, false) => strip::<L, 1>(rows, pointers),
                (8, _) => strip::<L, 2>(rows, pointers),
                _ => strip::<L, 4>(rows, pointers),
            }
        }
        block += if wide { 2 } else { 1 };
    }
}

/// What a tile reads and writes; distances are in floats.
#[derive(Clone, Copy)]
struct Tile {
    a: *const f32,
    a_stride: usize,
    /// Blocks of A; its rows, for Aᵀ B.
    depth: usize,
    b: *const f32,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    /// Lines of B that are prefetched for the next strip, and how many of them for each block of A.
    next: *const f32,
    share: usize,
}

/// Heights of tiles, nearly equal and at most `max_height`, that add up to `rows`.
#[inline(always)]
pub(crate) fn tile_heights(rows: usize, max_height: usize) -> impl Iterator<Item = usize> {
    let tiles = rows.div_ceil(max_height);
    (0..tiles).map(move |i| (rows * (i + 1)) / tiles - (rows * i) / tiles)
}

/// Evaluates `$tile` with the constant `$H` equal to `$height`, which is at most 14: a tile is compiled for each
/// height.
macro_rules! tile_of_height {
    ($height:expr, $H:ident => $tile:expr) => {
        tile_of_height!(@ $height, $H => $tile, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    (@ $height:expr, $H:ident => $tile:expr, $($of:literal)*) => {
        match $height {
            $($of => {
                const $H: usize = $of;
                $tile
            })*
            height => unreachable!("no tile has {height} rows"),
        }
    };
}
// Only the bf16 products of x86-64 use it elsewhere.
#[cfg(target_arch = "x86_64")]
pub(crate) use tile_of_height;

/// Computes all rows of one strip of columns, `V` vectors wide, in tiles of nearly equal height.
#[inline(always)]
unsafe fn strip<L: Lanes, const V: usize>(rows: usize, mut at: Tile) {
    for height in tile_heights(rows, L::TILE_ROWS) {
        // SAFETY: the heights of all tiles add up to `rows`.
        unsafe {
            tile_of_height!(height, H => tile::<L, V, H>(at));
            at.a = at.a.add(height * BLOCK);
            at.c = at.c.add(height * BLOCK);
            at.next = at.next.wrapping_add(at.depth * at.share * BLOCK);
        }
    }
}

/// Computes `H` rows of A times `V` vectors of B's columns, in registers.
#[inline(always)]
unsafe fn tile<L: Lanes, const V: usize, const H: usize>(at: Tile) {
    if H > L::TILE_ROWS {
        return; // Never reached, since `strip` has no higher tiles; spares the compiler their loops.
    }
    // SAFETY: the caller's rows and blocks are inside the matrices.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; H];
        let mut b = at.b;
        for block in 0..at.depth {
            let mut a = at.a.add(block * at.a_stride);
            if L::N == 16 {
                for i in 0..H {
                    L::prefetch(a.wrapping_add(at.a_stride + i * BLOCK));
                }
                for i in 0..at.share {
                    L::prefetch_far(at.next.wrapping_add((block * at.share + i) * BLOCK));
                }
            }
            for _ in 0..BLOCK {
                step::<L, V, H, BLOCK>(a, b, at.b_stride, &mut sums);
                a = a.add(1);
                b = b.add(BLOCK);
            }
        }
        store::<L, V, H>(&sums, at.c, at.c_stride, false);
    }
}

/// Adds the outer product of `H` values of A, `APART` floats apart, and `V` vectors of B.
#[inline(always)]
unsafe fn step<L: Lanes, const V: usize, const H: usize, const APART: usize>(
    a: *const f32,
    b: *const f32,
    b_stride: usize,
    sums: &mut [[L; V]; H],
) {
    // SAFETY: the caller guarantees it.
    unsafe {
        let mut row = [L::splat(0.0); V];
        for v in 0..V {
            row[v] = L::load(vector::<L>(b, b_stride, v));
        }
        for i in 0..H {
            let value = L::splat(*a.add(i * APART));
            for v in 0..V {
                sums[i][v] = value.mul_add(row[v], sums[i][v]);
            }
        }
    }
}

/// Pointer to vector `v` of a row that starts at `row` and continues `stride` floats further in each block.
#[inline(always)]
unsafe fn vector<L: Lanes>(row: *const f32, stride: usize, v: usize) -> *const f32 {
    let per_block = BLOCK / L::N;
    // SAFETY: the caller guarantees it.
    unsafe { row.add(v / per_block * stride + v % per_block * L::N) }
}

#[inline(always)]
unsafe fn store<L: Lanes, const V: usize, const H: usize>(sums: &[[L; V]; H], c: *mut f32, stride: usize, add: bool) {
    for i in 0..H {
        for v in 0..V {
            // SAFETY: the caller guarantees it.
            unsafe {
                let to = vector::<L>(c.add(i * BLOCK), stride, v).cast_mut();
                if add { sums[i][v].add(L::load(to)).store(to) } else { sums[i][v].store(to) }
            }
        }
    }
}

/// Computes Aᵀ B in tiles of 8, 4 or 2 rows, which divide a block, and up to three blocks of columns.
#[inline(always)]
unsafe fn transposed_on<L: Lanes>(rows: usize, a: Blocks, b: Blocks, c: BlocksMut, add: bool) {
    let mut block = 0;
    while block < b.count {
        let width = if L::N == 16 { (b.count - block).min(3) } else { 1 };
        for a_block in 0..a.count {
            // SAFETY: `product_of_transposed` has checked that all blocks end inside their slices.
            unsafe {
                let at = Tile {
                    a: a.values.as_ptr().add(a_block * a.stride),
                    a_stride: a.stride,
                    depth: rows,
                    b: b.values.as_ptr().add(block * b.stride),
                    b_stride: b.stride,
                    c: c.values.add(block * c.stride + a_block * BLOCK * BLOCK),
                    c_stride: c.stride,
                    next: std::ptr::null(),
                    share: 0,
                };
                match (L::N, width) {
                    (16, 3) => transposed_block::<L, 3, 8>(at, add),
                    (16, 2) => transposed_block::<L, 2, 8>(at, add),
                    (16, _) => transposed_block::<L, 1, 8>(at, add),
                    (8, _) => transposed_block::<L, 2, 4>(at, add),
                    _ => transposed_block::<L, 4, 2>(at, add),
                }
            }
        }
        block += width;
    }
}

/// Computes the 16 rows of C that belong to one block of A.
#[inline(always)]
unsafe fn transposed_block<L: Lanes, const V: usize, const H: usize>(at: Tile, add: bool) {
    for first in (0..BLOCK).step_by(H) {
        // SAFETY: the caller guarantees it.
        unsafe {
            let mut sums = [[L::splat(0.0); V]; H];
            let (mut a, mut b) = (at.a.add(first), at.b);
            for i in 0..at.depth {
                if L::N == 16 && first == 0 {
                    L::prefetch(a.wrapping_add(at.a_stride));
                    if i < BLOCK {
                        for v in 0..V {
                            L::prefetch(at.c.wrapping_add(v * at.c_stride + i * BLOCK));
                        }
                    }
                }
                step::<L, V, H, 1>(a, b, at.b_stride, &mut sums);
                a = a.add(BLOCK);
                b = b.add(BLOCK);
            }
            store::<L, V, H>(&sums, at.c.add(first * BLOCK), at.c_stride, add);
        }
    }
}

/// The peak speed of one core in f32 products with `isa`, in 10⁹ operations per second (2 per multiply-add): the best
/// of several short runs of a product whose operands stay in the L1 cache.
pub fn peak_gflops(isa: Isa) -> f64 {
    const ROWS: usize = 84;
    const DEPTH: usize = 64;
    let (a, b) = (vec![0.5; ROWS * DEPTH], vec![0.5; DEPTH * 2 * BLOCK]);
    let mut c = vec![0.0; ROWS * 2 * BLOCK];
    let mut run = |times: usize| {
        let started = Instant::now();
        for _ in 0..times {
            let a = Blocks { values: &a, stride: ROWS * BLOCK, count: DEPTH / BLOCK };
            let b = Blocks { values: &b, stride: DEPTH * BLOCK, count: 2 };
            product(isa, ROWS, a, b, BlocksMut::new(&mut c, ROWS * BLOCK, 2));
        }
        (2 * ROWS * DEPTH * 2 * BLOCK * times) as f64 / started.elapsed().as_secs_f64() / 1e9
    };
    (0..20).map(|_| run(500)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::naive::{assert_close_sums, noise};

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn products_are_those_of_plain_loops(rows in 1_usize..60, depth in 1_usize..4, width in 1_usize..6, seed in 0_u64..99) {
            let (k, n) = (depth * BLOCK, width * BLOCK);
            let (a, b, d) = (noise(rows * k, seed), noise(k * n, seed + 1), noise(rows * n, seed + 2));
            let mut exact = vec![0.0; rows * n];
            let mut exact_transposed: Vec<f64> = vec![1.0; k * n];
            for (r, i, j) in (0..rows).flat_map(|r| (0..k).flat_map(move |i| (0..n).map(move |j| (r, i, j)))) {
                exact[at(rows, r, j)] += f64::from(a[at(rows, r, i)]) * f64::from(b[at(k, i, j)]);
                exact_transposed[at(k, i, j)] += f64::from(a[at(rows, r, i)]) * f64::from(d[at(rows, r, j)]);
            }
            for isa in Isa::available() {
                let mut c = vec![f32::NAN; rows * n];
                product(isa, rows, blocks(&a, rows), blocks(&b, k), blocks_mut(&mut c, rows));
                // f32 sums of at most 64 products.
                assert_close_sums(isa.name(), &c, &exact, 2e-6);
                let mut c = vec![1.0; k * n];
                product_of_transposed(isa, rows, blocks(&a, rows), blocks(&d, rows), blocks_mut(&mut c, k), true);
                assert_close_sums(isa.name(), &c, &exact_transposed, 2e-6);
            }
        }
    }

    #[test]
    fn the_peak_is_above_a_tenth_of_a_gigaflop() {
        assert!(peak_gflops(Isa::fastest()) > 0.1);
    }
}
