//! The layout of products in memory: tiles of the axes, rows of the points.

use std::ops::Range;

use super::axis::{Axis, MAX_POINTS};
use super::form::Form;
use super::three_taps::ThreeTaps;
use super::two_taps::TwoTaps;
use crate::geometry::{BLOCK, Geometry, Side};
use crate::product::Blocks;

/// Maximum number of points in two dimensions.
pub(crate) const MAX_PLANE_POINTS: usize = MAX_POINTS * MAX_POINTS;
/// Unused rows after those of each point. Without them, the rows that an image writes would fall into the same sets of
/// the caches.
const SPARE_ROWS: usize = 3;
/// Unused floats after the weights of each point, for the same reason.
const SPARE_WEIGHTS: usize = 5 * BLOCK;

/// One of the [forms](Form), as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    TwoTaps,
    ThreeTaps,
}

/// Evaluates `$then` with the type `$F` of the form `$kind`.
macro_rules! with_form {
    ($kind:expr, $F:ident => $then:expr) => {
        match $kind {
            $crate::winograd::product_layout::Kind::TwoTaps => {
                type $F = $crate::winograd::two_taps::TwoTaps;
                $then
            }
            $crate::winograd::product_layout::Kind::ThreeTaps => {
                type $F = $crate::winograd::three_taps::ThreeTaps;
                $then
            }
        }
    };
}
pub(crate) use with_form;

impl Kind {
    /// The form for `g`, if there is one for its window, its channels (whole blocks) and its sides.
    pub(crate) fn of(g: &Geometry) -> Option<Self> {
        let blocks = g.input.channels.is_multiple_of(BLOCK) && g.output.channels.is_multiple_of(BLOCK);
        let kind = match () {
            () if TwoTaps::fits(g) => Self::TwoTaps,
            () if ThreeTaps::fits(g) => Self::ThreeTaps,
            () => return None,
        };
        blocks.then_some(kind)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TwoTaps => "F(4, 2)",
            Self::ThreeTaps => "F(4, 3)",
        }
    }
}

/// The layout of the products of `n` images of one geometry.
#[derive(Clone, Debug)]
pub(crate) struct ProductLayout {
    pub g: Geometry,
    pub kind: Kind,
    pub n: usize,
    /// The vertical and the horizontal axis.
    pub axes: [Axis; 2],
    /// Number of points in two dimensions.
    pub points: usize,
    /// First row of each point.
    first_row: [usize; MAX_PLANE_POINTS],
    /// Rows per image of each point.
    rows_of_image: [usize; MAX_PLANE_POINTS],
    /// Rows of all points, including the spare ones.
    pub rows: usize,
    /// The point of each product, and its row among the image's rows of that point.
    products: Vec<(usize, usize)>,
}

impl ProductLayout {
    /// The layout for `n` images.
    ///
    /// # Panics
    /// When `kind` is not that [of](Kind::of) `g`.
    pub(crate) fn new(g: &Geometry, kind: Kind, n: usize) -> Self {
        assert_eq!(Kind::of(g), Some(kind), "the form of {g:?}");
        let axes = [g.output.height, g.output.width].map(|side| with_form!(kind, F => F::axis(side)));
        let axis_points = with_form!(kind, F => F::POINTS);
        let [vertical, horizontal] = [&axes[0], &axes[1]].map(Axis::tiles_at_points);
        let mut layout = Self {
            g: *g,
            kind,
            n,
            points: axis_points * axis_points,
            first_row: [0; MAX_PLANE_POINTS],
            rows_of_image: [0; MAX_PLANE_POINTS],
            rows: 0,
            products: Vec::new(),
            axes,
        };
        for point in 0..layout.points {
            layout.first_row[point] = layout.rows;
            layout.rows_of_image[point] = vertical[point / axis_points] * horizontal[point % axis_points];
            layout.rows += n * layout.rows_of_image[point] + SPARE_ROWS;
        }
        for &(y, tile_y) in &layout.axes[0].products {
            for &(x, tile_x) in &layout.axes[1].products {
                layout.products.push((y * axis_points + x, tile_y * horizontal[x] + tile_x));
            }
        }
        layout
    }

    /// Number of images.
    pub(crate) fn images(&self) -> usize {
        self.n
    }

    /// Blocks of columns of a map's products: those of the output map's channels, or those of the input map's channels
    /// times its phases.
    pub(crate) fn blocks(&self, side: Side) -> usize {
        match side {
            Side::Input => with_form!(self.kind, F => F::PHASES) * self.g.input.channels / BLOCK,
            Side::Output => self.g.output.channels / BLOCK,
        }
    }

    /// Length of `blocks` blocks of products, `[blocks, rows, 16]`.
    pub(crate) fn products_len(&self, blocks: usize) -> usize {
        blocks * self.rows * BLOCK
    }

    /// Distance of two points' matrices among the products of those weights that write `blocks` blocks of the map
    /// `to`.
    pub(crate) fn point_stride(&self, to: Side, blocks: usize) -> usize {
        self.blocks(to.other()) * blocks * BLOCK * BLOCK + SPARE_WEIGHTS
    }

    /// Length of the products of those weights that write `blocks` blocks of the map `to`, one matrix per point.
    pub(crate) fn weights_len(&self, to: Side, blocks: usize) -> usize {
        self.points * self.point_stride(to, blocks)
    }

    /// Writes the index of each product of image `i` in a block to `offsets`.
    pub(crate) fn offsets(&self, i: usize, offsets: &mut Vec<usize>) {
        offsets.clear();
        let row = |&(point, row): &(usize, usize)| self.first_row[point] + i * self.rows_of_image[point] + row;
        offsets.extend(self.products.iter().map(|product| row(product) * BLOCK));
    }

    /// The rows of `point` in the blocks `blocks` of a map's products.
    pub(crate) fn point<'a>(&self, products: &'a [f32], point: usize, blocks: Range<usize>) -> Blocks<'a> {
        let stride = self.rows * BLOCK;
        let values = &products[blocks.start * stride + self.first_row[point] * BLOCK..];
        Blocks { values, stride, count: blocks.len() }
    }

    /// The first row of `point`.
    pub(crate) fn first_row(&self, point: usize) -> usize {
        self.first_row[point]
    }

    /// The matrix of `point` among the products of those weights that write `blocks` blocks of the map `to`.
    pub(crate) fn factor_at<'a>(&self, products: &'a [f32], point: usize, to: Side, blocks: usize) -> Blocks<'a> {
        let values = &products[point * self.point_stride(to, blocks)..];
        Blocks { values, stride: self.blocks(to.other()) * BLOCK * BLOCK, count: blocks }
    }

    /// Multiply-adds of the products of all points.
    pub(crate) fn multiply_adds(&self) -> usize {
        let rows: usize = (0..self.points).map(|point| self.image_rows(point)).sum();
        rows * self.blocks(Side::Input) * self.blocks(Side::Output) * BLOCK * BLOCK
    }

    /// Rows of all images at `point`.
    pub(crate) fn image_rows(&self, point: usize) -> usize {
        self.n * self.rows_of_image[point]
    }
}
