//! Nearest neighbours among feature vectors, by Euclidean distance.
//!
//! [Bounds](crate::bounds) tell which points may be among the nearest, and the distances of these few are computed in f64. The bounds
//! of all pairs are never in memory at once, and those of two points of one set are computed once for both. Distances are in the
//! unit of the points' frame.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use effgan_nn::parallel_map;

use crate::bounds::{Bounded, OUT_OF_REACH, Pair};
use crate::centred::{BLOCK, blocks};

/// A point's number of candidates from which on their distances are computed, to keep only the k nearest.
const MANY_CANDIDATES: usize = 256;

/// Squared distance of each of `points` from the nearest of `others`, of which there is at least one.
pub(crate) fn nearest(points: &Bounded<'_>, others: &Bounded<'_>, jobs: usize) -> Vec<f64> {
    let of_points = blocks(points.len());
    let of_block = |row: usize| {
        let mut block = Block::new(of_points[row].len(), 1);
        for column in 0..blocks(others.len()).len() {
            let tile = points.tile(row, others, column);
            let Block { candidates, reach } = &mut block;
            tile.for_pairs_in_reach(reach, &mut out_of_reach(&tile.columns), |pair, reach, _| {
                let distance = |other| points.squared_distance(pair.row, others, other);
                *reach = candidates[pair.row % BLOCK].add(pair, pair.column, distance);
            });
        }
        block.kth_distances(|i, other| points.squared_distance(of_points[row].start + i, others, other))
    };
    parallel_map(of_points.len(), jobs, of_block).concat()
}

/// How many of `others` are within the given squared distance of each of `points`, those at it included.
pub(crate) fn count_within(points: &Bounded<'_>, others: &Bounded<'_>, squared_radius: f64, jobs: usize) -> Vec<u32> {
    let of_points = blocks(points.len());
    // A pair at the distance itself is below the next one.
    let (radius, reach) = (squared_radius.next_up(), (squared_radius as f32).next_up());
    let of_block = |row: usize| {
        let mut counts = vec![0; of_points[row].len()];
        for column in 0..blocks(others.len()).len() {
            let tile = points.tile(row, others, column);
            let mut row_reach = vec![reach; tile.rows.len()];
            tile.for_pairs_in_reach(&mut row_reach, &mut out_of_reach(&tile.columns), |pair, _, _| {
                let distance = || points.squared_distance(pair.row, others, pair.column);
                counts[pair.row - tile.rows.start] += u32::from(pair.is_within(radius, distance));
            });
        }
        counts
    };
    parallel_map(of_points.len(), jobs, of_block).concat()
}

/// Squared distance of each of `points` from its `k`-th nearest other one, k ≥ 1; there are more than k points.
pub(crate) fn kth_nearest(points: &Bounded<'_>, k: usize, jobs: usize) -> Vec<f64> {
    let of_points = blocks(points.len());
    let from = |row: usize| (row..of_points.len()).map(move |column| (row, column));
    let tiles: Vec<(usize, usize)> = (0..of_points.len()).flat_map(from).collect();
    // Which candidates there are depends on the order in which threads take the tiles, but the k nearest are always among them.
    let neighbours: Vec<Mutex<Block>> = of_points.iter().map(|block| Mutex::new(Block::new(block.len(), k))).collect();
    let lock = |block: usize| neighbours[block].lock().unwrap_or_else(PoisonError::into_inner);
    let add = |block: &mut [Candidates], of: usize, other: usize, pair: &Pair, reach: &mut f32| {
        let candidates = &mut block[of % BLOCK];
        *reach = candidates.add(pair, other, |other| points.squared_distance(of, points, other));
    };
    parallel_map(tiles.len(), jobs, |tile| {
        let (row, column) = tiles[tile];
        let tile = points.tile(row, points, column);
        let mut of_rows = lock(row);
        let Block { candidates, reach } = &mut *of_rows;
        if row == column {
            tile.for_pairs_in_reach(reach, &mut out_of_reach(&tile.columns), |pair, reach, _| {
                if pair.row != pair.column {
                    add(candidates, pair.row, pair.column, pair, reach);
                }
            });
        } else {
            // Never the other way round, so that no two threads wait for each other.
            let mut of_columns = lock(column);
            let Block { candidates: of_columns, reach: column_reach } = &mut *of_columns;
            tile.for_pairs_in_reach(reach, column_reach, |pair, row_reach, column_reach| {
                if pair.least <= *row_reach {
                    add(candidates, pair.row, pair.column, pair, row_reach);
                }
                if pair.least <= *column_reach {
                    add(of_columns, pair.column, pair.row, pair, column_reach);
                }
            });
        }
    });
    let of_block = |block: usize| {
        let start = of_points[block].start;
        lock(block).kth_distances(|i, other| points.squared_distance(start + i, points, other))
    };
    parallel_map(of_points.len(), jobs, of_block).concat()
}

