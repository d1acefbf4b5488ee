//! Bounds of the squared distances of feature vectors, from products in f32.
//!
//! With u = 2⁻²⁴, a product x·y of d terms in f32 is within d u ‖x‖ ‖y‖ of the exact one, in any order of its sum, so that 2 x·y is
//! within d u (‖x‖² + ‖y‖²). Rounding of the centred vectors, their norms and the bounds themselves adds less than 32 u of that sum.
//! What the bounds leave in doubt is computed from x − y in f64.

use std::ops::Range;

use crate::centred::{Centred, Frame, blocks, sum_of};
use crate::error::Result;
use crate::stats::{check_finite, num_rows};

/// The reach of a point that needs no more pairs.
pub(crate) const OUT_OF_REACH: f32 = f32::NEG_INFINITY;

/// Pairs whose bounds are compared at once.
const STRIP: usize = 64;

/// Finite feature vectors `[n, d]`.
#[derive(Clone, Copy)]
pub(crate) struct Points<'a> {
    pub(crate) features: &'a [f32],
    pub(crate) dim: usize,
}

impl<'a> Points<'a> {
    pub(crate) fn new(features: &'a [f32], dim: usize) -> Result<Self> {
        num_rows(features, dim)?;
        check_finite(features, dim)?;
        Ok(Self { features, dim })
    }

    pub(crate) fn len(&self) -> usize {
        self.features.len() / self.dim
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.features[i * self.dim..(i + 1) * self.dim]
    }
}

/// Points with bounds of their squared distances from the points of the same frame. All squared distances are in its unit.
pub(crate) struct Bounded<'a> {
    points: Points<'a>,
    centred: Centred,
    /// ‖x‖² less its share of the error.
    least: Vec<f32>,
    /// ‖x‖² and its share of the error.
    most: Vec<f32>,
    /// Length of 1 in the frame, squared.
    pub(crate) unit: f64,
}

/// Two points whose squared distance is from `least` to `most`.
pub(crate) struct Pair {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) least: f32,
    pub(crate) most: f32,
}

impl Pair {
    /// Whether the squared distance is below `squared_radius`; `distance` computes it, and is called only where the bounds do not tell.
    pub(crate) fn is_within(&self, squared_radius: f64, distance: impl Fn() -> f64) -> bool {
        let [least, most] = [self.least, self.most].map(f64::from);
        most < squared_radius || (least < squared_radius && distance() < squared_radius)
    }
}

impl<'a> Bounded<'a> {
    pub(crate) fn new(points: Points<'a>, frame: &Frame, jobs: usize) -> Self {
        let centred = frame.centred(points.features, jobs);
        let error = (points.dim + 32) as f64 * f64::from(f32::EPSILON) / 2.0;
        // What is too small for f32 is lost from a product: less than this.
        let lost = f64::from(f32::MIN_POSITIVE);
        let norms = centred.squared_norms(jobs);
        let least = norms.iter().map(|norm| (norm * (1.0 - error) - lost) as f32).collect();
        let most = norms.iter().map(|norm| (norm * (1.0 + error) + lost) as f32).collect();
        Self { points, centred, least, most, unit: frame.scale * frame.scale }
    }

    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }

    /// Squared distance of point `i` from point `j` of `others`: the same from either side, and 0 for equal points.
    pub(crate) fn squared_distance(&self, i: usize, others: &Self, j: usize) -> f64 {
        self.unit * sum_of(self.points.row(i), others.points.row(j), |a, b| (a - b) * (a - b))
    }

    /// The products of a block of points with a block of `others`.
    pub(crate) fn tile<'b>(&'b self, row: usize, others: &'b Self, column: usize) -> Tile<'b> {
        let products = self.centred.products(row, &others.centred, column);
        let [rows, columns] =
            [(self, row), (others, column)].map(|(points, block)| blocks(points.len())[block].clone());
        Tile { points: self, others, rows, columns, products }
    }
}

/// All pairs of a block of points and a block of others.
pub(crate) struct Tile<'a> {
    points: &'a Bounded<'a>,
    others: &'a Bounded<'a>,
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    products: Vec<f32>,
}

impl Tile<'_> {
    /// Calls `visit` for each pair that may be within reach of either point. The reach of each row and each column of the tile is a
    /// squared distance, which `visit` may change.
    pub(crate) fn for_pairs_in_reach(
        &self,
        row_reach: &mut [f32],
        column_reach: &mut [f32],
        mut visit: impl FnMut(&Pair, &mut f32, &mut f32),
    ) {
        let (least, most) = (&self.others.least[self.columns.clone()], &self.others.most[self.columns.clone()]);
        let rows = self.rows.clone().zip(self.products.chunks_exact(self.columns.len())).zip(row_reach);
        for ((row, products), row_reach) in rows {
            let (row_least, row_most) = (self.points.least[row], self.points.most[row]);
            for start in (0..products.len()).step_by(STRIP) {
                let strip = start..products.len().min(start + STRIP);
                let reach = &mut column_reach[strip.clone()];
                if !any_in_reach(&products[strip.clone()], row_least, &least[strip.clone()], *row_reach, reach) {
                    continue;
                }
                for (at, reach) in strip.zip(reach) {
                    let twice = 2.0 * products[at];
                    let (least, most) = (row_least + least[at] - twice, row_most + most[at] - twice);
                    if least <= row_reach.max(*reach) {
                        visit(&Pair { row, column: self.columns.start + at, least, most }, row_reach, reach);
                    }
                }
            }
        }
    }
}

/// Whether a pair of one row and a strip of columns may be in reach. There is no branch inside, so that columns are compared
/// several at a time.
fn any_in_reach(products: &[f32], row_least: f32, least: &[f32], row_reach: f32, reach: &[f32]) -> bool {
    let mut any = 0;
    for ((product, least), &reach) in products.iter().zip(least).zip(reach) {
        let larger = if reach > row_reach { reach } else { row_reach };
        any |= u32::from(row_least + least - 2.0 * product <= larger);
    }
    any != 0
}
