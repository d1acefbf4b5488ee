use proptest::prelude::*;

use super::*;
use crate::layer::{Input, Then, Wants};
use crate::naive::{self, assert_close_sums, noise};
use crate::{Geometry, Isa, MapShape, Precision, Side};

/// A geometry with two taps along each axis of a phase, of `output` pixels.
fn two_taps([height, width]: [usize; 2], [inputs, outputs]: [usize; 2]) -> Geometry {
    let input = MapShape { channels: inputs, height: 2 * height, width: 2 * width };
    Geometry::of_conv(input, outputs, 4, 2, 1)
}

/// A geometry with three taps along each axis, of `output` pixels.
fn three_taps([height, width]: [usize; 2], [inputs, outputs]: [usize; 2], padding: usize) -> Geometry {
    let [height, width] = [height, width].map(|side| side + 2 - 2 * padding);
    Geometry::of_conv(MapShape { channels: inputs, height, width }, outputs, 3, 1, padding)
}

#[derive(Debug, PartialEq)]
struct Results {
    output: Vec<f32>,
    input: Vec<f32>,
    grad: Vec<f32>,
}

const NOTHING: Then = Then { bias: None, slope: 1.0 };

/// The convolution of `input`, the transposed one of `output`, and the gradient of the weights.
fn results(layer: &Winograd, g: &Geometry, n: usize, [input, output, weights]: &[Vec<f32>; 3]) -> Results {
    // NaN, so that reading what was not written shows.
    let mut to_output = vec![f32::NAN; n * g.output.len()];
    layer.forward(Side::Input, input, weights, NOTHING, &mut to_output);
    let wants = Wants { params: true, input: true };
    let grads = layer.backward(Side::Input, Input::Shared(input), weights, output, wants);
    let in_place = layer.backward(Side::Input, Input::Own(input.clone()), weights, output, wants);
    assert_eq!([&in_place.input, &in_place.weights], [&grads.input, &grads.weights]);
    Results { output: to_output, input: grads.input.unwrap(), grad: grads.weights.unwrap() }
}

fn inputs(g: &Geometry, n: usize, seed: u64) -> [Vec<f32>; 3] {
    [noise(n * g.input.len(), seed), noise(n * g.output.len(), seed + 1), noise(g.num_weights(), seed + 2)]
}

/// Compares all results with plain loops in f64.
fn assert_exact(what: &str, layer: &Winograd, g: &Geometry, n: usize, seed: u64) {
    let values = inputs(g, n, seed);
    let [input, output, weights] = &values;
    let ours = results(layer, g, n, &values);
    // f32 sums of up to thousands of products, through transforms that multiply by up to 8 · 8.
    assert_close_sums(what, &ours.output, &naive::conv(g, n, input, weights), 2e-5);
    assert_close_sums(what, &ours.input, &naive::conv_transpose(g, n, output, weights), 2e-5);
    assert_close_sums(what, &ours.grad, &naive::weight_grad(g, n, input, output), 2e-5);
    let mut input = vec![f32::NAN; n * g.input.len()];
    layer.forward(Side::Output, output, weights, NOTHING, &mut input);
    assert_eq!(input, ours.input, "{what}: the transposed convolution is the gradient of the input");
}

/// Geometries of both forms, with sides that tiles make up and sides that they reach beyond.
fn geometries() -> impl Strategy<Value = Geometry> {
    let channels = (1_usize..3, 1_usize..4).prop_map(|(inputs, outputs)| [16 * inputs, 16 * outputs]);
    let two = [3_usize, 4, 6, 7, 8, 9];
    let of_two = (prop::sample::select(two.to_vec()), prop::sample::select(two.to_vec()), channels.clone())
        .prop_map(|(height, width, channels)| two_taps([height, width], channels));
    let of_three = (1_usize..10, 1_usize..10, channels, 0_usize..2)
        .prop_map(|(height, width, channels, padding)| three_taps([height, width], channels, padding));
    prop_oneof![of_two, of_three]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_results_match_plain_loops_however_the_work_is_divided(
        g in geometries(), n in 1_usize..5, chunk in 1_usize..5, strip in 1_usize..9, seed in 0_u64..99,
    ) {
        for isa in Isa::available() {
            let layer = Winograd::divided(isa, Precision::F32, &g, n, [chunk, strip]);
            assert_exact(&format!("{g:?} {} chunks of {chunk} strips of {strip}", isa.name()), &layer, &g, n, seed);
        }
    }
}

