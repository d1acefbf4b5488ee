//! F(4, 3), for windows of 3 × 3 pixels and stride 1. The points are 0, 1, −1, ½, −2 and ∞: with 2 instead of ½ the
//! error is three times as large.
//!
//! A tile at the end of an axis may reach beyond the map.

use super::axis::{Axis, MAX_TAPS};
use super::form::{Form, Tile};
use super::lattice::Lattice;
use crate::geometry::Geometry;
use crate::lanes::Lanes;

/// The form.
pub(crate) struct ThreeTaps;

const POINTS: &[usize] = &[0, 1, 2, 3, 4, 5];

impl Form for ThreeTaps {
    const TAPS: usize = 3;
    const POINTS: usize = 6;
    const PHASES: usize = 1;

    fn axis(side: usize) -> Axis {
        Axis::new(std::iter::repeat_n(4, side.div_ceil(4)), |_| POINTS)
    }

    fn fits(g: &Geometry) -> bool {
        let fits = |input: usize, output: usize| input + 2 * g.padding == output + 2;
        (g.kernel, g.stride) == (3, 1)
            && g.padding <= 1
            && fits(g.input.height, g.output.height)
            && fits(g.input.width, g.output.width)
    }

    #[inline(always)]
    fn lattice(g: &Geometry, _: usize) -> Lattice {
        Lattice { origin: [1 - g.padding; 2], ..Lattice::whole(&g.input) }
    }

    #[inline(always)]
    fn tap(_: usize, y: usize, x: usize) -> usize {
        3 * y + x
    }

    // Bᵀ has the rows 1 −1.5 −2 1.5 1 0 | 0 −1 0.5 2.5 1 0 | 0 1 −2.5 0.5 1 0 | 0 −2 −1 2 1 0 | 0 0.5 −1 −0.5 1 0 |
    // 0 1 −1.5 −2 1.5 1.
    #[inline(always)]
    fn input_into<L: Lanes, const SIZE: usize>([x0, x1, x2, x3, x4, x5]: Tile<L>) -> Tile<L> {
        let (even, odd) = (x4.sub(x2), x3.sub(x1));
        [
            odd.scale_add(1.5, x2.scale_add(-2.0, x0.add(x4))),
            x2.add(x3).scale_add(1.5, even.add(odd)),
            x3.sub(x2).scale_add(1.5, even.sub(odd)),
            odd.scale_add(2.0, even),
            odd.scale_add(-0.5, even),
            even.scale_add(1.5, x3.scale_add(-2.0, x1.add(x5))),
        ]
    }

    #[inline(always)]
    fn input_out<L: Lanes, const SIZE: usize>([m0, m1, m2, m3, m4, m5]: Tile<L>) -> Tile<L> {
        let even = m5.scale_add(1.5, m1.add(m2).add(m3.add(m4)));
        let odd = m0.scale_add(1.5, m3.scale_add(2.0, m4.scale_add(-0.5, m1.sub(m2))));
        [
            m0,
            m5.sub(odd),
            m0.scale_add(-2.0, m1.sub(m2).scale_add(1.5, even.scale(-1.0))),
            m5.scale_add(-2.0, m1.add(m2).scale_add(1.5, odd)),
            even.add(m0),
            m5,
        ]
    }

    #[inline(always)]
    fn output_into<L: Lanes, const SIZE: usize>([y0, y1, y2, y3, _, _]: Tile<L>) -> Tile<L> {
        let (even, odd) = (y0.add(y2), y1.add(y3));
        [
            y0,
            even.add(odd),
            even.sub(odd),
            y1.scale_add(0.5, y2.scale_add(0.25, y3.scale_add(0.125, y0))),
            y1.scale_add(-2.0, y2.scale_add(4.0, y3.scale_add(-8.0, y0))),
            y3,
        ]
    }

    #[inline(always)]
    fn output_out<L: Lanes, const SIZE: usize>([m0, m1, m2, m3, m4, m5]: Tile<L>) -> Tile<L> {
        let (sum, difference) = (m1.add(m2), m1.sub(m2));
        [
            m0.add(sum).add(m3.add(m4)),
            m3.scale_add(0.5, m4.scale_add(-2.0, difference)),
            m3.scale_add(0.25, m4.scale_add(4.0, sum)),
            m3.scale_add(0.125, m4.scale_add(-8.0, difference.add(m5))),
            m4,
            m5,
        ]
    }

    // G has the rows 1 0 0 | (1 1 1) / 3 | (−1 1 −1) / 3 | −(16 8 4) / 15 | (1 −2 4) / 15 | 0 0 1.
    #[inline(always)]
    fn at_points<L: Lanes>([w0, w1, w2]: [L; MAX_TAPS]) -> Tile<L> {
        let even = w0.add(w2);
        [
            w0,
            even.add(w1).scale(1.0 / 3.0),
            w1.sub(even).scale(1.0 / 3.0),
            w0.scale_add(-16.0 / 15.0, w1.scale_add(-8.0 / 15.0, w2.scale(-4.0 / 15.0))),
            w0.scale_add(1.0 / 15.0, w1.scale_add(-2.0 / 15.0, w2.scale(4.0 / 15.0))),
            w2,
        ]
    }

    #[inline(always)]
    fn of_points<L: Lanes>([u0, u1, u2, u3, u4, u5]: Tile<L>) -> [L; MAX_TAPS] {
        let difference = u1.sub(u2);
        [
            difference.scale_add(1.0 / 3.0, u3.scale_add(-16.0 / 15.0, u4.scale_add(1.0 / 15.0, u0))),
            u1.add(u2).scale_add(1.0 / 3.0, u3.scale_add(-8.0 / 15.0, u4.scale(-2.0 / 15.0))),
            difference.scale_add(1.0 / 3.0, u4.sub(u3).scale_add(4.0 / 15.0, u5)),
        ]
    }
}
