//! Convolution of width 4, stride 2, padding 1 (and its transpose) in Winograd's form (Winograd 1980; Lavin & Gray 2016,
//! arXiv:1509.09308): 81 products of small matrices' elements where the plain form has 196, for 14 × 14 ↔ 7 × 7.
//!
//! The big map, split into its four phases (even and odd rows and columns), is a map of half the side and four times the channels; on
//! it the convolution has width 2 and stride 1. An axis of the small map is cut into tiles of 4 and 3 values; a tile of m values is
//! computed by F(m, 2): m + 1 products at the points 0, 1, −1, 2 and ∞ (2 is left out for m = 3). A *product* is one (point, tile) pair
//! of an axis, and in two dimensions a pair of those; all tiles of a point share its transformed weights, so that each of the 25
//! points is one matrix product whose rows are the images' tiles. With the matrices A, B, G of F(m, 2), one trilinear form gives
//! all three directions:
//!
//! ```text
//! small = Aᵀ [ (G w) · (Bᵀ big) ]      big = B [ (G w) · (A small) ]      grad w = Gᵀ [ (Bᵀ big) · (A small) ]
//! ```
//!
//! Rounding: the largest factor that a transform multiplies by is 8, so that f32 results are within 1e-5 of the largest value.

use super::buffer::Buffer;
use super::geometry::{BLOCK, Geometry, MapShape};
use super::isa::{Isa, for_each_isa};
use super::lanes::Lanes;
use super::precision::Precision;
use super::product::{Blocks, BlocksMut, product, product_of_transposed};
use super::product_bf16::{self, Packed};
use super::threads::{self, Shared};

/// Points of an axis: 0, 1, −1, 2, ∞.
const AXIS_POINTS: usize = 5;
const POINTS: usize = AXIS_POINTS * AXIS_POINTS;
/// The points of a tile of four and of a tile of three.
const POINTS_OF: [&[usize]; 2] = [&[0, 1, 2, 3, 4], &[0, 1, 2, 4]];
/// Lines between the rows of two points, and between the weights of two: without them the rows that one image writes fall into the same
/// sets of the cache.
const SPARE_ROWS: usize = 3;
const SPARE_WEIGHTS: usize = 5 * BLOCK;

/// Whether this form serves `g`: its window, and channels in whole blocks.
pub(super) fn fits(g: &Geometry) -> bool {
    let blocks = g.big.channels.is_multiple_of(BLOCK) && g.small.channels.is_multiple_of(BLOCK);
    let sides = (g.big.height, g.big.width) == (2 * g.small.height, 2 * g.small.width);
    (g.kernel, g.stride, g.padding) == (4, 2, 1)
        && blocks
        && sides
        && Axis::new(g.small.height).is_some()
        && Axis::new(g.small.width).is_some()
}

/// Values `start..start + size` of an axis of the small map, and its first product.
#[derive(Clone, Copy, Debug)]
struct Tile {
    start: usize,
    size: usize,
    product: usize,
}

/// One axis of the small map, in tiles: fours first, then threes.
#[derive(Clone, Debug)]
struct Axis {
    tiles: Vec<Tile>,
    side: usize,
    /// Point and tile of each product.
    products: Vec<(usize, usize)>,
}

impl Axis {
    /// `None` where fours and threes do not make up `side`: 1, 2 and 5.
    fn new(side: usize) -> Option<Self> {
        let threes = (4 - side % 4) % 4;
        let fours = side.checked_sub(3 * threes)? / 4;
        let mut axis = Self { tiles: Vec::new(), side, products: Vec::new() };
        let mut start = 0;
        for (tile, size) in std::iter::repeat_n(4, fours).chain(std::iter::repeat_n(3, threes)).enumerate() {
            axis.tiles.push(Tile { start, size, product: axis.products.len() });
            axis.products.extend(POINTS_OF[4 - size].iter().map(|&point| (point, tile)));
            start += size;
        }
        Some(axis)
    }

    /// How many tiles have `point`.
    fn tiles_at(&self, point: usize) -> usize {
        self.products.iter().filter(|(of, _)| *of == point).count()
    }
}

/// Where everything lies for `n` images of one geometry.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    g: Geometry,
    n: usize,
    /// Rows (vertical) and columns.
    axes: [Axis; 2],
    /// First row of each point, and its rows an image.
    first_row: [usize; POINTS],
    rows_of_image: [usize; POINTS],
    /// Rows of all points, with the spare ones.
    rows: usize,
    /// For each product its point, and its row within those of an image.
    products: Vec<(usize, usize)>,
}

impl Plan {
    /// The plan for `n` images.
    ///
    /// # Panics
    /// When `g` does not [fit](fits).
    pub(super) fn new(g: &Geometry, n: usize) -> Self {
        assert!(fits(g), "{g:?} has no Winograd form");
        let axes = [g.small.height, g.small.width].map(|side| Axis::new(side).expect("it fits"));
        let [vertical, horizontal] = &axes;
        let mut plan = Self {
            g: *g,
            n,
            first_row: [0; POINTS],
            rows_of_image: [0; POINTS],
            rows: 0,
            products: Vec::new(),
            axes: axes.clone(),
        };
        for point in 0..POINTS {
            plan.first_row[point] = plan.rows;
            plan.rows_of_image[point] =
                vertical.tiles_at(point / AXIS_POINTS) * horizontal.tiles_at(point % AXIS_POINTS);
            plan.rows += n * plan.rows_of_image[point] + SPARE_ROWS;
        }
        for &(y, tile_y) in &vertical.products {
            for &(x, tile_x) in &horizontal.products {
                plan.products.push((y * AXIS_POINTS + x, tile_y * horizontal.tiles_at(x) + tile_x));
            }
        }
        plan
    }

