//! One axis of a map, divided into tiles.

/// Maximum number of points of an axis.
pub(crate) const MAX_POINTS: usize = 6;
/// Maximum number of taps of an axis.
pub(crate) const MAX_TAPS: usize = 3;

/// Values `start..start + size` of an axis of the output map, whose first product is `product`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub start: usize,
    pub size: usize,
    pub product: usize,
}

/// One axis of the output map, divided into tiles.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub tiles: Vec<Tile>,
    /// Values in all tiles. The last tile may reach beyond the map, where values are zero.
    pub covered: usize,
    /// The point and the tile of each product.
    pub products: Vec<(usize, usize)>,
}

impl Axis {
    /// An axis of tiles of these sizes. A tile of `size` values has a product at each point of `points_of(size)`.
    pub(crate) fn new(sizes: impl Iterator<Item = usize>, points_of: impl Fn(usize) -> &'static [usize]) -> Self {
        let mut axis = Self { tiles: Vec::new(), covered: 0, products: Vec::new() };
        for (tile, size) in sizes.enumerate() {
            axis.tiles.push(Tile { start: axis.covered, size, product: axis.products.len() });
            axis.products.extend(points_of(size).iter().map(|&point| (point, tile)));
            axis.covered += size;
        }
        axis
    }

    /// Number of tiles that have a product at each point.
    pub(crate) fn tiles_at_points(&self) -> [usize; MAX_POINTS] {
        let mut tiles = [0; MAX_POINTS];
        self.products.iter().for_each(|&(point, _)| tiles[point] += 1);
        tiles
    }
}
