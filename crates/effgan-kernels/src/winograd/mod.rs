//! Winograd's algorithm for convolutions with kernel 4, stride 2 and padding 1, and for their transposes (Winograd
//! 1980; Lavin & Gray 2016, arXiv:1509.09308).
//!
//! The input map, split into its four *phases* (even and odd rows and columns), is a map of half the side and four
//! times the channels, on which the convolution has kernel 2 and stride 1. Each axis of the output map is divided into
//! *tiles* of 4 and 3 values. F(m, 2) computes a tile of m values from m + 1 products at the *points* 0, 1, −1, 2 and ∞
//! (without 2 for m = 3). A *product* thus has a point and a tile along one axis, and a pair of each in two dimensions.
//! For 14 × 14 ↔ 7 × 7 pixels there are 9 products per axis: 81 multiplications for each phase and pair of channels,
//! where the plain loops take 196.
//!
//! All tiles share the transformed weights of a point. The products of each of the 5 × 5 points are therefore one matrix
//! product, with a row for each tile of each image. With the matrices A, B and G of F(m, 2), one trilinear form gives
//! the convolution, its transpose and the gradient of the weights:
//!
//! ```text
//! output = Aᵀ [ (G w) · (Bᵀ input) ]
//! input  = B  [ (G w) · (A output) ]
//! grad w = Gᵀ [ (Bᵀ input) · (A output) ]
//! ```
//!
//! Rounding: a transform along one axis multiplies by at most 8, which keeps f32 results within 2e-5 of the largest
//! value.

mod axis;
mod multiply;
mod planes;
mod product_layout;
mod transform;
mod weights;

pub(super) use multiply::{Factors, multiply, multiply_for_weights};
pub(super) use product_layout::{ProductLayout, fits};
pub(super) use transform::{into_products, out_of_products};
pub(super) use weights::weights_out_of_products;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::product_layout::Axis;
    use super::*;
    use crate::naive::{self, assert_close_sums, noise};
    use crate::{Geometry, Isa, MapShape, Precision, Side};

    fn geometry(height: usize, width: usize, input: usize, output: usize) -> Geometry {
        let input = MapShape { channels: input, height: 2 * height, width: 2 * width };
        Geometry::of_conv(input, output, 4, 2, 1)
    }

    struct Results {
        output: Vec<f32>,
        input: Vec<f32>,
        grad: Vec<f32>,
    }

    fn winograd(isa: Isa, g: &Geometry, n: usize, input: &[f32], output: &[f32], weights: &[f32]) -> Results {
        let layout = ProductLayout::new(g, n);
        // NaN, so that reading what was not written shows.
        let nan = |len| vec![f32::NAN; len];
        let products = |side, maps: &[f32]| {
            let mut products = nan(layout.products_len(side));
            into_products(isa, &layout, side, maps, &mut products);
            products
        };
        let multiplied = |from: Side, products: &[f32]| {
            let factors = Factors::new(isa, Precision::F32, &layout, from, weights);
            let mut other = nan(layout.products_len(from.other()));
            multiply(isa, &layout, from, products, &factors, &mut other);
            other
        };
        let (v, w) = (products(Side::Input, input), products(Side::Output, output));
        let (to_output, to_input) = (multiplied(Side::Input, &v), multiplied(Side::Output, &w));
        let mut u = nan(layout.weights_len());
        multiply_for_weights(isa, Precision::F32, &layout, &v, &w, &mut u, false);
        let mut out =
            Results { output: nan(n * g.output.len()), input: nan(n * g.input.len()), grad: nan(g.num_weights()) };
        out_of_products(isa, &layout, Side::Output, &to_output, None, 1.0, &mut out.output);
        out_of_products(isa, &layout, Side::Input, &to_input, None, 1.0, &mut out.input);
        weights_out_of_products(isa, &layout, &u, &mut out.grad);
        out
    }

    fn inputs(g: &Geometry, n: usize, seed: u64) -> [Vec<f32>; 3] {
        [noise(n * g.input.len(), seed), noise(n * g.output.len(), seed + 1), noise(g.num_weights(), seed + 2)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn all_three_results_match_plain_loops(
            height in prop::sample::select(vec![3_usize, 4, 6, 7, 8, 9]),
            width in prop::sample::select(vec![3_usize, 4, 7, 8]),
            input in 1_usize..3, output in 1_usize..4, n in 1_usize..4, seed in 0_u64..99,
        ) {
            let g = geometry(height, width, 16 * input, 16 * output);
            let [input, output, weights] = inputs(&g, n, seed);
            for isa in Isa::available() {
                let ours = winograd(isa, &g, n, &input, &output, &weights);
                // Sums of up to a thousand products in f32, through transforms that multiply by up to 8 · 8.
                assert_close_sums(isa.name(), &ours.output, &naive::conv(&g, n, &input, &weights), 2e-5);
                assert_close_sums(isa.name(), &ours.input, &naive::conv_transpose(&g, n, &output, &weights), 2e-5);
                assert_close_sums(isa.name(), &ours.grad, &naive::weight_grad(&g, n, &input, &output), 2e-5);
            }
        }
    }

    #[test]
    fn bias_and_leaky_relu_come_after_the_convolution() {
        let g = geometry(4, 3, 16, 16);
        let [input, output, weights] = inputs(&g, 2, 5);
        let bias: Vec<f32> = noise(16, 9);
        let layout = ProductLayout::new(&g, 2);
        for isa in Isa::available() {
            let plain = winograd(isa, &g, 2, &input, &output, &weights).output;
            let [mut v, mut m] = [Side::Input, Side::Output].map(|side| vec![0.0; layout.products_len(side)]);
            into_products(isa, &layout, Side::Input, &input, &mut v);
            let factors = Factors::new(isa, Precision::F32, &layout, Side::Input, &weights);
            multiply(isa, &layout, Side::Input, &v, &factors, &mut m);
            let mut ours = vec![0.0; plain.len()];
            out_of_products(isa, &layout, Side::Output, &m, Some(&bias), 0.2, &mut ours);
            for (i, (ours, plain)) in ours.iter().zip(&plain).enumerate() {
                let x = plain + bias[i % 16];
                assert_eq!(*ours, if x > 0.0 { x } else { 0.2 * x });
            }
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let g = geometry(7, 7, 16, 32);
        let [input, output, weights] = inputs(&g, 5, 1);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let Results { output, input, grad } =
                pool.install(|| winograd(Isa::wanted().unwrap(), &g, 5, &input, &output, &weights));
            [output, input, grad]
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
