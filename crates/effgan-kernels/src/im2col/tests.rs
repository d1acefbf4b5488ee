use proptest::prelude::*;

use super::super::naive::{self, assert_close_sums, noise};
use super::*;

/// f32 sums of up to 5 · 5 · 40 products, or 10 · 144 in a gradient, in any order, against the largest of them.
const TOLERANCE: f64 = 1e-5;

fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1..=40_usize, Just(16), Just(32), Just(48)]
}

/// Any geometry with sides from the smallest that fits up to 12.
fn geometries() -> impl Strategy<Value = Geometry> {
    (channels(), channels(), 3..=5_usize, 1..=2_usize, 0..=2_usize).prop_flat_map(
        |(channels, output_channels, kernel, stride, padding)| {
            let sides = kernel.saturating_sub(2 * padding).max(1)..=12_usize;
            (sides.clone(), sides).prop_map(move |(height, width)| {
                Geometry::of_conv(MapShape { channels, height, width }, output_channels, kernel, stride, padding)
            })
        },
    )
}

struct Numbers {
    input: Vec<f32>,
    output: Vec<f32>,
    weights: Vec<f32>,
}

fn isa() -> Isa {
    Isa::wanted().unwrap()
}

fn numbers(g: &Geometry, n: usize) -> Numbers {
    Numbers {
        input: noise(n * g.input.len(), 1),
        output: noise(n * g.output.len(), 2),
        weights: noise(g.num_weights(), 3),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_directions_are_the_plain_loops(g in geometries(), n in 1..=10_usize) {
        let Numbers { input, output, weights } = numbers(&g, n);
        for isa in Isa::available() {
            let mut ours = noise(output.len(), 4);
            conv(isa, &g, n, &input, &weights, None, 1.0, &mut ours);
            assert_close_sums("conv", &ours, &naive::conv(&g, n, &input, &weights), TOLERANCE);
            let mut ours = noise(input.len(), 5);
            conv_transpose(isa, &g, n, &output, &weights, None, &mut ours);
            assert_close_sums("conv_transpose", &ours, &naive::conv_transpose(&g, n, &output, &weights), TOLERANCE);
            let mut ours = noise(weights.len(), 6);
            weight_grad(isa, &g, n, &input, &output, &mut ours);
            assert_close_sums("weight_grad", &ours, &naive::weight_grad(&g, n, &input, &output), TOLERANCE);
        }
    }

    #[test]
    fn bias_is_added_before_the_activation(g in geometries()) {
        let Numbers { input, output, weights } = numbers(&g, 2);
        let (output_bias, input_bias) = (noise(g.output.channels, 7), noise(g.input.channels, 8));
        let mut exact = naive::conv(&g, 2, &input, &weights);
        add_by_index(&g.output, &output_bias, &mut exact);
        exact.iter_mut().filter(|value| **value < 0.0).for_each(|value| *value *= 0.25);
        let mut ours = noise(output.len(), 4);
        conv(isa(), &g, 2, &input, &weights, Some(&output_bias), 0.25, &mut ours);
        assert_close_sums("conv", &ours, &exact, TOLERANCE);

        let mut exact = naive::conv_transpose(&g, 2, &output, &weights);
        add_by_index(&g.input, &input_bias, &mut exact);
        let mut ours = noise(input.len(), 5);
        conv_transpose(isa(), &g, 2, &output, &weights, Some(&input_bias), &mut ours);
        assert_close_sums("conv_transpose", &ours, &exact, TOLERANCE);
    }
}

fn add_by_index(map: &MapShape, bias: &[f32], values: &mut [f64]) {
    for values in values.chunks_exact_mut(map.len()) {
        for (c, &bias) in bias.iter().enumerate() {
            for (y, x) in each_pixel(map.height, map.width) {
                values[map.index(c, y, x)] += f64::from(bias);
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let g = Geometry::of_conv(MapShape { channels: 32, height: 9, width: 7 }, 48, 4, 2, 1);
    let n = 37;
    let Numbers { input, output, weights } = numbers(&g, n);
    let all = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut out = (output.clone(), input.clone(), weights.clone());
            conv(isa(), &g, n, &input, &weights, None, 0.2, &mut out.0);
            conv_transpose(isa(), &g, n, &output, &weights, None, &mut out.1);
            weight_grad(isa(), &g, n, &input, &output, &mut out.2);
            out
        })
    };
    let one = all(1);
    assert_eq!(one, all(2));
    assert_eq!(one, all(3));
}

/// Other pieces sum gradients in another order: they are another version of the arithmetic.
#[test]
fn the_work_is_divided_as_the_version_of_the_arithmetic_says() {
    assert_eq!((crate::ARITHMETIC_VERSION, ROWS, IMAGES, PIECES), (3, 512, 8, 8));
}

#[test]
fn no_images_give_a_gradient_of_zero() {
    let g = Geometry::of_conv(MapShape { channels: 3, height: 4, width: 4 }, 2, 3, 1, 1);
    let mut grad = noise(g.num_weights(), 1);
    weight_grad(isa(), &g, 0, &[], &[], &mut grad);
    assert!(grad.iter().all(|&value| value == 0.0));
}