fn out_of_reach(columns: &Range<usize>) -> Vec<f32> {
    vec![OUT_OF_REACH; columns.len()]
}

/// What may be the k nearest of each point of a block, and how far these are at most.
struct Block {
    candidates: Vec<Candidates>,
    reach: Vec<f32>,
}

impl Block {
    fn new(len: usize, k: usize) -> Self {
        let none = Candidates { least_most: vec![f32::INFINITY; k], found: Vec::new() };
        Self { candidates: vec![none; len], reach: vec![f32::INFINITY; len] }
    }

    /// Squared distance of each point of the block from its k-th nearest; `distance(i, j)` is that of its point i from point j.
    fn kth_distances(&mut self, distance: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let kth = |(i, candidates): (usize, &mut Candidates)| candidates.keep_nearest(|j| distance(i, j));
        self.candidates.iter_mut().enumerate().map(kth).collect()
    }
}

/// Points that may be among the k nearest of one.
#[derive(Clone)]
struct Candidates {
    /// The k smallest upper bounds, ascending.
    least_most: Vec<f32>,
    /// Lower bounds and indices.
    found: Vec<(f32, usize)>,
}

impl Candidates {
    /// The squared distance beyond which no point is among the k nearest.
    fn reach(&self) -> f32 {
        self.least_most[self.least_most.len() - 1]
    }

    /// Adds point `index`, the other one of `pair`, and returns the reach.
    fn add(&mut self, pair: &Pair, index: usize, distance: impl Fn(usize) -> f64) -> f32 {
        if pair.most < self.reach() {
            let place = self.least_most.partition_point(|&other| other <= pair.most);
            self.least_most[place..].rotate_right(1);
            self.least_most[place] = pair.most;
        }
        self.found.push((pair.least, index));
        if self.found.len() >= MANY_CANDIDATES + self.least_most.len() {
            self.keep_nearest(distance);
        }
        self.reach()
    }

