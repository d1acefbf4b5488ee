//! F(4, 2) and F(3, 2), for windows of 4 × 4 pixels, stride 2 and padding 1: on each of the four phases of the input
//! map the window has 2 × 2 taps. The points are 0, 1, −1, 2 and ∞, without 2 for a tile of three.

use super::axis::{Axis, MAX_TAPS};
use super::form::{Form, Tile};
use super::lattice::Lattice;
use crate::geometry::Geometry;
use crate::lanes::Lanes;

/// The form.
pub(crate) struct TwoTaps;

/// Indices of the points of a tile of four and of a tile of three.
const POINTS_OF_FOUR: &[usize] = &[0, 1, 2, 3, 4];
const POINTS_OF_THREE: &[usize] = &[0, 1, 2, 4];

/// Numbers of tiles of four and of three that make up an axis of `side` values, with as few threes as possible; `None`
/// for 1, 2 and 5.
fn fours_and_threes(side: usize) -> Option<(usize, usize)> {
    let threes = (4 - side % 4) % 4;
    Some((side.checked_sub(3 * threes)? / 4, threes))
}

impl Form for TwoTaps {
    const TAPS: usize = 2;
    const POINTS: usize = 5;
    const PHASES: usize = 4;

    fn axis(side: usize) -> Axis {
        let (fours, threes) = fours_and_threes(side).expect("the side is made up of fours and threes");
        let sizes = std::iter::repeat_n(4, fours).chain(std::iter::repeat_n(3, threes));
        Axis::new(sizes, |size| if size == 4 { POINTS_OF_FOUR } else { POINTS_OF_THREE })
    }

    fn fits(g: &Geometry) -> bool {
        (g.kernel, g.stride, g.padding) == (4, 2, 1)
            && (g.input.height, g.input.width) == (2 * g.output.height, 2 * g.output.width)
            && [g.output.height, g.output.width].into_iter().all(|side| fours_and_threes(side).is_some())
    }

    #[inline(always)]
    fn lattice(g: &Geometry, phase: usize) -> Lattice {
        Lattice::phase(&g.input, phase)
    }

    #[inline(always)]
    fn tap(phase: usize, y: usize, x: usize) -> usize {
        (phase / 2 + 2 * y) * 4 + phase % 2 + 2 * x
    }

    #[inline(always)]
    fn input_into<L: Lanes, const SIZE: usize>([x0, x1, x2, x3, x4, nothing]: Tile<L>) -> Tile<L> {
        if SIZE == 3 {
            return [x0.sub(x2), x1.add(x2).scale(0.5), x2.sub(x1).scale(0.5), x3.sub(x1), nothing, nothing];
        }
        let odd = x1.sub(x3);
        [
            odd.scale_add(-0.5, x0).sub(x2),
            x2.sub(x3).scale_add(0.5, x1),
            x1.scale_add(-1.0 / 3.0, x2.scale_add(0.5, x3.scale(-1.0 / 6.0))),
            odd.scale(-1.0 / 6.0),
            odd.scale_add(2.0, x4).sub(x2),
            nothing,
        ]
    }

    #[inline(always)]
    fn input_out<L: Lanes, const SIZE: usize>([m0, m1, m2, m3, m4, nothing]: Tile<L>) -> Tile<L> {
        if SIZE == 3 {
            // The fourth product is that of ∞.
            let odd = m1.sub(m2).scale_add(0.5, m3.scale(-1.0));
            return [m0, odd, m1.add(m2).scale_add(0.5, m0.scale(-1.0)), m3, nothing, nothing];
        }
        let sum = m1.add(m2);
        [
            m0,
            m0.scale_add(-0.5, m2.scale_add(-1.0 / 3.0, m3.scale_add(-1.0 / 6.0, m4.scale_add(2.0, m1)))),
            sum.scale_add(0.5, m0.scale(-1.0)).sub(m4),
            m0.sub(m1).scale_add(0.5, m3.sub(m2).scale_add(1.0 / 6.0, m4.scale(-2.0))),
            m4,
            nothing,
        ]
    }

    #[inline(always)]
    fn output_into<L: Lanes, const SIZE: usize>([y0, y1, y2, y3, nothing, _]: Tile<L>) -> Tile<L> {
        let even = y0.add(y2);
        if SIZE == 3 {
            return [y0, even.add(y1), even.sub(y1), y2, nothing, nothing];
        }
        let odd = y1.add(y3);
        let two = y1.scale_add(2.0, y2.scale_add(4.0, y3.scale_add(8.0, y0)));
        [y0, even.add(odd), even.sub(odd), two, y3, nothing]
    }

    #[inline(always)]
    fn output_out<L: Lanes, const SIZE: usize>([m0, m1, m2, m3, m4, nothing]: Tile<L>) -> Tile<L> {
        let (sum, difference) = (m1.add(m2), m1.sub(m2));
        if SIZE == 3 {
            return [m0.add(sum), difference, sum.add(m3), nothing, nothing, nothing];
        }
        [
            m0.add(sum).add(m3),
            m3.scale_add(2.0, difference),
            m3.scale_add(4.0, sum),
            m3.scale_add(8.0, difference.add(m4)),
            nothing,
            nothing,
        ]
    }

    #[inline(always)]
    fn at_points<L: Lanes>([w0, w1, nothing]: [L; MAX_TAPS]) -> Tile<L> {
        [w0, w0.add(w1), w0.sub(w1), w1.scale_add(2.0, w0), w1, nothing]
    }

    #[inline(always)]
    fn of_points<L: Lanes>([u0, u1, u2, u3, u4, nothing]: Tile<L>) -> [L; MAX_TAPS] {
        [u0.add(u1).add(u2.add(u3)), u3.scale_add(2.0, u1.sub(u2)).add(u4), nothing]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_of_one_two_and_five_do_not_fit() {
        let sides: Vec<usize> = (1..20).filter(|&side| fours_and_threes(side).is_none()).collect();
        assert_eq!(sides, [1, 2, 5]);
    }
}
