//! What the forms F(m, r) of Winograd's algorithm have in common.

use super::axis::{Axis, MAX_POINTS, MAX_TAPS};
use super::lattice::Lattice;
use crate::geometry::{Geometry, MapShape};
use crate::lanes::Lanes;

/// The values or the products of a tile along one axis. Those beyond its number are unused.
pub(crate) type Tile<L> = [L; MAX_POINTS];

/// F(m, r) along one axis, for tiles of m values and windows of r taps: the matrices A, B and G of the
/// [module's](super) trilinear form, and their transposes.
pub(crate) trait Form {
    /// Number of taps r.
    const TAPS: usize;
    /// Number of points, m + r − 1 for the largest m.
    const POINTS: usize;
    /// Number of planes that a plane of the input map is split into.
    const PHASES: usize;

    /// The tiles of an axis of the output map.
    ///
    /// # Panics
    /// When the form does not [fit](Self::fits).
    fn axis(side: usize) -> Axis;
    /// Whether the form computes convolutions of this window and these sides.
    fn fits(g: &Geometry) -> bool;
    /// The pixels of a phase of the input map.
    fn lattice(g: &Geometry, phase: usize) -> Lattice;
    /// Index of tap (`y`, `x`) of a phase among those of the window.
    fn tap(phase: usize, y: usize, x: usize) -> usize;

    /// Bᵀ: the products of `SIZE` + r − 1 values of the input map.
    fn input_into<L: Lanes, const SIZE: usize>(x: Tile<L>) -> Tile<L>;
    /// B.
    fn input_out<L: Lanes, const SIZE: usize>(m: Tile<L>) -> Tile<L>;
    /// A: the products of `SIZE` values of the output map.
    fn output_into<L: Lanes, const SIZE: usize>(y: Tile<L>) -> Tile<L>;
    /// Aᵀ.
    fn output_out<L: Lanes, const SIZE: usize>(m: Tile<L>) -> Tile<L>;
    /// G: the values of r taps at the points.
    fn at_points<L: Lanes>(w: [L; MAX_TAPS]) -> Tile<L>;
    /// Gᵀ.
    fn of_points<L: Lanes>(u: Tile<L>) -> [L; MAX_TAPS];
}

/// The transforms of one of the two maps.
pub(crate) trait Transform {
    /// The form that they belong to.
    type Form: Form;
    /// Number of values that a tile has in this map beyond its size.
    const EXTRA: usize;
    /// Number of planes that a plane is split into.
    const PHASES: usize;

    fn lattice(g: &Geometry, phase: usize) -> Lattice;
    fn shape(g: &Geometry) -> &MapShape;
    fn into<L: Lanes, const SIZE: usize>(values: Tile<L>) -> Tile<L>;
    /// Where two tiles overlap, a value is the sum of both.
    fn out<L: Lanes, const SIZE: usize>(products: Tile<L>) -> Tile<L>;
}

/// The transforms of the input map.
pub(crate) struct Input<F>(std::marker::PhantomData<F>);
/// The transforms of the output map.
pub(crate) struct Output<F>(std::marker::PhantomData<F>);

impl<F: Form> Transform for Input<F> {
    type Form = F;
    const EXTRA: usize = F::TAPS - 1;
    const PHASES: usize = F::PHASES;

    #[inline(always)]
    fn lattice(g: &Geometry, phase: usize) -> Lattice {
        F::lattice(g, phase)
    }

    #[inline(always)]
    fn shape(g: &Geometry) -> &MapShape {
        &g.input
    }

    #[inline(always)]
    fn into<L: Lanes, const SIZE: usize>(values: Tile<L>) -> Tile<L> {
        F::input_into::<L, SIZE>(values)
    }

    #[inline(always)]
    fn out<L: Lanes, const SIZE: usize>(products: Tile<L>) -> Tile<L> {
        F::input_out::<L, SIZE>(products)
    }
}

impl<F: Form> Transform for Output<F> {
    type Form = F;
    const EXTRA: usize = 0;
    const PHASES: usize = 1;

    #[inline(always)]
    fn lattice(g: &Geometry, _: usize) -> Lattice {
        Lattice::whole(&g.output)
    }

    #[inline(always)]
    fn shape(g: &Geometry) -> &MapShape {
        &g.output
    }

    #[inline(always)]
    fn into<L: Lanes, const SIZE: usize>(values: Tile<L>) -> Tile<L> {
        F::output_into::<L, SIZE>(values)
    }

    #[inline(always)]
    fn out<L: Lanes, const SIZE: usize>(products: Tile<L>) -> Tile<L> {
        F::output_out::<L, SIZE>(products)
    }
}
