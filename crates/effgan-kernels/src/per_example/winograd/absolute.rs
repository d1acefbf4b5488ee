//! How large the values in a transform may be, and how often they are rounded, from the transform itself.

use crate::lanes::Lanes;
use crate::winograd::axis::{Axis, MAX_POINTS, MAX_TAPS};
use crate::winograd::form::{Form, Tile};
use crate::winograd::product_layout::{ProductLayout, with_form};

/// A bound of a value in a transform: all differences are sums.
#[derive(Clone, Copy)]
struct Absolute {
    size: f32,
    /// Number of roundings in a row.
    roundings: u32,
}

const ZERO: Absolute = Absolute { size: 0.0, roundings: 0 };
const ONE: Absolute = Absolute { size: 1.0, roundings: 0 };

// SAFETY: it needs no instructions beyond the target's; pointers are the caller's promise.
impl Lanes for Absolute {
    const N: usize = 1;
    const TILE_ROWS: usize = 1;
    const TILE_BLOCKS: usize = 1;

    /// A constant, which may be rounded.
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self { size: value.abs(), roundings: 1 }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self { size: unsafe { *from }.abs(), roundings: 0 }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { *to = self.size }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self { size: self.size + other.size, roundings: self.roundings.max(other.roundings) + 1 }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.add(other)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self { size: self.size * other.size, roundings: self.roundings + other.roundings + 1 }
    }

    /// Rounded twice, as on sets without such an instruction.
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.mul(factor).add(term)
    }

    #[inline(always)]
    fn where_positive(self, _: Self, other: Self) -> Self {
        Self { size: self.size.max(other.size), roundings: self.roundings.max(other.roundings) }
    }

    #[inline(always)]
    fn positive(self) -> u16 {
        u16::from(self.size > 0.0)
    }

    #[inline(always)]
    fn where_set(self, _: u16, other: Self) -> Self {
        self.where_positive(self, other)
    }
}

/// Norms of the rows of Bᵀ, A and G, with all differences taken as sums, for each point of both axes.
pub(super) struct RowSizes {
    pub(super) input: [[f64; MAX_POINTS]; 2],
    pub(super) output: [[f64; MAX_POINTS]; 2],
    pub(super) weights: [[f64; MAX_POINTS]; 2],
    /// Largest number of roundings in a row of Bᵀ, A and Gᵀ, along both axes together.
    pub(super) input_roundings: f64,
    pub(super) output_roundings: f64,
    pub(super) weight_roundings: f64,
}

impl RowSizes {
    pub(super) fn of(layout: &ProductLayout) -> Self {
        with_form!(layout.kind, F => {
            let of_axes = |rows: fn(&Axis) -> Rows| layout.axes.each_ref().map(rows);
            let (input, output) = (of_axes(input_rows::<F>), of_axes(output_rows::<F>));
            let weights = of_axes(weight_rows::<F>);
            let roundings = |rows: &[Rows; 2]| f64::from(rows[0].roundings + rows[1].roundings);
            Self {
                input_roundings: roundings(&input),
                output_roundings: roundings(&output),
                weight_roundings: roundings(&weights),
                input: input.map(|rows| rows.norms()),
                output: output.map(|rows| rows.norms()),
                weights: weights.map(|rows| rows.norms()),
            }
        })
    }
}

/// The squared norm of each point's row, the largest of all tiles.
#[derive(Default)]
struct Rows {
    squares: [f64; MAX_POINTS],
    roundings: u32,
}

impl Rows {
    fn norms(&self) -> [f64; MAX_POINTS] {
        self.squares.map(f64::sqrt)
    }

    /// Adds the column of a matrix that a transform of one of `values` values gives.
    fn of_transform(values: usize, transform: impl Fn(Tile<Absolute>) -> Tile<Absolute>) -> Self {
        let mut rows = Self::default();
        for value in 0..values {
            let mut unit = [ZERO; MAX_POINTS];
            unit[value] = ONE;
            for (squares, product) in rows.squares.iter_mut().zip(transform(unit)) {
                *squares += f64::from(product.size).powi(2);
                rows.roundings = rows.roundings.max(product.roundings);
            }
        }
        rows
    }

    /// Of the products of a tile, as those of its points.
    fn add_tile(&mut self, tile: &Self, products: &[(usize, usize)]) {
        self.roundings = self.roundings.max(tile.roundings);
        for (&squares, &(point, _)) in tile.squares.iter().zip(products) {
            self.squares[point] = self.squares[point].max(squares);
        }
    }
}

fn input_rows<F: Form>(axis: &Axis) -> Rows {
    each_tile::<F>(axis, F::TAPS - 1, F::input_into::<Absolute, 4>, F::input_into::<Absolute, 3>)
}

fn output_rows<F: Form>(axis: &Axis) -> Rows {
    each_tile::<F>(axis, 0, F::output_into::<Absolute, 4>, F::output_into::<Absolute, 3>)
}

/// The rows of a transform of tiles with `extra` values beyond their size.
fn each_tile<F: Form>(
    axis: &Axis,
    extra: usize,
    of_four: impl Fn(Tile<Absolute>) -> Tile<Absolute>,
    of_three: impl Fn(Tile<Absolute>) -> Tile<Absolute>,
) -> Rows {
    let mut rows = Rows::default();
    for tile in &axis.tiles {
        let of_tile = match tile.size {
            4 => Rows::of_transform(4 + extra, &of_four),
            size => Rows::of_transform(size + extra, &of_three),
        };
        rows.add_tile(&of_tile, &axis.products[tile.product..][..tile.size + F::TAPS - 1]);
    }
    rows
}

/// Of Gᵀ: what each point adds to the taps.
fn weight_rows<F: Form>(_: &Axis) -> Rows {
    let mut rows = Rows::default();
    for point in 0..F::POINTS {
        let mut unit = [ZERO; MAX_POINTS];
        unit[point] = ONE;
        let taps: [Absolute; MAX_TAPS] = F::of_points(unit);
        rows.squares[point] = taps[..F::TAPS].iter().map(|tap| f64::from(tap.size).powi(2)).sum();
        rows.roundings = taps[..F::TAPS].iter().map(|tap| tap.roundings).max().unwrap_or(0).max(rows.roundings);
    }
    rows
}