    /// Images of a batch.
    pub(super) fn images(&self) -> usize {
        self.n
    }

    /// Length of the big map's products, `[4 · channels / 16, rows, 16]`.
    pub(super) fn big_len(&self) -> usize {
        4 * self.g.big.channels * self.rows
    }

    /// Length of the small map's products, `[channels / 16, rows, 16]`.
    pub(super) fn small_len(&self) -> usize {
        self.g.small.channels * self.rows
    }

    /// Length of the weights' products, one matrix a point.
    pub(super) fn weights_len(&self) -> usize {
        POINTS * self.point_stride()
    }

    fn point_stride(&self) -> usize {
        4 * self.g.big.channels * self.g.small.channels + SPARE_WEIGHTS
    }

    /// Where in a block each product of image `i` lies.
    fn offsets(&self, i: usize, offsets: &mut Vec<usize>) {
        offsets.clear();
        let row = |&(point, row): &(usize, usize)| self.first_row[point] + i * self.rows_of_image[point] + row;
        offsets.extend(self.products.iter().map(|product| row(product) * BLOCK));
    }

    /// The rows of `point` in `products`, of which a row is `channels` wide.
    fn point<'a>(&self, products: &'a [f32], point: usize, channels: usize) -> Blocks<'a> {
        let values = &products[self.first_row[point] * BLOCK..];
        Blocks { values, stride: self.rows * BLOCK, count: channels / BLOCK }
    }

    /// The matrix of `point` among the products of weights, `rows` × `columns`.
    fn weights_at<'a>(&self, products: &'a [f32], point: usize, rows: usize, columns: usize) -> Blocks<'a> {
        let values = &products[point * self.point_stride()..];
        Blocks { values, stride: rows * BLOCK, count: columns / BLOCK }
    }

    fn image_rows(&self, point: usize) -> usize {
        self.n * self.rows_of_image[point]
    }
}

/// A plane of 16 channels seen at every `step`-th pixel from `origin` on; zero outside.
#[derive(Clone, Copy)]
struct Lattice {
    height: usize,
    width: usize,
    step: usize,
    /// Row and column of the first pixel, plus one, so that a border of one pixel is not negative.
    origin: [usize; 2],
}

impl Lattice {
    /// All pixels of a map.
    fn whole(shape: &MapShape) -> Self {
        Self { height: shape.height, width: shape.width, step: 1, origin: [1, 1] }
    }

    /// One of the four phases of a map that has a border of one pixel.
    fn phase(shape: &MapShape, phase: usize) -> Self {
        Self { height: shape.height, width: shape.width, step: 2, origin: [phase / 2, phase % 2] }
    }

    /// Where row `y` of the lattice starts in its plane, if inside.
    #[inline(always)]
    fn row(&self, y: usize) -> Option<usize> {
        let row = (self.step * y + self.origin[0]).wrapping_sub(1);
        (row < self.height).then(|| row * self.width * BLOCK)
    }

    /// Where column `x` of the lattice lies in a row, if inside.
    #[inline(always)]
    fn column(&self, x: usize) -> Option<usize> {
        let column = (self.step * x + self.origin[1]).wrapping_sub(1);
        (column < self.width).then(|| column * BLOCK)
    }

    /// From a pixel to the same one of the plane that follows: the transforms ask the caches for it while they are at this one.
    #[inline(always)]
    fn next_plane(&self) -> usize {
        self.height * self.width * BLOCK
    }
}

/// A map from the values of an axis to its products.
trait IntoProducts {
    /// Values that a tile takes beyond its size.
    const EXTRA: usize;
    fn four<L: Lanes>(x: [L; 5]) -> [L; 5];
    /// The fifth is nothing.
    fn three<L: Lanes>(x: [L; 5]) -> [L; 5];

    #[inline(always)]
    fn tile<L: Lanes, const SIZE: usize>(x: [L; 5]) -> [L; 5] {
        if SIZE == 4 { Self::four(x) } else { Self::three(x) }
    }
}

/// A map from the products of an axis to its values; a value that two tiles give is their sum.
trait OutOfProducts {
    const EXTRA: usize;
    fn four<L: Lanes>(m: [L; 5]) -> [L; 5];
    fn three<L: Lanes>(m: [L; 5]) -> [L; 5];

    #[inline(always)]
    fn tile<L: Lanes, const SIZE: usize>(m: [L; 5]) -> [L; 5] {
        if SIZE == 4 { Self::four(m) } else { Self::three(m) }
    }
}

/// The big map's transforms, Bᵀ and B.
struct Big;
/// The small map's transforms, A and Aᵀ.
struct Small;

impl IntoProducts for Big {
    const EXTRA: usize = 1;

    #[inline(always)]
    fn four<L: Lanes>([x0, x1, x2, x3, x4]: [L; 5]) -> [L; 5] {
        let odd = x1.sub(x3);
        [
            odd.scale_add(-0.5, x0).sub(x2),
            x2.sub(x3).scale_add(0.5, x1),
            x1.scale_add(-1.0 / 3.0, x2.scale_add(0.5, x3.scale(-1.0 / 6.0))),
            odd.scale(-1.0 / 6.0),
            odd.scale_add(2.0, x4).sub(x2),
        ]
    }

    #[inline(always)]
    fn three<L: Lanes>([x0, x1, x2, x3, nothing]: [L; 5]) -> [L; 5] {
        [x0.sub(x2), x1.add(x2).scale(0.5), x2.sub(x1).scale(0.5), x3.sub(x1), nothing]
    }
}

impl OutOfProducts for Big {
    const EXTRA: usize = 1;

