//! The matrices of all points rounded to bf16, for products that read them several times.

use super::product_layout::MAX_PLANE_POINTS;
use crate::buffer::Scratch;
use crate::parallel_for::{Shared, parallel_for};
use crate::product::Blocks;
use crate::product_bf16::{Line, Pack, Packed};

/// A matrix in bf16 for each point.
pub(super) struct PackedPoints {
    pack: Pack,
    lines: Scratch<Line>,
    /// Number of rows of each point.
    rows: [usize; MAX_PLANE_POINTS],
    /// Index of the first line of each point.
    first: [usize; MAX_PLANE_POINTS],
    blocks: usize,
}

impl PackedPoints {
    /// Memory for matrices of `rows(point)` rows in `blocks` blocks, for `points` points.
    pub(super) fn new(pack: Pack, points: usize, blocks: usize, rows: impl Fn(usize) -> usize) -> Self {
        let (mut all_rows, mut first, mut len) = ([0; MAX_PLANE_POINTS], [0; MAX_PLANE_POINTS], 0);
        for point in 0..points {
            (all_rows[point], first[point]) = (rows(point), len);
            len += Packed::lines(rows(point), blocks);
        }
        Self { pack, lines: Scratch::of(len), rows: all_rows, first, blocks }
    }

    /// Rounds the matrices of all `points` points.
    pub(super) fn write<'a>(&mut self, points: usize, matrix: impl Fn(usize) -> Blocks<'a> + Send + Sync) {
        let (pack, rows, first, blocks) = (self.pack, &self.rows, &self.first, self.blocks);
        let lines = Shared::new(&mut self.lines);
        parallel_for(points, |point| {
            // SAFETY: each point is written by one call.
            let lines = unsafe { lines.part(first[point], Packed::lines(rows[point], blocks)) };
            Packed::write(pack, rows[point], matrix(point), lines);
        });
    }

    /// The matrix of `point`.
    pub(super) fn point(&self, point: usize) -> Packed<'_> {
        let rows = self.rows[point];
        let lines = &self.lines[self.first[point]..][..Packed::lines(rows, self.blocks)];
        Packed::of(self.pack, lines, rows, self.blocks)
    }
}
