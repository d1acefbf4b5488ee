use proptest::prelude::*;

use super::super::im2col::weight_grad;
use super::super::naive::{self, assert_close, noise};
use super::*;

/// f32 products of up to 5 · 5 · 20 terms, whose squares are compared with the largest of them.
const TOLERANCE: f64 = 1e-5;

fn isa() -> Isa {
    Isa::wanted().unwrap()
}

fn assert_close_f64(what: &str, ours: &[f64], exact: &[f64], tolerance: f64) {
    let ours: Vec<f32> = ours.iter().map(|&value| value as f32).collect();
    assert_close(what, &ours, exact, tolerance);
}

fn squared_norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// The squared norm of each example's gradient, by the naive loops of each example alone.
fn exact_norms(g: &Geometry, n: usize, input: &[f32], output: &[f32]) -> Vec<f64> {
    let one = |i: usize| {
        let (input, output) =
            (&input[i * g.input.len()..][..g.input.len()], &output[i * g.output.len()..][..g.output.len()]);
        squared_norm(&naive::weight_grad(g, 1, input, output))
    };
    (0..n).map(one).collect()
}

fn maps() -> impl Strategy<Value = MapShape> {
    (prop_oneof![1..=40_usize, Just(16), Just(32)], 1..=6_usize, 1..=6_usize)
        .prop_map(|(channels, height, width)| MapShape { channels, height, width })
}

fn geometries() -> impl Strategy<Value = Geometry> {
    let channels = prop_oneof![1..=20_usize, Just(16), Just(32)];
    (maps(), channels, 3..=5_usize, 1..=2_usize)
        .prop_filter("the window fits", |(map, _, kernel, _)| map.height.min(map.width) + 2 >= *kernel)
        .prop_map(|(map, channels, kernel, stride)| Geometry::of_conv(map, channels, kernel, stride, 1))
}

/// Sums over pixels per channel of `value(i)`, where i is the index of a value in one example's map.
fn sums_by_index(map: &MapShape, value: impl Fn(usize) -> f64) -> Vec<f64> {
    let sum = |c| (0..map.pixels()).map(|p| value(map.index(c, p / map.width, p % map.width))).sum();
    (0..map.channels).map(sum).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_methods_give_the_norms_of_single_gradients(g in geometries(), n in 1..=5_usize) {
        let (input, output) = (noise(n * g.input.len(), 1), noise(n * g.output.len(), 2));
        let exact = exact_norms(&g, n, &input, &output);
        for isa in Isa::available() {
            for method in [Method::Ghost, Method::OwnGradient] {
                let ours = squared_norms_by(method, isa, &g, n, &input, &output);
                assert_close_f64(&format!("{method:?} {isa:?}"), &ours, &exact, TOLERANCE);
            }
        }
        assert_close_f64("the cheaper", &conv_squared_norms(isa(), &g, n, &input, &output), &exact, TOLERANCE);
    }

    #[test]
    fn norms_of_biases_and_group_norm_are_those_of_single_gradients(map in maps(), n in 1..=5_usize) {
        let (grad, normalised) = (noise(n * map.len(), 1), noise(n * map.len(), 2));
        let at = |values: &[f32], i: usize, j: usize| f64::from(values[i * map.len() + j]);
        let beta = |i| squared_norm(&sums_by_index(&map, |j| at(&grad, i, j)));
        let gamma = |i| squared_norm(&sums_by_index(&map, |j| at(&grad, i, j) * at(&normalised, i, j)));
        let exact: Vec<f64> = (0..n).map(beta).collect();
        // Only the rounding to f32 of the comparison; the sums are in f64.
        assert_close_f64("bias", &bias_squared_norms(isa(), n, &map, &grad), &exact, 1e-7);
        let exact: Vec<f64> = (0..n).map(|i| beta(i) + gamma(i)).collect();
        assert_close_f64("group norm", &group_norm_squared_norms(isa(), n, &map, &normalised, &grad), &exact, 1e-7);
    }

    #[test]
    fn all_instruction_sets_give_the_same_sums(map in maps()) {
        let (a, b) = (noise(map.len(), 1), noise(map.len(), 2));
        let all = |isa| {
            let (plain, weighed) =
                (squared_channel_sums(isa, &map, &a, None), squared_channel_sums(isa, &map, &a, Some(&b)));
            [dot(isa, &a, &b), plain, weighed]
        };
        for isa in Isa::available() {
            prop_assert_eq!(all(isa), all(Isa::PORTABLE));
        }
    }

    #[test]
    fn weighed_examples_sum_to_the_clipped_gradients(g in geometries(), n in 1..=5_usize) {
        let (input, mut output) = (noise(n * g.input.len(), 1), noise(n * g.output.len(), 2));
        let norms = conv_squared_norms(isa(), &g, n, &input, &output);
        let clip = norms[0].sqrt();
        let factors: Vec<f32> = norms.iter().map(|norm| (clip / norm.sqrt()).min(1.0) as f32).collect();
        let exact = clipped_sum_of_single_gradients(&g, clip, &input, &output);
        weigh_examples(n, &factors, &mut output);
        let mut grad = noise(g.num_weights(), 3);
        weight_grad(&g, n, &input, &output, &mut grad);
        assert_close("clipped sum", &grad, &exact, TOLERANCE);
    }
}