    #[inline(always)]
    fn four<L: Lanes>([m0, m1, m2, m3, m4]: [L; 5]) -> [L; 5] {
        let sum = m1.add(m2);
        [
            m0,
            m0.scale_add(-0.5, m2.scale_add(-1.0 / 3.0, m3.scale_add(-1.0 / 6.0, m4.scale_add(2.0, m1)))),
            sum.scale_add(0.5, m0.scale(-1.0)).sub(m4),
            m0.sub(m1).scale_add(0.5, m3.sub(m2).scale_add(1.0 / 6.0, m4.scale(-2.0))),
            m4,
        ]
    }

    #[inline(always)]
    fn three<L: Lanes>([m0, m1, m2, m4, _]: [L; 5]) -> [L; 5] {
        [m0, m1.sub(m2).scale_add(0.5, m4.scale(-1.0)), m1.add(m2).scale_add(0.5, m0.scale(-1.0)), m4, m4]
    }
}

impl IntoProducts for Small {
    const EXTRA: usize = 0;

    #[inline(always)]
    fn four<L: Lanes>([x0, x1, x2, x3, _]: [L; 5]) -> [L; 5] {
        let (even, odd) = (x0.add(x2), x1.add(x3));
        let two = x1.scale_add(2.0, x2.scale_add(4.0, x3.scale_add(8.0, x0)));
        [x0, even.add(odd), even.sub(odd), two, x3]
    }

    #[inline(always)]
    fn three<L: Lanes>([x0, x1, x2, nothing, _]: [L; 5]) -> [L; 5] {
        let even = x0.add(x2);
        [x0, even.add(x1), even.sub(x1), x2, nothing]
    }
}

impl OutOfProducts for Small {
    const EXTRA: usize = 0;

    #[inline(always)]
    fn four<L: Lanes>([m0, m1, m2, m3, m4]: [L; 5]) -> [L; 5] {
        let (sum, difference) = (m1.add(m2), m1.sub(m2));
        [
            m0.add(sum).add(m3),
            m3.scale_add(2.0, difference),
            m3.scale_add(4.0, sum),
            m3.scale_add(8.0, difference.add(m4)),
            m4,
        ]
    }

    #[inline(always)]
    fn three<L: Lanes>([m0, m1, m2, m4, _]: [L; 5]) -> [L; 5] {
        let sum = m1.add(m2);
        [m0.add(sum), m1.sub(m2), sum.add(m4), m4, m4]
    }
}

/// The transform of one plane of 16 channels into its products, each at its offset in `products`.
///
/// # Safety
/// The processor has `L`; the lattice is inside `plane`, each offset plus 16 inside `products`; `scratch` holds
/// products × (side + 1) lines.
#[inline(always)]
unsafe fn plane_into_products<L: Lanes, T: IntoProducts>(
    [vertical, horizontal]: &[Axis; 2],
    lattice: Lattice,
    plane: *const f32,
    scratch: *mut f32,
    products: *mut f32,
    offsets: &[usize],
) {
    let columns = horizontal.side + T::EXTRA;
    // SAFETY: the caller's.
    unsafe {
        for lane in (0..BLOCK).step_by(L::N) {
            for tile in &vertical.tiles {
                let to = scratch.add(tile.product * columns * BLOCK);
                match tile.size {
                    4 => columns_into::<L, T, 4>(lattice, plane.add(lane), tile.start, columns, to),
                    _ => columns_into::<L, T, 3>(lattice, plane.add(lane), tile.start, columns, to),
                }
            }
            for (row, offsets) in offsets.chunks_exact(horizontal.products.len()).enumerate() {
                for tile in &horizontal.tiles {
                    let from = scratch.add((row * columns + tile.start) * BLOCK);
                    let offsets = offsets.as_ptr().add(tile.product);
                    match tile.size {
                        4 => row_into::<L, T, 4>(from, products.add(lane), offsets),
                        _ => row_into::<L, T, 3>(from, products.add(lane), offsets),
                    }
                }
            }
        }
    }
}

/// All columns of one vertical tile.
#[inline(always)]
unsafe fn columns_into<L: Lanes, T: IntoProducts, const SIZE: usize>(
    lattice: Lattice,
    plane: *const f32,
    start: usize,
    columns: usize,
    to: *mut f32,
) {
    let mut rows = [None; 5];
    for i in 0..5 {
        rows[i] = lattice.row(start + i);
    }
    for x in 0..columns {
        // SAFETY: the caller's.
        unsafe {
            let mut values = [L::splat(0.0); 5];
            if let Some(column) = lattice.column(x) {
                for i in 0..SIZE + T::EXTRA {
                    if let Some(row) = rows[i] {
                        let pixel = plane.add(row + column);
                        L::prefetch(pixel.wrapping_add(lattice.next_plane()));
                        values[i] = L::load(pixel);
                    }
                }
            }
            let m = T::tile::<L, SIZE>(values);
            for i in 0..=SIZE {
                m[i].store(to.add((i * columns + x) * BLOCK));
            }
        }
    }
}

/// One row of one horizontal tile.
#[inline(always)]
unsafe fn row_into<L: Lanes, T: IntoProducts, const SIZE: usize>(
    from: *const f32,
    products: *mut f32,
    offsets: *const usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut values = [L::splat(0.0); 5];
        for i in 0..SIZE + T::EXTRA {
            values[i] = L::load(from.add(i * BLOCK));
        }
        let m = T::tile::<L, SIZE>(values);
        for i in 0..=SIZE {
            m[i].store(products.add(*offsets.add(i)));
        }
    }
}

/// What is done to a value before it is stored: a bias, then a leaky ReLU where the slope is not 1.
#[derive(Clone, Copy)]
struct Finish {
    /// 16 values, or null for none.
    bias: *const f32,
    slope: f32,
}

