//! Convolution of width 4, stride 2, padding 1 (and its transpose) in Winograd's form (Winograd 1980; Lavin & Gray
//! 2016, arXiv:1509.09308): 81 products of small matrices' elements where the plain form has 196, for 14 × 14 ↔ 7 × 7.
//!
//! The big map, split into its four phases (even and odd rows and columns), is a map of half the side and four times
//! the channels; on it the convolution has width 2 and stride 1. An axis of the small map is cut into tiles of 4 and 3
//! values; a tile of m values is computed by F(m, 2): m + 1 products at the points 0, 1, −1, 2 and ∞ (2 is left out for
//! m = 3). A *product* is one (point, tile) pair of an axis, and in two dimensions a pair of those; all tiles of a
//! point share its transformed weights, so that each of the 25 points is one matrix product whose rows are the images'
//! tiles. With the matrices A, B, G of F(m, 2), one trilinear form gives all three directions:
//!
//! ```text
//! small = Aᵀ [ (G w) · (Bᵀ big) ]      big = B [ (G w) · (A small) ]      grad w = Gᵀ [ (Bᵀ big) · (A small) ]
//! ```
//!
//! Rounding: the largest factor that a transform multiplies by is 8, so that f32 results are within 2e-5 of the largest
//! value.

mod axis;
mod maps;
mod multiply;
mod plan;
mod planes;
mod weights;

pub(super) use maps::{into_products, out_of_products};
pub(super) use multiply::{Factors, multiply, multiply_for_weights};
pub(super) use plan::{Plan, fits};
pub(super) use weights::weights_out_of_products;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::plan::Axis;
    use super::*;
    use crate::reference::{self, assert_close, noise};
    use crate::{Geometry, Isa, MapShape, Precision, Side};

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
        let products = |side, maps: &[f32]| {
            let mut products = nan(plan.products_len(side));
            into_products(isa, &plan, side, maps, &mut products);
            products
        };
        let multiplied = |from: Side, products: &[f32]| {
            let factors = Factors::new(isa, Precision::F32, &plan, from, weights);
            let mut other = nan(plan.products_len(from.other()));
            multiply(isa, &plan, from, products, &factors, &mut other);
            other
        };
        let (v, w) = (products(Side::Big, big), products(Side::Small, small));
        let (to_small, to_big) = (multiplied(Side::Big, &v), multiplied(Side::Small, &w));
        let mut u = nan(plan.weights_len());
        multiply_for_weights(isa, Precision::F32, &plan, &v, &w, &mut u, false);
        let mut out =
            Directions { small: nan(n * g.small.len()), big: nan(n * g.big.len()), grad: nan(g.num_weights()) };
        out_of_products(isa, &plan, Side::Small, &to_small, None, 1.0, &mut out.small);
        out_of_products(isa, &plan, Side::Big, &to_big, None, 1.0, &mut out.big);
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
            let [mut v, mut m] = [Side::Big, Side::Small].map(|side| vec![0.0; plan.products_len(side)]);
            into_products(isa, &plan, Side::Big, &big, &mut v);
            let factors = Factors::new(isa, Precision::F32, &plan, Side::Big, &weights);
            multiply(isa, &plan, Side::Big, &v, &factors, &mut m);
            let mut ours = vec![0.0; plain.len()];
            out_of_products(isa, &plan, Side::Small, &m, Some(&bias), 0.2, &mut ours);
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
