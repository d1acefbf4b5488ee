//! Feature vectors less a common centre, in blocks whose products are taken in f32.
//!
//! f32 products take half the time of f64 ones. Without the common part their rounding is relative to how far the vectors are spread,
//! and not to how far they are from zero.

use std::ops::Range;

use effgan_nn::parallel_map;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Rows of a block. Fixed, so that sums over blocks are bit-identical for any number of threads. More rows would make the products
/// little faster, and those of a block no longer stay in the second-level cache.
pub(crate) const BLOCK: usize = 384;

/// The blocks of `n` rows.
pub(crate) fn blocks(n: usize) -> Vec<Range<usize>> {
    (0..n).step_by(BLOCK).map(|start| start..n.min(start + BLOCK)).collect()
}

/// Where feature vectors are centred, and the unit in which they are measured from there.
pub(crate) struct Frame {
    /// Mean of the sets' means, rounded, `[d]`.
    pub(crate) centre: Vec<f32>,
    /// A power of two (so that it rounds nothing) by which vectors are multiplied, for products to be within f32's range.
    pub(crate) scale: f64,
}

impl Frame {
    /// A frame for `sets`, none of them empty, of finite features `[n, d]`.
    pub(crate) fn around(sets: &[&[f32]], dim: usize, jobs: usize) -> Self {
        let mut centre = vec![0.0; dim];
        let mut largest = 0.0_f32;
        for features in sets {
            let blocks: Vec<&[f32]> = features.chunks(BLOCK * dim).collect();
            let share = (sets.len() * (features.len() / dim)) as f64;
            for (sums, of_block) in
                parallel_map(blocks.len(), jobs, |i| (column_sums(blocks[i], dim), largest_of(blocks[i])))
            {
                largest = largest.max(of_block);
                centre.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum / share);
            }
        }
        let exponent = if largest > 0.0 { f64::from(largest).log2().ceil() as i32 } else { 0 };
        Self { centre: centre.into_iter().map(|mean| mean as f32).collect(), scale: 2.0_f64.powi(-exponent) }
    }

    /// The rows of `features` in this frame.
    pub(crate) fn centred(&self, features: &[f32], jobs: usize) -> Centred {
        let dim = self.centre.len();
        let blocks: Vec<&[f32]> = features.chunks(BLOCK * dim).collect();
        let blocks = parallel_map(blocks.len(), jobs, |i| {
            let mut centred = Vec::with_capacity(blocks[i].len());
            for row in blocks[i].chunks_exact(dim) {
                let values = row.iter().zip(&self.centre);
                centred.extend(values.map(|(&x, &centre)| ((f64::from(x) - f64::from(centre)) * self.scale) as f32));
            }
            centred
        });
        Centred { blocks, dim }
    }
}

/// Sum of `term(a, b)` over the values of two rows of one length, in lanes, so that the additions need not wait for each other.
pub(crate) fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let term = |a: f32, b: f32| term(f64::from(a), f64::from(b));
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        // By index: iterators over three arrays are not inlined here, and take twice as long.
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    sums.iter().sum::<f64>() + last_a.iter().zip(last_b).map(|(&a, &b)| term(a, b)).sum::<f64>()
}

fn column_sums(rows: &[f32], dim: usize) -> Vec<f64> {
    let mut sums = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums
}

fn largest_of(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| if value.abs() > largest { value.abs() } else { largest })
}

/// The rows (x − centre) · scale of a feature set, rounded to f32, in blocks of [`BLOCK`] rows. No value is above 2.
pub(crate) struct Centred {
    blocks: Vec<Vec<f32>>,
    dim: usize,
}

impl Centred {
    /// ‖x‖² of each row.
    pub(crate) fn squared_norms(&self, jobs: usize) -> Vec<f64> {
        let squared_norm = |row: &[f32]| sum_of(row, row, |a, _| a * a);
        let of_block = |block: usize| self.blocks[block].chunks_exact(self.dim).map(squared_norm).collect();
        parallel_map::<Vec<f64>>(self.blocks.len(), jobs, of_block).concat()
    }

    /// The products of the rows of a block with those of a block of `others`: one slice per row.
    pub(crate) fn products(&self, block: usize, others: &Self, block_of_others: usize) -> Vec<f32> {
        let (left, right) = (self.block(block), others.block(block_of_others));
        let mut products = vec![0.0; left.nrows() * right.nrows()];
        matmul(
            MatMut::from_row_major_slice_mut(&mut products, left.nrows(), right.nrows()),
            Accum::Replace,
            left,
            right.transpose(),
            1.0,
            Par::Seq,
        );
        products
    }

    fn block(&self, block: usize) -> MatRef<'_, f32> {
        let values = &self.blocks[block];
        MatRef::from_row_major_slice(values, values.len() / self.dim, self.dim)
    }
}