/// The transform of the products of one plane of 16 channels back to its pixels.
///
/// # Safety
/// As [`plane_into_products`].
#[inline(always)]
unsafe fn plane_out_of_products<L: Lanes, T: OutOfProducts>(
    [vertical, horizontal]: &[Axis; 2],
    lattice: Lattice,
    products: *const f32,
    offsets: &[usize],
    scratch: *mut f32,
    plane: *mut f32,
    finish: Finish,
) {
    let width = horizontal.products.len();
    // SAFETY: the caller's.
    unsafe {
        for lane in (0..BLOCK).step_by(L::N) {
            for tile in &vertical.tiles {
                let offsets = offsets.as_ptr().add(tile.product * width);
                let to = scratch.add(tile.start * width * BLOCK);
                match tile.size {
                    4 => columns_out::<L, T, 4>(products.add(lane), offsets, width, tile.start > 0, to),
                    _ => columns_out::<L, T, 3>(products.add(lane), offsets, width, tile.start > 0, to),
                }
            }
            let bias = if finish.bias.is_null() { L::splat(0.0) } else { L::load(finish.bias.add(lane)) };
            for y in 0..vertical.side + T::EXTRA {
                let Some(row) = lattice.row(y) else { continue };
                let to = RowOut { lattice, row: plane.add(row + lane), bias, slope: finish.slope };
                let mut carry = L::splat(0.0);
                for tile in &horizontal.tiles {
                    let from = scratch.add((y * width + tile.product) * BLOCK);
                    carry = match tile.size {
                        4 => to.tile::<T, 4>(from, tile.start, carry),
                        _ => to.tile::<T, 3>(from, tile.start, carry),
                    };
                }
                if T::EXTRA == 1 {
                    to.write(horizontal.side, carry);
                }
            }
        }
    }
}

/// All columns of one vertical tile; `carry` when the tile before has left its last value where this one's first goes.
#[inline(always)]
unsafe fn columns_out<L: Lanes, T: OutOfProducts, const SIZE: usize>(
    products: *const f32,
    offsets: *const usize,
    columns: usize,
    carry: bool,
    to: *mut f32,
) {
    for column in 0..columns {
        // SAFETY: the caller's: offsets of all products of the tile, and scratch for all its values.
        unsafe {
            let mut m = [L::splat(0.0); 5];
            for i in 0..=SIZE {
                m[i] = L::load(products.add(*offsets.add(i * columns + column)));
            }
            let mut values = T::tile::<L, SIZE>(m);
            let to = to.add(column * BLOCK);
            if T::EXTRA == 1 && carry {
                values[0] = values[0].add(L::load(to));
            }
            for i in 0..SIZE + T::EXTRA {
                values[i].store(to.add(i * columns * BLOCK));
            }
        }
    }
}

/// A row of a plane's pixels.
#[derive(Clone, Copy)]
struct RowOut<L> {
    lattice: Lattice,
    row: *mut f32,
    bias: L,
    slope: f32,
}

impl<L: Lanes> RowOut<L> {
    /// Writes the values of one tile, `carry` added to the first; returns what it gives to the next one's first.
    #[inline(always)]
    unsafe fn tile<T: OutOfProducts, const SIZE: usize>(self, from: *const f32, start: usize, carry: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let mut m = [L::splat(0.0); 5];
            for i in 0..=SIZE {
                m[i] = L::load(from.add(i * BLOCK));
            }
            let mut values = T::tile::<L, SIZE>(m);
            if T::EXTRA == 1 {
                values[0] = values[0].add(carry);
            }
            for i in 0..SIZE {
                self.write(start + i, values[i]);
            }
            values[SIZE]
        }
    }

    #[inline(always)]
    unsafe fn write(self, x: usize, value: L) {
        let value = value.add(self.bias);
        let value = if self.slope == 1.0 { value } else { value.leaky(self.slope) };
        if let Some(column) = self.lattice.column(x) {
            let pixel = self.row.wrapping_add(column);
            L::prefetch(pixel.wrapping_add(self.lattice.next_plane()));
            // SAFETY: the caller's.
            unsafe { value.store(pixel) }
        }
    }
}

thread_local! {
    /// Half-transformed planes and the offsets of an image's products.
    static SCRATCH: std::cell::RefCell<(Vec<f32>, Vec<usize>)> = const { std::cell::RefCell::new((Vec::new(), Vec::new())) };
}

/// `work` with scratch for one plane and the offsets of image `i`.
fn with_scratch(plan: &Plan, i: usize, work: impl FnOnce(*mut f32, &[usize])) {
    SCRATCH.with_borrow_mut(|(scratch, offsets)| {
        let lines = plan.axes.iter().map(|axis| axis.products.len().max(axis.side + 1)).product::<usize>();
        if scratch.len() < lines * BLOCK {
            scratch.resize(lines * BLOCK, 0.0);
        }
        plan.offsets(i, offsets);
        work(scratch.as_mut_ptr(), offsets);
    });
}

/// Bᵀ big: a batch of big maps into products `[4 · channels / 16, rows, 16]`, phase by phase.
pub(super) fn big_into_products(isa: Isa, plan: &Plan, big: &[f32], products: &mut [f32]) {
    assert_eq!(big.len(), plan.n * plan.g.big.len());
    assert_eq!(products.len(), plan.big_len());
    let products = Shared::new(products);
    threads::each(plan.n, |i| {
        with_scratch(plan, i, |scratch, offsets| {
            big_image_into(
                isa,
                plan,
                &big[i * plan.g.big.len()..][..plan.g.big.len()],
                scratch,
                products.pointer(),
                offsets,
            );
        });
    });
}

