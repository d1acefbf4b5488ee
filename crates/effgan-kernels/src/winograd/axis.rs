//! The one-dimensional transforms of F(4, 2) and F(3, 2), for the tiles of an axis of the input and of the output map
//! (Lavin & Gray 2016, arXiv:1509.09308).

use crate::lanes::Lanes;

/// The transform of the values of a tile into its products.
pub(crate) trait IntoProducts {
    /// Number of values that a tile reads beyond its size.
    const EXTRA: usize;
    fn four<L: Lanes>(x: [L; 5]) -> [L; 5];
    /// The last product is unused.
    fn three<L: Lanes>(x: [L; 5]) -> [L; 5];

    #[inline(always)]
    fn tile<L: Lanes, const SIZE: usize>(x: [L; 5]) -> [L; 5] {
        if SIZE == 4 { Self::four(x) } else { Self::three(x) }
    }
}

/// The transform of the products of a tile into its values. Where two tiles overlap, the value is the sum of both.
pub(crate) trait OutOfProducts {
    /// Number of values that a tile writes beyond its size.
    const EXTRA: usize;
    fn four<L: Lanes>(m: [L; 5]) -> [L; 5];
    fn three<L: Lanes>(m: [L; 5]) -> [L; 5];

    #[inline(always)]
    fn tile<L: Lanes, const SIZE: usize>(m: [L; 5]) -> [L; 5] {
        if SIZE == 4 { Self::four(m) } else { Self::three(m) }
    }
}

/// The input map's transforms, Bᵀ and B.
pub(crate) struct Input;
/// The output map's transforms, A and Aᵀ.
pub(crate) struct Output;

impl IntoProducts for Input {
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

impl OutOfProducts for Input {
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

impl IntoProducts for Output {
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

impl OutOfProducts for Output {
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