fn clipped_sum_of_single_gradients(g: &Geometry, clip: f64, input: &[f32], output: &[f32]) -> Vec<f64> {
    let mut sum = vec![0.0; g.num_weights()];
    for (input, output) in input.chunks_exact(g.input.len()).zip(output.chunks_exact(g.output.len())) {
        let mut grad = noise(g.num_weights(), 4);
        weight_grad(g, 1, input, output, &mut grad);
        let norm = grad.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        for (sum, value) in sum.iter_mut().zip(grad) {
            *sum += f64::from(value) * (clip / norm).min(1.0);
        }
    }
    sum
}

#[test]
fn a_linear_layer_is_a_convolution_of_one_pixel() {
    let (n, inputs, outputs) = (7, 50, 33);
    let g = Geometry::of_conv(MapShape { channels: inputs, height: 1, width: 1 }, outputs, 1, 1, 0);
    let (x, grad) = (noise(n * inputs, 1), noise(n * outputs, 2));
    let norms = linear_squared_norms(isa(), n, &x, &grad);
    assert_close_f64("linear", &norms, &exact_norms(&g, n, &x, &grad), TOLERANCE);
    assert_close_f64("convolution", &norms, &conv_squared_norms(isa(), &g, n, &x, &grad), TOLERANCE);
}

#[test]
fn many_channels_take_the_ghost_norm_and_many_pixels_the_gradient() {
    let conv =
        |channels, side, output| Geometry::of_conv(MapShape { channels, height: side, width: side }, output, 4, 2, 1);
    assert_eq!(Method::cheaper(&conv(64, 28, 64)), Method::OwnGradient); // 196 · 1088 ≥ 1024 · 64
    assert_eq!(Method::cheaper(&conv(256, 8, 512)), Method::Ghost); // 16 · 4608 < 4096 · 512
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let g = Geometry::of_conv(MapShape { channels: 32, height: 9, width: 7 }, 48, 4, 2, 1);
    let n = 37;
    let (input, output) = (noise(n * g.input.len(), 1), noise(n * g.output.len(), 2));
    let all = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut weighed = output.clone();
            weigh_examples(n, &noise(n, 3), &mut weighed);
            let norms = [
                squared_norms_by(Method::Ghost, isa(), &g, n, &input, &output),
                squared_norms_by(Method::OwnGradient, isa(), &g, n, &input, &output),
                linear_squared_norms(isa(), n, &input, &output),
                bias_squared_norms(isa(), n, &g.output, &output),
                group_norm_squared_norms(isa(), n, &g.output, &weighed, &output),
            ];
            (weighed, norms)
        })
    };
    let one = all(1);
    assert_eq!(one, all(2));
    assert_eq!(one, all(3));
}

#[test]
fn a_gradient_that_cancels_between_pixels_has_a_small_norm_not_below_zero() {
    let g = Geometry::of_conv(MapShape { channels: 40, height: 6, width: 6 }, 16, 3, 1, 0);
    let input = vec![0.3; g.input.len()];
    let half = noise(g.output.len() / 2, 1);
    let output: Vec<f32> = half.iter().copied().chain(half.iter().map(|value| -value)).collect();
    let isa = isa();
    let cols_squared = 0.09 * (g.output.pixels() * 9 * g.input.channels) as f64;
    for method in [Method::Ghost, Method::OwnGradient] {
        let norm = squared_norms_by(method, isa, &g, 1, &input, &output)[0];
        assert!((0.0..1e-6 * cols_squared * dot(isa, &output, &output)).contains(&norm), "{method:?} {norm}");
    }
}

#[test]
fn a_gradient_with_nan_has_no_norm() {
    let g = Geometry::of_conv(MapShape { channels: 3, height: 4, width: 4 }, 2, 3, 1, 1);
    let (input, mut output) = (noise(2 * g.input.len(), 1), noise(2 * g.output.len(), 2));
    output[g.output.len()] = f32::NAN;
    for method in [Method::Ghost, Method::OwnGradient] {
        let norms = squared_norms_by(method, isa(), &g, 2, &input, &output);
        assert!(norms[0].is_finite() && norms[1].is_nan(), "{method:?} {norms:?}");
    }
}

#[test]
fn no_examples_have_no_norms() {
    let g = Geometry::of_conv(MapShape { channels: 3, height: 4, width: 4 }, 2, 3, 1, 1);
    assert!(conv_squared_norms(isa(), &g, 0, &[], &[]).is_empty());
    assert!(linear_squared_norms(isa(), 0, &[], &[]).is_empty());
    assert!(group_norm_squared_norms(isa(), 0, &g.output, &[], &[]).is_empty());
    weigh_examples(0, &[], &mut []);
}