for_each_isa! {
    fn big_image_into = big_image_into_on(plan: &Plan, big: &[f32], scratch: *mut f32, products: *mut f32, offsets: &[usize]);
}

#[inline(always)]
unsafe fn big_image_into_on<L: Lanes>(
    plan: &Plan,
    big: &[f32],
    scratch: *mut f32,
    products: *mut f32,
    offsets: &[usize],
) {
    let shape = &plan.g.big;
    let blocks = shape.channels / BLOCK;
    for block in 0..blocks {
        for phase in 0..4 {
            let lattice = Lattice::phase(shape, phase);
            // SAFETY: lengths are checked above, and images have rows of their own.
            unsafe {
                let plane = big.as_ptr().add(block * shape.pixels() * BLOCK);
                let products = products.add((phase * blocks + block) * plan.rows * BLOCK);
                plane_into_products::<L, Big>(&plan.axes, lattice, plane, scratch, products, offsets);
            }
        }
    }
}

/// A small: a batch of small maps into products `[channels / 16, rows, 16]`.
pub(super) fn small_into_products(isa: Isa, plan: &Plan, small: &[f32], products: &mut [f32]) {
    assert_eq!(small.len(), plan.n * plan.g.small.len());
    assert_eq!(products.len(), plan.small_len());
    let products = Shared::new(products);
    let len = plan.g.small.len();
    threads::each(plan.n, |i| {
        with_scratch(plan, i, |scratch, offsets| {
            small_image_into(isa, plan, &small[i * len..][..len], scratch, products.pointer(), offsets);
        });
    });
}

for_each_isa! {
    fn small_image_into = small_image_into_on(plan: &Plan, small: &[f32], scratch: *mut f32, products: *mut f32, offsets: &[usize]);
}

#[inline(always)]
unsafe fn small_image_into_on<L: Lanes>(
    plan: &Plan,
    small: &[f32],
    scratch: *mut f32,
    products: *mut f32,
    offsets: &[usize],
) {
    let shape = &plan.g.small;
    for block in 0..shape.channels / BLOCK {
        // SAFETY: lengths are checked above, and images have rows of their own.
        unsafe {
            let plane = small.as_ptr().add(block * shape.pixels() * BLOCK);
            let products = products.add(block * plan.rows * BLOCK);
            plane_into_products::<L, Small>(&plan.axes, Lattice::whole(shape), plane, scratch, products, offsets);
        }
    }
}

/// B products, plus bias: a batch of big maps of their products.
pub(super) fn big_out_of_products(
    isa: Isa,
    plan: &Plan,
    products: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    big: &mut [f32],
) {
    assert_eq!(big.len(), plan.n * plan.g.big.len());
    assert_eq!(products.len(), plan.big_len());
    assert!(bias.is_none_or(|bias| bias.len() == plan.g.big.channels));
    let len = plan.g.big.len();
    let big = Shared::new(big);
    threads::each(plan.n, |i| {
        with_scratch(plan, i, |scratch, offsets| {
            // SAFETY: image `i` of the batch, whose length is checked above; each image is written by one call.
            let big = unsafe { std::slice::from_raw_parts_mut(big.pointer().add(i * len), len) };
            big_image_out(isa, plan, products, bias, slope, scratch, offsets, big);
        });
    });
}

for_each_isa! {
    fn big_image_out = big_image_out_on(plan: &Plan, products: &[f32], bias: Option<&[f32]>, slope: f32, scratch: *mut f32, offsets: &[usize], big: &mut [f32]);
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn big_image_out_on<L: Lanes>(
    plan: &Plan,
    products: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    scratch: *mut f32,
    offsets: &[usize],
    big: &mut [f32],
) {
    let shape = &plan.g.big;
    let blocks = shape.channels / BLOCK;
    for block in 0..blocks {
        for phase in 0..4 {
            let lattice = Lattice::phase(shape, phase);
            // SAFETY: lengths are checked above.
            unsafe {
                let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().add(block * BLOCK));
                let products = products.as_ptr().add((phase * blocks + block) * plan.rows * BLOCK);
                let plane = big.as_mut_ptr().add(block * shape.pixels() * BLOCK);
                plane_out_of_products::<L, Big>(
                    &plan.axes,
                    lattice,
                    products,
                    offsets,
                    scratch,
                    plane,
                    Finish { bias, slope },
                );
            }
        }
    }
}

/// Aᵀ products, plus bias, through a leaky ReLU: a batch of small maps of their products.
pub(super) fn small_out_of_products(
    isa: Isa,
    plan: &Plan,
    products: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    small: &mut [f32],
) {
    assert_eq!(small.len(), plan.n * plan.g.small.len());
    assert_eq!(products.len(), plan.small_len());
    assert!(bias.is_none_or(|bias| bias.len() == plan.g.small.channels));
    let len = plan.g.small.len();
    let small = Shared::new(small);
    threads::each(plan.n, |i| {
        with_scratch(plan, i, |scratch, offsets| {
            // SAFETY: image `i` of the batch, whose length is checked above; each image is written by one call.
            let small = unsafe { std::slice::from_raw_parts_mut(small.pointer().add(i * len), len) };
            small_image_out(isa, plan, products, bias, slope, scratch, offsets, small);
        });
    });
}