#[test]
fn results_are_exact_at_512_channels() {
    for g in [two_taps([4, 4], [512, 512]), three_taps([4, 4], [512, 512], 1)] {
        let layer = Winograd::new(Isa::wanted().unwrap(), Precision::F32, &g, 1).unwrap();
        assert_exact(&format!("{g:?}"), &layer, &g, 1, 3);
    }
}

#[test]
fn a_chunk_and_a_strip_change_no_bit_of_maps() {
    let isa = Isa::wanted().unwrap();
    for precision in [Precision::F32, Precision::Bf16].into_iter().filter(|precision| precision.is_available(isa)) {
        for g in [two_taps([4, 7], [32, 48]), three_taps([5, 8], [32, 48], 1)] {
            let values = inputs(&g, 5, 1);
            let [whole, divided] = [[5, 99], [2, 1]].map(|[chunk, strip]| {
                results(&Winograd::divided(isa, precision, &g, 5, [chunk, strip]), &g, 5, &values)
            });
            assert_eq!([whole.output, whole.input], [divided.output, divided.input]);
            // Sums over at most 280 tiles, taken in another order.
            let whole: Vec<f64> = whole.grad.into_iter().map(f64::from).collect();
            assert_close_sums(precision.name(), &divided.grad, &whole, 1e-5);
        }
    }
}

#[test]
fn no_images_give_no_maps_and_gradients_of_zero() {
    for g in [two_taps([4, 4], [16, 32]), three_taps([4, 4], [16, 32], 1)] {
        for isa in Isa::available() {
            let layer = Winograd::divided(isa, Precision::F32, &g, 0, [1, 1]);
            let nothing = results(&layer, &g, 0, &[vec![], vec![], noise(g.num_weights(), 1)]);
            let expected = Results { output: vec![], input: vec![], grad: vec![0.0; g.num_weights()] };
            assert_eq!(nothing, expected, "{g:?} {}", isa.name());
        }
    }
}

#[test]
fn bias_and_leaky_relu_come_after_the_convolution() {
    for g in [two_taps([4, 3], [16, 32]), three_taps([4, 3], [16, 32], 1)] {
        let [input, _, weights] = inputs(&g, 2, 5);
        let bias: Vec<f32> = noise(32, 9);
        for isa in Isa::available() {
            let layer = Winograd::divided(isa, Precision::F32, &g, 2, [1, 1]);
            let run = |then| {
                let mut out = vec![f32::NAN; 2 * g.output.len()];
                layer.forward(Side::Input, &input, &weights, then, &mut out);
                out
            };
            let plain = run(NOTHING);
            for (i, (ours, plain)) in run(Then { bias: Some(&bias), slope: 0.2 }).iter().zip(&plain).enumerate() {
                let x = plain + bias[i / (16 * g.output.pixels()) % 2 * 16 + i % 16];
                assert_eq!(*ours, if x > 0.0 { x } else { 0.2 * x });
            }
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let isa = Isa::wanted().unwrap();
    let precisions = [Precision::F32, Precision::Bf16].into_iter().filter(|precision| precision.is_available(isa));
    // With two and three threads: chunks side by side, the last group of which is not full and the last chunk shorter; strips
    // side by side; and too few of both.
    let divisions = [(15, [2, 99]), (3, [3, 1]), (5, [2, 99]), (8, [1, 1])];
    for (precision, (n, division)) in precisions.flat_map(|precision| divisions.map(|division| (precision, division))) {
        for g in [two_taps([7, 7], [32, 96]), three_taps([7, 7], [96, 96], 1)] {
            let values = inputs(&g, n, 1);
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let layer = Winograd::divided(isa, precision, &g, n, division);
                pool.install(|| results(&layer, &g, n, &values))
            };
            let one = run(1);
            assert!(one == run(2), "two threads: {g:?} {n} images in {division:?}");
            assert!(one == run(3), "three threads: {g:?} {n} images in {division:?}");
        }
    }
}
