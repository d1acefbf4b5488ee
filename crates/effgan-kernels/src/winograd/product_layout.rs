//! The layout of products in memory: tiles of the axes, rows of the points.

use crate::geometry::{BLOCK, Geometry, Side};
use crate::product::Blocks;

/// Number of points of an axis: 0, 1, −1, 2, ∞.
pub(crate) const AXIS_POINTS: usize = 5;
/// Number of points in two dimensions.
pub(crate) const POINTS: usize = AXIS_POINTS * AXIS_POINTS;
/// Indices of the points of a tile of four and of a tile of three.
pub(crate) const POINTS_OF: [&[usize]; 2] = [&[0, 1, 2, 3, 4], &[0, 1, 2, 4]];
/// Unused rows after those of each point. Without them, the rows that an image writes would fall into the same sets of
/// the caches.
pub(crate) const SPARE_ROWS: usize = 3;
/// Unused floats after the weights of each point, for the same reason.
pub(crate) const SPARE_WEIGHTS: usize = 5 * BLOCK;

/// Whether the algorithm applies to `g`: to its window, its channels (whole blocks) and its sides.
pub(crate) fn fits(g: &Geometry) -> bool {
    let blocks = g.input.channels.is_multiple_of(BLOCK) && g.output.channels.is_multiple_of(BLOCK);
    let sides = (g.input.height, g.input.width) == (2 * g.output.height, 2 * g.output.width);
    (g.kernel, g.stride, g.padding) == (4, 2, 1)
        && blocks
        && sides
        && [g.output.height, g.output.width].into_iter().all(|side| fours_and_threes(side).is_some())
}

/// Numbers of tiles of four and of three that make up an axis of `side` values, with as few threes as possible; `None`
/// for 1, 2 and 5.
fn fours_and_threes(side: usize) -> Option<(usize, usize)> {
    let threes = (4 - side % 4) % 4;
    Some((side.checked_sub(3 * threes)? / 4, threes))
}

/// Values `start..start + size` of an axis of the output map, whose first product is `product`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub start: usize,
    pub size: usize,
    pub product: usize,
}

/// One axis of the output map, divided into tiles: fours first, then threes.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub tiles: Vec<Tile>,
    pub side: usize,
    /// The point and the tile of each product.
    pub products: Vec<(usize, usize)>,
}

impl Axis {
    /// `None` where fours and threes do not make up `side`.
    pub(crate) fn new(side: usize) -> Option<Self> {
        let (fours, threes) = fours_and_threes(side)?;
        let mut axis = Self { tiles: Vec::new(), side, products: Vec::new() };
        let mut start = 0;
        for (tile, size) in std::iter::repeat_n(4, fours).chain(std::iter::repeat_n(3, threes)).enumerate() {
            axis.tiles.push(Tile { start, size, product: axis.products.len() });
            axis.products.extend(POINTS_OF[4 - size].iter().map(|&point| (point, tile)));
            start += size;
        }
        Some(axis)
    }

    /// Number of tiles that have a product at `point`.
    pub(crate) fn tiles_at(&self, point: usize) -> usize {
        self.products.iter().filter(|(of, _)| *of == point).count()
    }
}

/// The layout of the products of `n` images of one geometry.
#[derive(Clone, Debug)]
pub(crate) struct ProductLayout {
    pub g: Geometry,
    pub n: usize,
    /// The vertical and the horizontal axis.
    pub axes: [Axis; 2],
    /// First row of each point.
    pub first_row: [usize; POINTS],
    /// Rows per image of each point.
    pub rows_of_image: [usize; POINTS],
    /// Rows of all points, including the spare ones.
    pub rows: usize,
    /// The point of each product, and its row among the image's rows of that point.
    pub products: Vec<(usize, usize)>,
}

impl ProductLayout {
    /// The layout for `n` images.
    ///
    /// # Panics
    /// When `g` does not [fit](fits).
    pub(crate) fn new(g: &Geometry, n: usize) -> Self {
        assert!(fits(g), "{g:?} has no Winograd form");
        let axes = [g.output.height, g.output.width].map(|side| Axis::new(side).expect("it fits"));
        let [vertical, horizontal] = &axes;
        let mut layout = Self {
            g: *g,
            n,
            first_row: [0; POINTS],
            rows_of_image: [0; POINTS],
            rows: 0,
            products: Vec::new(),
            axes: axes.clone(),
        };
        for point in 0..POINTS {
            layout.first_row[point] = layout.rows;
            layout.rows_of_image[point] =
                vertical.tiles_at(point / AXIS_POINTS) * horizontal.tiles_at(point % AXIS_POINTS);
            layout.rows += n * layout.rows_of_image[point] + SPARE_ROWS;
        }
        for &(y, tile_y) in &vertical.products {
            for &(x, tile_x) in &horizontal.products {
                layout.products.push((y * AXIS_POINTS + x, tile_y * horizontal.tiles_at(x) + tile_x));
            }
        }
        layout
    }

    /// Number of images.
    pub(crate) fn images(&self) -> usize {
        self.n
    }

    /// Columns of a map's products: the channels of the output map, or those of the input map times the four phases.
    pub(crate) fn columns(&self, side: Side) -> usize {
        match side {
            Side::Input => 4 * self.g.input.channels,
            Side::Output => self.g.output.channels,
        }
    }

    /// Length of a map's products, `[columns / 16, rows, 16]`.
    pub(crate) fn products_len(&self, side: Side) -> usize {
        self.columns(side) * self.rows
    }

    /// Length of the weights' products, one matrix per point.
    pub(crate) fn weights_len(&self) -> usize {
        POINTS * self.point_stride()
    }

    /// Distance of two points' matrices among the weights' products.
    pub(crate) fn point_stride(&self) -> usize {
        self.columns(Side::Input) * self.columns(Side::Output) + SPARE_WEIGHTS
    }

    /// Writes the index of each product of image `i` in a block to `offsets`.
    pub(crate) fn offsets(&self, i: usize, offsets: &mut Vec<usize>) {
        offsets.clear();
        let row = |&(point, row): &(usize, usize)| self.first_row[point] + i * self.rows_of_image[point] + row;
        offsets.extend(self.products.iter().map(|product| row(product) * BLOCK));
    }

    /// The rows of `point` in the products of a map.
    pub(crate) fn point<'a>(&self, products: &'a [f32], point: usize, side: Side) -> Blocks<'a> {
        let values = &products[self.first_row[point] * BLOCK..];
        Blocks { values, stride: self.rows * BLOCK, count: self.columns(side) / BLOCK }
    }

    /// The matrix of `point` among the products of the weights, which multiplies the products of the map `from`.
    pub(crate) fn factor_at<'a>(&self, products: &'a [f32], point: usize, from: Side) -> Blocks<'a> {
        let values = &products[point * self.point_stride()..];
        Blocks { values, stride: self.columns(from) * BLOCK, count: self.columns(from.other()) / BLOCK }
    }

    /// Rows of all images at `point`.
    pub(crate) fn image_rows(&self, point: usize) -> usize {
        self.n * self.rows_of_image[point]
    }
}