for_each_isa! {
    fn small_image_out = small_image_out_on(plan: &Plan, products: &[f32], bias: Option<&[f32]>, slope: f32, scratch: *mut f32, offsets: &[usize], small: &mut [f32]);
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn small_image_out_on<L: Lanes>(
    plan: &Plan,
    products: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    scratch: *mut f32,
    offsets: &[usize],
    small: &mut [f32],
) {
    let shape = &plan.g.small;
    for block in 0..shape.channels / BLOCK {
        // SAFETY: lengths are checked above.
        unsafe {
            let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().add(block * BLOCK));
            let products = products.as_ptr().add(block * plan.rows * BLOCK);
            let plane = small.as_mut_ptr().add(block * shape.pixels() * BLOCK);
            plane_out_of_products::<L, Small>(
                &plan.axes,
                Lattice::whole(shape),
                products,
                offsets,
                scratch,
                plane,
                Finish { bias, slope },
            );
        }
    }
}

/// G w for products that take the big map to the small one: a matrix of 4 · big × small channels a point.
pub(super) fn weights_into_products(isa: Isa, plan: &Plan, weights: &[f32], products: &mut [f32]) {
    assert_eq!(weights.len(), plan.g.num_weights());
    assert_eq!(products.len(), plan.weights_len());
    weights_down(isa, plan, weights, products);
}

for_each_isa! { fn weights_down = weights_down_on(plan: &Plan, weights: &[f32], products: &mut [f32]); }

#[inline(always)]
unsafe fn weights_down_on<L: Lanes>(plan: &Plan, weights: &[f32], products: &mut [f32]) {
    let (big, small) = (plan.g.big.channels, plan.g.small.channels);
    let at = WeightPoints { tap_stride: big * small, point_stride: plan.point_stride() };
    for column in (0..small).step_by(L::N) {
        for (phase, row) in (0..4).flat_map(|phase| (0..big).map(move |row| (phase, row))) {
            let line = (column / BLOCK * 4 * big + phase * big + row) * BLOCK + column % BLOCK;
            // SAFETY: lengths are checked above.
            unsafe { at.of::<L>(weights.as_ptr().add(row * small + column), phase, products.as_mut_ptr().add(line)) };
        }
    }
}

/// (G w)ᵀ, for products that take the small map to the big one: a matrix of small × 4 · big channels a point.
pub(super) fn weights_into_transposed_products(isa: Isa, plan: &Plan, weights: &[f32], products: &mut [f32]) {
    assert_eq!(weights.len(), plan.g.num_weights());
    assert_eq!(products.len(), plan.weights_len());
    let (rows, columns) = (weights.len() / plan.g.small.channels, plan.g.small.channels);
    SCRATCH.with_borrow_mut(|(transposed, _)| {
        if transposed.len() < weights.len() {
            transposed.resize(weights.len(), 0.0);
        }
        transpose(weights, rows, columns, transposed);
        weights_up(isa, plan, transposed, products);
    });
}

/// `rows` × `columns`, both multiples of 16, to `columns` × `rows`, in squares of 16.
fn transpose(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
    for (row, column) in (0..rows).step_by(BLOCK).flat_map(|row| (0..columns).step_by(BLOCK).map(move |c| (row, c))) {
        let mut square = [[0.0; BLOCK]; BLOCK];
        for j in 0..BLOCK {
            let line = &from[(row + j) * columns + column..][..BLOCK];
            for i in 0..BLOCK {
                square[i][j] = line[i];
            }
        }
        for i in 0..BLOCK {
            to[(column + i) * rows + row..][..BLOCK].copy_from_slice(&square[i]);
        }
    }
}

for_each_isa! { fn weights_up = weights_up_on(plan: &Plan, transposed: &[f32], products: &mut [f32]); }

#[inline(always)]
unsafe fn weights_up_on<L: Lanes>(plan: &Plan, transposed: &[f32], products: &mut [f32]) {
    let (big, small) = (plan.g.big.channels, plan.g.small.channels);
    let at = WeightPoints { tap_stride: big, point_stride: plan.point_stride() };
    for (phase, column) in (0..4).flat_map(|phase| (0..big).step_by(L::N).map(move |column| (phase, column))) {
        for row in 0..small {
            let column_of_all = phase * big + column;
            let line = (column_of_all / BLOCK * small + row) * BLOCK + column_of_all % BLOCK;
            // SAFETY: lengths are checked above.
            unsafe {
                at.of::<L>(transposed.as_ptr().add(row * 16 * big + column), phase, products.as_mut_ptr().add(line))
            };
        }
    }
}

/// The 2 × 2 taps of a phase at the 25 points.
#[derive(Clone, Copy)]
struct WeightPoints {
    tap_stride: usize,
    point_stride: usize,
}

impl WeightPoints {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, weights: *const f32, phase: usize, points: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            let zero = L::splat(0.0);
            let mut rows = [[zero; 2]; AXIS_POINTS];
            for x in 0..2 {
                let first = L::load(weights.add(tap(phase, 0, x) * self.tap_stride));
                let second = L::load(weights.add(tap(phase, 1, x) * self.tap_stride));
                let column = at_points([first, second]);
                for y in 0..AXIS_POINTS {
                    rows[y][x] = column[y];
                }
            }
            for y in 0..AXIS_POINTS {
                let row = at_points(rows[y]);
                for x in 0..AXIS_POINTS {
                    row[x].store(points.add((y * AXIS_POINTS + x) * self.point_stride));
                }
            }
        }
    }

    /// Gᵀ: the gradients of a phase's 2 × 2 taps of those of the 25 points.
    #[inline(always)]
    unsafe fn back<L: Lanes>(self, points: *const f32, phase: usize, grad: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            let zero = L::splat(0.0);
            let mut rows = [[zero; AXIS_POINTS]; 2];
            for x in 0..AXIS_POINTS {
                let mut column = [zero; AXIS_POINTS];
                for y in 0..AXIS_POINTS {
                    column[y] = L::load(points.add((y * AXIS_POINTS + x) * self.point_stride));
                }
                let taps = of_points(column);
                for y in 0..2 {
                    rows[y][x] = taps[y];
                }
            }
            for y in 0..2 {
                let taps = of_points(rows[y]);
                for x in 0..2 {
                    taps[x].store(grad.add(tap(phase, y, x) * self.tap_stride));
                }
            }
        }
    }
}

