//! The register tile of products between runs of floats that lie a fixed distance apart.

use crate::geometry::BLOCK;
use crate::lanes::Lanes;

/// act(windows · weights + bias), the product that [`conv`](super::conv()) computes for windows and
/// [`conv_transpose`](super::conv_transpose()) for pixels.
///
/// Row t of the left factor is `lines` runs of `run` floats that start `apart` floats apart, the first of them at float
/// STEP · t. `weights` is `[lines · run, width]`, `bias` `[width]`; `width` is a multiple of 16.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) rows: usize,
    pub(super) windows: &'a [f32],
    pub(super) lines: usize,
    pub(super) apart: usize,
    pub(super) run: usize,
    pub(super) weights: &'a [f32],
    pub(super) width: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) slope: f32,
}

/// Where a product is written: its rows are `row` floats apart, its blocks of 16 columns `block` floats.
pub(super) struct Place<'a> {
    pub(super) out: &'a mut [f32],
    pub(super) row: usize,
    pub(super) block: usize,
}

impl Product<'_> {
    /// Computes the product, T rows at a time; the last tile overlaps the one before it where T does not divide the
    /// rows.
    #[inline(always)]
    pub(super) unsafe fn into_place<L: Lanes, const STEP: usize>(self, mut to: Place) {
        let last = (self.rows - 1) * STEP + (self.lines - 1) * self.apart + self.run - 1;
        assert!(last < self.windows.len(), "windows lie in the frame");
        assert_eq!(self.weights.len(), self.lines * self.run * self.width, "weights are [taps, width]");
        assert!(self.width.is_multiple_of(BLOCK) && self.bias.is_none_or(|bias| bias.len() == self.width));
        let last = (self.rows - 1) * to.row + (self.width / BLOCK - 1) * to.block + BLOCK - 1;
        assert!(last < to.out.len(), "the product has a place");
        // SAFETY: the caller's promise on instructions; the asserts are what the tiles ask for.
        unsafe {
            match tile_height::<L>(self.rows) {
                14 if L::TILE_ROWS >= 14 => self.columns::<L, STEP, 14>(&mut to),
                8 if L::TILE_ROWS >= 14 => self.columns::<L, STEP, 8>(&mut to),
                6 if L::TILE_ROWS == 6 => self.columns::<L, STEP, 6>(&mut to),
                5 if L::TILE_ROWS == 6 => self.columns::<L, STEP, 5>(&mut to),
                4 => self.columns::<L, STEP, 4>(&mut to),
                _ => self.columns::<L, STEP, 1>(&mut to),
            }
        }
    }

    /// Computes all columns, two vectors at a time, and the last one by itself where a block is one vector and the
    /// number of blocks is odd.
    #[inline(always)]
    pub(super) unsafe fn columns<L: Lanes, const STEP: usize, const T: usize>(&self, to: &mut Place) {
        let mut column = 0;
        // SAFETY: as the caller promises, for columns below the width.
        unsafe {
            while column + 2 * L::N <= self.width {
                self.rows::<L, STEP, T, 2>(column, to);
                column += 2 * L::N;
            }
            while column < self.width {
                self.rows::<L, STEP, T, 1>(column, to);
                column += L::N;
            }
        }
    }

    /// Computes all rows of V vectors of columns.
    #[inline(always)]
    pub(super) unsafe fn rows<L: Lanes, const STEP: usize, const T: usize, const V: usize>(
        &self,
        column: usize,
        to: &mut Place,
    ) {
        for row in (0..self.rows).step_by(T) {
            // SAFETY: as the caller promises; a tile has no more rows than the product.
            unsafe { self.tile::<L, STEP, T, V>(row.min(self.rows - T), column, to) };
        }
    }

    /// Computes T rows of V vectors of columns, in registers.
    #[inline(always)]
    pub(super) unsafe fn tile<L: Lanes, const STEP: usize, const T: usize, const V: usize>(
        &self,
        row: usize,
        column: usize,
        to: &mut Place,
    ) {
        // SAFETY: `into_place` asserts that the last window, weight and place are inside their slices.
        unsafe {
            let mut sums = [[L::splat(0.0); V]; T];
            if let Some(bias) = self.bias {
                sums = [load::<L, V>(bias.as_ptr().add(column)); T];
            }
            let mut weights = self.weights.as_ptr().add(column);
            for line in 0..self.lines {
                let window = self.windows.as_ptr().add(row * STEP + line * self.apart);
                for tap in 0..self.run {
                    let factors = load::<L, V>(weights);
                    for t in 0..T {
                        let value = L::splat(*window.add(tap + t * STEP));
                        for v in 0..V {
                            sums[t][v] = factors[v].mul_add(value, sums[t][v]);
                        }
                    }
                    weights = weights.add(self.width);
                }
            }
            for v in 0..V {
                let column = column + v * L::N;
                let out = to.out.as_mut_ptr().add(row * to.row + column / BLOCK * to.block + column % BLOCK);
                for t in 0..T {
                    let sum = if self.slope == 1.0 { sums[t][v] } else { sums[t][v].leaky(self.slope) };
                    sum.store(out.add(t * to.row));
                }
            }
        }
    }
}

/// Loads V contiguous vectors.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes, const V: usize>(from: *const f32) -> [L; V] {
    // SAFETY: the caller's promise on V · N floats and on instructions.
    unsafe {
        let mut vectors = [L::splat(0.0); V];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = L::load(from.add(v * L::N));
        }
        vectors
    }
}

/// The compiled height, at most `rows`, for which all tiles together compute the fewest rows. The one more per tile is
/// for its loads of weights. The highest tiles, two vectors wide, fit into the 32 registers of AVX-512, or into 16.
#[inline(always)]
pub(super) fn tile_height<L: Lanes>(rows: usize) -> usize {
    let heights: &[usize] = match L::TILE_ROWS {
        14.. => &[4, 8, 14],
        6 => &[4, 5, 6],
        _ => &[4],
    };
    let mut best = 1;
    for &height in heights {
        let cost = |height: usize| rows.div_ceil(height) * (height + 1);
        if height <= rows && cost(height) <= cost(best) {
            best = height;
        }
    }
    best
}