    /// Drops all candidates but the k nearest, and returns the squared distance of the last of these.
    fn keep_nearest(&mut self, distance: impl Fn(usize) -> f64) -> f64 {
        let (k, reach) = (self.least_most.len(), self.reach());
        self.found.retain(|&(least, _)| least <= reach);
        let mut nearest: Vec<(f64, usize)> = self.found.iter().map(|&(_, index)| (distance(index), index)).collect();
        nearest.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        nearest.truncate(k);
        self.found = nearest.iter().map(|&(_, index)| (f32::NEG_INFINITY, index)).collect();
        self.least_most = nearest.iter().map(|&(distance, _)| (distance as f32).next_up()).collect();
        let kth = nearest[k - 1].0;
        if kth == 0.0 {
            // Nothing is nearer: among many equal points, the others need not be looked at.
            self.least_most.fill(OUT_OF_REACH);
        }
        kth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Points;
    use crate::centred::Frame;

    /// Numbers without a random generator.
    fn waves(n: usize, dim: usize, phase: f32) -> Vec<f32> {
        (0..n * dim).map(|i| (i as f32 * 0.37 + phase).sin() * 3.0 + (i / dim) as f32 * 0.002).collect()
    }

    fn by_hand(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    }

    /// Squared distances of each point from the nearest of `others` and from its k-th nearest one, in the features' unit.
    fn distances(points: &[f32], others: &[f32], dim: usize, k: usize, jobs: usize) -> [Vec<f64>; 2] {
        let frame = Frame::around(&[points, others], dim, jobs);
        let [points, others] = [points, others].map(|set| Bounded::new(Points::new(set, dim).unwrap(), &frame, jobs));
        let distances = [nearest(&points, &others, jobs), kth_nearest(&points, k, jobs)];
        distances.map(|squared| squared.into_iter().map(|squared| squared / points.unit).collect())
    }

    /// The same by sorting the distances of all pairs.
    fn by_sorting(points: &[f32], others: &[f32], dim: usize, k: usize) -> [Vec<f64>; 2] {
        let sorted = |row: &[f32], others: &[f32]| {
            let mut distances: Vec<f64> = others.chunks(dim).map(|other| by_hand(row, other)).collect();
            distances.sort_by(f64::total_cmp);
            distances
        };
        // The nearest of all is the point itself.
        [(others, 0), (points, k)].map(|(set, place)| points.chunks(dim).map(|row| sorted(row, set)[place]).collect())
    }

    fn assert_as_by_sorting(points: &[f32], others: &[f32], dim: usize, k: usize) {
        let expected = by_sorting(points, others, dim, k);
        for jobs in [1, 3] {
            for (found, expected) in distances(points, others, dim, k, jobs).iter().zip(&expected) {
                for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                    // 1e-13: sums of d terms in another order.
                    assert!((found - expected).abs() <= 1e-13 * expected, "{i}: {found}, {expected}");
                }
            }
        }
    }

    #[test]
    fn neighbours_across_blocks_are_those_of_a_plain_search() {
        assert_as_by_sorting(&waves(600, 7, 0.0), &waves(300, 7, 1.0), 7, 3);
        assert_as_by_sorting(&waves(513, 131, 0.0), &waves(257, 131, 1.0), 131, 5);
    }

    #[test]
    fn neighbours_of_copies_and_ties_are_those_of_a_plain_search() {
        // A grid has many equal distances; every point is there at least twice.
        let grid: Vec<f32> = (0..700 * 3).map(|i| (i / 3 % 350 / [1, 7, 49][i % 3] % 7) as f32).collect();
        assert_as_by_sorting(&grid, &grid[..300], 3, 1);
        assert_as_by_sorting(&grid, &grid[..300], 3, 4);
        // More equal points than there may be candidates.
        let [mut copies, others] = [vec![0.1_f32; 400 * 2], waves(300, 2, 0.0)];
        copies.extend(waves(200, 2, 1.0));
        assert_as_by_sorting(&copies, &others, 2, 5);
    }

    #[test]
    fn neighbours_of_points_much_nearer_than_the_rounding_of_products_are_those_of_a_plain_search() {
        // Two clusters, 2,000 apart, of points 1e-4 to 0.1 from each other.
        let far =
            |set: Vec<f32>| set.iter().enumerate().map(|(i, x)| x * 0.01 + [-1000.0, 1000.0][i / 50 % 2]).collect();
        let [points, others]: [Vec<f32>; 2] = [far(waves(600, 50, 0.0)), far(waves(300, 50, 1.0))];
        assert_as_by_sorting(&points, &others, 50, 5);
    }

    #[test]
    fn features_of_any_size_have_neighbours() {
        for size in [1e-38, 1e-20, 1e20, 1e37] {
            let scaled = |set: Vec<f32>| set.iter().map(|x| x * size).collect::<Vec<_>>();
            assert_as_by_sorting(&scaled(waves(300, 5, 0.0)), &scaled(waves(270, 5, 1.0)), 5, 2);
        }
    }

    #[test]
    fn equal_vectors_far_from_zero_have_distance_0() {
        let far: Vec<f32> = waves(300, 50, 0.0).iter().map(|x| x + 1000.0).collect();
        assert!(distances(&far, &far, 50, 1, 2)[0].iter().all(|&distance| distance == 0.0));
    }
}