/// Tap (`y`, `x`) of a phase among the 16 of the window.
#[inline(always)]
fn tap(phase: usize, y: usize, x: usize) -> usize {
    (phase / 2 + 2 * y) * 4 + phase % 2 + 2 * x
}

/// G: the polynomial w₀ + w₁ t at 0, 1, −1, 2, ∞.
#[inline(always)]
fn at_points<L: Lanes>([w0, w1]: [L; 2]) -> [L; AXIS_POINTS] {
    [w0, w0.add(w1), w0.sub(w1), w1.scale_add(2.0, w0), w1]
}

/// Gᵀ.
#[inline(always)]
fn of_points<L: Lanes>([u0, u1, u2, u3, u4]: [L; AXIS_POINTS]) -> [L; 2] {
    [u0.add(u1).add(u2.add(u3)), u3.scale_add(2.0, u1.sub(u2)).add(u4)]
}

/// Gᵀ of the weights' products: the gradient of the weights.
pub(super) fn weights_out_of_products(isa: Isa, plan: &Plan, products: &[f32], grad: &mut [f32]) {
    assert_eq!(grad.len(), plan.g.num_weights());
    assert_eq!(products.len(), plan.weights_len());
    weights_back(isa, plan, products, grad);
}

for_each_isa! { fn weights_back = weights_back_on(plan: &Plan, products: &[f32], grad: &mut [f32]); }

#[inline(always)]
unsafe fn weights_back_on<L: Lanes>(plan: &Plan, products: &[f32], grad: &mut [f32]) {
    let (big, small) = (plan.g.big.channels, plan.g.small.channels);
    let at = WeightPoints { tap_stride: big * small, point_stride: plan.point_stride() };
    for (phase, row) in (0..4).flat_map(|phase| (0..big).map(move |row| (phase, row))) {
        for column in (0..small).step_by(L::N) {
            let line = (column / BLOCK * 4 * big + phase * big + row) * BLOCK + column % BLOCK;
            // SAFETY: lengths are checked above.
            unsafe { at.back::<L>(products.as_ptr().add(line), phase, grad.as_mut_ptr().add(row * small + column)) };
        }
    }
}

/// The weights' products as the factor of a multiplication, in its precision.
pub(super) enum Factors {
    /// As they are.
    F32(Buffer),
    /// Rounded, one matrix a point.
    Bf16(Vec<Packed>),
}

impl Factors {
    /// [`weights_into_products`], for [`multiply_down`].
    pub(super) fn of_weights(isa: Isa, precision: Precision, plan: &Plan, weights: &[f32]) -> Self {
        let mut products = Buffer::of(plan.weights_len());
        weights_into_products(isa, plan, weights, &mut products);
        Self::rounded(precision, plan, products, 4 * plan.g.big.channels)
    }

    /// [`weights_into_transposed_products`], for [`multiply_up`].
    pub(super) fn of_transposed_weights(isa: Isa, precision: Precision, plan: &Plan, weights: &[f32]) -> Self {
        let mut products = Buffer::of(plan.weights_len());
        weights_into_transposed_products(isa, plan, weights, &mut products);
        Self::rounded(precision, plan, products, plan.g.small.channels)
    }

    fn rounded(precision: Precision, plan: &Plan, products: Buffer, rows: usize) -> Self {
        let columns = 4 * plan.g.big.channels * plan.g.small.channels / rows;
        match precision {
            Precision::F32 => Self::F32(products),
            Precision::Bf16 => {
                let of_point = |point| plan.weights_at(&products, point, rows, columns);
                Self::Bf16((0..POINTS).map(|point| product_bf16::pack(rows, of_point(point))).collect())
            }
        }
    }
}

/// The small map's products: the big one's times the weights'.
pub(super) fn multiply_down(isa: Isa, plan: &Plan, big: &[f32], weights: &Factors, small: &mut [f32]) {
    let (from, to) = (4 * plan.g.big.channels, plan.g.small.channels);
    multiply(isa, plan, big, from, weights, small, to);
}

/// The big map's products: the small one's times the transposed weights'.
pub(super) fn multiply_up(isa: Isa, plan: &Plan, small: &[f32], transposed_weights: &Factors, big: &mut [f32]) {
    let (from, to) = (plan.g.small.channels, 4 * plan.g.big.channels);
    multiply(isa, plan, small, from, transposed_weights, big, to);
}

fn multiply(isa: Isa, plan: &Plan, a: &[f32], from: usize, weights: &Factors, c: &mut [f32], to: usize) {
    assert_eq!((a.len(), c.len()), (from * plan.rows, to * plan.rows));
    let c = BlocksMut::new(c, plan.rows * BLOCK, to / BLOCK);
    threads::each(POINTS, |point| {
        // SAFETY: points have rows of their own.
        let c = unsafe { c.from_row(plan.first_row[point]) };
        let (rows, a) = (plan.image_rows(point), plan.point(a, point, from));
        match weights {
            Factors::F32(weights) => product(isa, rows, a, plan.weights_at(weights, point, from, to), c),
            Factors::Bf16(packed) => product_bf16::product(rows, a, &packed[point], c),
        }
    });
}

