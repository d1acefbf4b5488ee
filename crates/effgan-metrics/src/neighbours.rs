//! Nearest neighbours among feature vectors. Euclidean distances are computed in blocks, so that the distances of all pairs are
//! never in memory at once.

use std::ops::Range;

use effgan_nn::parallel_map;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::error::Result;
use crate::stats::{check_finite, num_rows};

/// Rows and columns of a block of distances. Fixed, so that every distance is bit-identical for any number of threads.
const BLOCK: usize = 256;

/// A squared distance below this fraction of ‖x‖² + ‖y‖² is recomputed from x − y, because ‖x‖² + ‖y‖² − 2 x·y suffers from
/// cancellation, and equal vectors must have distance 0.
const CANCELLED: f64 = 1e-6;

/// Finite feature vectors `[n, d]`.
pub(crate) struct Points<'a> {
    features: &'a [f32],
    dim: usize,
    squared_norms: Vec<f64>,
}

impl<'a> Points<'a> {
    pub(crate) fn new(features: &'a [f32], dim: usize) -> Result<Self> {
        num_rows(features, dim)?;
        check_finite(features, dim)?;
        let squared_norm = |row: &[f32]| row.iter().map(|&value| f64::from(value).powi(2)).sum();
        Ok(Self { features, dim, squared_norms: features.chunks_exact(dim).map(squared_norm).collect() })
    }

    pub(crate) fn len(&self) -> usize {
        self.squared_norms.len()
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.features[i * self.dim..(i + 1) * self.dim]
    }

    fn widened(&self, rows: &Range<usize>) -> Vec<f64> {
        self.features[rows.start * self.dim..rows.end * self.dim].iter().map(|&value| f64::from(value)).collect()
    }

    /// Turns products of row `i` with the rows from `first` on of `others` into squared distances.
    fn to_squared_distances(&self, i: usize, others: &Self, first: usize, products: &mut [f64]) {
        let (norm, norms) = (self.squared_norms[i], &others.squared_norms[first..first + products.len()]);
        for (product, other) in products.iter_mut().zip(norms) {
            *product = norm + other - 2.0 * *product;
        }
        for (at, squared) in products.iter_mut().enumerate() {
            if *squared <= CANCELLED * (norm + norms[at]) {
                let difference = |(&a, &b): (&f32, &f32)| f64::from(a) - f64::from(b);
                *squared = self.row(i).iter().zip(others.row(first + at)).map(difference).map(|x| x * x).sum();
            }
        }
    }
}

fn blocks(n: usize) -> Vec<Range<usize>> {
    (0..n).step_by(BLOCK).map(|start| start..n.min(start + BLOCK)).collect()
}

/// Folds the squared distances of all rows of `points` from all rows of `others`; returns one result per block of rows.
///
/// `start` makes the initial state of a block of rows. `visit` is called with the state, a row, a first column and the distances
/// from that column on, in ascending order of columns.
pub(crate) fn fold_distances<R: Send>(
    points: &Points<'_>,
    others: &Points<'_>,
    jobs: usize,
    start: impl Fn(&Range<usize>) -> R + Sync,
    visit: impl Fn(&mut R, usize, usize, &[f64]) + Sync,
) -> Vec<R> {
    let (dim, blocks_of_rows) = (points.dim, blocks(points.len()));
    parallel_map(blocks_of_rows.len(), jobs, |block| {
        let rows = &blocks_of_rows[block];
        let (mut state, left) = (start(rows), points.widened(rows));
        for columns in blocks(others.len()) {
            let right = others.widened(&columns);
            let mut distances = vec![0.0; rows.len() * columns.len()];
            matmul(
                MatMut::from_row_major_slice_mut(&mut distances, rows.len(), columns.len()),
                Accum::Replace,
                MatRef::from_row_major_slice(&left, rows.len(), dim),
                MatRef::from_row_major_slice(&right, columns.len(), dim).transpose(),
                1.0,
                Par::Seq,
            );
            for (row, distances) in rows.clone().zip(distances.chunks_exact_mut(columns.len())) {
                points.to_squared_distances(row, others, columns.start, distances);
                visit(&mut state, row, columns.start, distances);
            }
        }
        state
    })
}

/// Squared distance of each of `points` from the nearest of `others`; infinite if there are none.
pub(crate) fn nearest(points: &Points<'_>, others: &Points<'_>, jobs: usize) -> Vec<f64> {
    let start = |rows: &Range<usize>| (rows.start, vec![f64::INFINITY; rows.len()]);
    let blocks = fold_distances(points, others, jobs, start, |(first, nearest), row, _, distances| {
        let nearest = &mut nearest[row - *first];
        *nearest = distances.iter().copied().fold(*nearest, f64::min);
    });
    blocks.into_iter().flat_map(|(_, nearest)| nearest).collect()
}

/// Squared distance of each of `points` from its `k`-th nearest other one, k ≥ 1; there are more than k points.
pub(crate) fn kth_nearest(points: &Points<'_>, k: usize, jobs: usize) -> Vec<f64> {
    let start = |rows: &Range<usize>| (rows.start, vec![vec![f64::INFINITY; k]; rows.len()]);
    let blocks = fold_distances(points, points, jobs, start, |(first, smallest), row, column, distances| {
        let smallest = &mut smallest[row - *first];
        for (column, &distance) in (column..).zip(distances) {
            if distance < smallest[k - 1] && column != row {
                let place = smallest.partition_point(|&other| other <= distance);
                smallest[place..].rotate_right(1);
                smallest[place] = distance;
            }
        }
    });
    blocks.into_iter().flat_map(|(_, smallest)| smallest).map(|smallest| smallest[k - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a random generator.
    fn waves(n: usize, dim: usize, phase: f32) -> Vec<f32> {
        (0..n * dim).map(|i| (i as f32 * 0.37 + phase).sin() * 3.0 + (i / dim) as f32 * 0.002).collect()
    }

    fn by_hand(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    }

    #[test]
    fn neighbours_across_blocks_are_those_of_a_plain_search() {
        let (dim, k) = (7, 3);
        let (a, b) = (waves(600, dim, 0.0), waves(300, dim, 1.0));
        let (a_points, b_points) = (Points::new(&a, dim).unwrap(), Points::new(&b, dim).unwrap());
        for jobs in [1, 3] {
            let (near, kth) = (nearest(&a_points, &b_points, jobs), kth_nearest(&a_points, k, jobs));
            assert_eq!((near.len(), kth.len()), (600, 600));
            for (i, row) in a.chunks(dim).enumerate() {
                let least = b.chunks(dim).map(|other| by_hand(row, other)).fold(f64::INFINITY, f64::min);
                let others = a.chunks(dim).enumerate().filter(|(j, _)| *j != i);
                let mut others: Vec<f64> = others.map(|(_, other)| by_hand(row, other)).collect();
                others.sort_by(f64::total_cmp);
                // 1e-9: what is left of f64's digits where x·x + y·y - 2 x·y is a millionth of its terms.
                assert!((near[i] - least).abs() <= 1e-9 * least, "{i}: {}, {least}", near[i]);
                assert!((kth[i] - others[k - 1]).abs() <= 1e-9 * others[k - 1], "{i}: {}, {}", kth[i], others[k - 1]);
            }
        }
    }

    #[test]
    fn equal_vectors_far_from_zero_have_distance_0() {
        let far: Vec<f32> = waves(300, 50, 0.0).iter().map(|x| x + 1000.0).collect();
        let points = Points::new(&far, 50).unwrap();
        assert!(nearest(&points, &points, 2).iter().all(|&distance| distance == 0.0));
    }
}