/// The gradient of the weights' products, of those of both maps; added to what is there when `add`.
pub(super) fn multiply_for_weights(
    isa: Isa,
    precision: Precision,
    plan: &Plan,
    big: &[f32],
    small: &[f32],
    weights: &mut [f32],
    add: bool,
) {
    let (from, to) = (4 * plan.g.big.channels, plan.g.small.channels);
    assert_eq!((big.len(), small.len()), (from * plan.rows, to * plan.rows));
    assert_eq!(weights.len(), plan.weights_len());
    let weights = Shared::new(weights);
    threads::each(POINTS, |point| {
        let start = point * plan.point_stride();
        // SAFETY: point `point` of the weights, whose length is checked above; each point is written by one call.
        let c = unsafe { std::slice::from_raw_parts_mut(weights.pointer().add(start), from * to) };
        let (a, b) = (plan.point(big, point, from), plan.point(small, point, to));
        let (rows, c) = (plan.image_rows(point), BlocksMut::new(c, from * BLOCK, to / BLOCK));
        match precision {
            Precision::F32 => product_of_transposed(isa, rows, a, b, c, add),
            Precision::Bf16 => product_bf16::product_of_transposed(rows, a, b, c, add),
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::reference::{self, assert_close, noise};

    fn link(height: usize, width: usize, big: usize, small: usize) -> Geometry {
        let big = MapShape { channels: big, height: 2 * height, width: 2 * width };
        Geometry::of_conv(big, small, 4, 2, 1)
    }

    struct Directions {
        small: Vec<f32>,
        big: Vec<f32>,
        grad: Vec<f32>,
    }

    fn winograd(isa: Isa, g: &Geometry, n: usize, big: &[f32], small: &[f32], weights: &[f32]) -> Directions {
        let plan = Plan::new(g, n);
        // Not a number: what is read must have been written.
        let nan = |len| vec![f32::NAN; len];
        let (mut v, mut w) = (nan(plan.big_len()), nan(plan.small_len()));
        big_into_products(isa, &plan, big, &mut v);
        small_into_products(isa, &plan, small, &mut w);
        let down = Factors::of_weights(isa, Precision::F32, &plan, weights);
        let up = Factors::of_transposed_weights(isa, Precision::F32, &plan, weights);
        let (mut to_small, mut to_big) = (nan(plan.small_len()), nan(plan.big_len()));
        multiply_down(isa, &plan, &v, &down, &mut to_small);
        multiply_up(isa, &plan, &w, &up, &mut to_big);
        let mut u = nan(plan.weights_len());
        multiply_for_weights(isa, Precision::F32, &plan, &v, &w, &mut u, false);
        let mut out =
            Directions { small: nan(n * g.small.len()), big: nan(n * g.big.len()), grad: nan(g.num_weights()) };
        small_out_of_products(isa, &plan, &to_small, None, 1.0, &mut out.small);
        big_out_of_products(isa, &plan, &to_big, None, 1.0, &mut out.big);
        weights_out_of_products(isa, &plan, &u, &mut out.grad);
        out
    }

    fn inputs(g: &Geometry, n: usize, seed: u64) -> [Vec<f32>; 3] {
        [noise(n * g.big.len(), seed), noise(n * g.small.len(), seed + 1), noise(g.num_weights(), seed + 2)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn all_three_directions_are_those_of_plain_loops(
            height in prop::sample::select(vec![3_usize, 4, 6, 7, 8, 9]),
            width in prop::sample::select(vec![3_usize, 4, 7, 8]),
            big in 1_usize..3, small in 1_usize..4, n in 1_usize..4, seed in 0_u64..99,
        ) {
            let g = link(height, width, 16 * big, 16 * small);
            let [big, small, weights] = inputs(&g, n, seed);
            for isa in Isa::available() {
                let ours = winograd(isa, &g, n, &big, &small, &weights);
                // Sums of up to a thousand products in f32, through transforms that multiply by up to 8 · 8.
                assert_close(isa.name(), &ours.small, &reference::down(&g, n, &big, &weights), 2e-5);
                assert_close(isa.name(), &ours.big, &reference::up(&g, n, &small, &weights), 2e-5);
                assert_close(isa.name(), &ours.grad, &reference::weight_grad(&g, n, &big, &small), 2e-5);
            }
        }
    }

    #[test]
    fn bias_and_leaky_relu_come_after_the_convolution() {
        let g = link(4, 3, 16, 16);
        let [big, small, weights] = inputs(&g, 2, 5);
        let bias: Vec<f32> = noise(16, 9);
        let plan = Plan::new(&g, 2);
        for isa in Isa::available() {
            let plain = winograd(isa, &g, 2, &big, &small, &weights).small;
            let (mut v, mut m) = (vec![0.0; plan.big_len()], vec![0.0; plan.small_len()]);
            big_into_products(isa, &plan, &big, &mut v);
            multiply_down(isa, &plan, &v, &Factors::of_weights(isa, Precision::F32, &plan, &weights), &mut m);
            let mut ours = vec![0.0; plain.len()];
            small_out_of_products(isa, &plan, &m, Some(&bias), 0.2, &mut ours);
            for (i, (ours, plain)) in ours.iter().zip(&plain).enumerate() {
                let x = plain + bias[i % 16];
                assert_eq!(*ours, if x > 0.0 { x } else { 0.2 * x });
            }
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let g = link(7, 7, 16, 32);
        let [big, small, weights] = inputs(&g, 5, 1);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let Directions { small, big, grad } =
                pool.install(|| winograd(Isa::in_use(), &g, 5, &big, &small, &weights));
            [small, big, grad]
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn sides_of_one_two_and_five_do_not_fit() {
        let sides: Vec<usize> = (1..20).filter(|&side| Axis::new(side).is_none()).collect();
        assert_eq!(sides, [1, 2, 5]);
    }
}
