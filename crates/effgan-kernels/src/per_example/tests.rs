use proptest::prelude::*;

use super::super::im2col::weight_grad;
use super::super::naive::{self, assert_close, noise};
use super::super::norm::group_norm;
use super::*;

/// The squared norms of gradients of noise are at most this much too large: the bounds grow with the number of pixels
/// and channels, and these are small.
const TOLERANCE: f64 = 1e-3;

fn isa() -> Isa {
    Isa::wanted().unwrap()
}

fn squared_norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// Σ v² in f64.
fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

/// Checks that `ours` are bounds of `exact`, and close.
#[track_caller]
fn assert_bounds(what: &str, ours: &[f64], exact: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    for (ours, exact) in ours.iter().zip(exact) {
        assert!(ours >= exact && *ours <= exact * (1.0 + tolerance), "{what}: {ours} for {exact}");
    }
}

/// The squared norm of each example's gradient of the weights, by the naive loops of each example alone.
fn exact_norms(g: &Geometry, n: usize, input: &[f32], output: &[f32]) -> Vec<f64> {
    let one = |i: usize| {
        let (input, output) =
            (&input[i * g.input.len()..][..g.input.len()], &output[i * g.output.len()..][..g.output.len()]);
        squared_norm(&naive::weight_grad(g, 1, input, output))
    };
    (0..n).map(one).collect()
}

/// The same with the gradient of the bias.
fn exact_norms_with_bias(g: &Geometry, n: usize, input: &[f32], output: &[f32]) -> Vec<f64> {
    let bias = |output: &[f32]| squared_norm(&sums_of_channels(&g.output, |_, i| f64::from(output[i])));
    let of_weights = exact_norms(g, n, input, output).into_iter();
    of_weights.zip(output.chunks_exact(g.output.len())).map(|(weights, output)| weights + bias(output)).collect()
}

/// The methods that take this geometry.
fn methods(g: &Geometry) -> Vec<Method> {
    let blocks = g.input.channels.is_multiple_of(BLOCK) && g.output.channels.is_multiple_of(BLOCK);
    let takes = |method: &Method| match method {
        Method::FewChannels => few_channels::fits(g),
        Method::Ghost => blocks && g.kernel.is_multiple_of(g.stride),
        Method::Taps => blocks,
        Method::Winograd => Winograd::of(g).is_some(),
        Method::Im2col => true,
    };
    let all = [Method::FewChannels, Method::Ghost, Method::Taps, Method::Winograd, Method::Im2col];
    all.into_iter().filter(takes).collect()
}

/// Those by one method, without the bias.
fn norms_by(method: Method, isa: Isa, g: &Geometry, n: usize, input: &[f32], output: &[f32]) -> Vec<f64> {
    let layer = Layer { isa, grid: Grid::new(g), method };
    norms_of_maps([&g.input, &g.output], n, input, output, |input, output| {
        layer.of_weights(input, output, [input, output].map(|map| size(isa, map)))
    })
}

fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1..=20_usize, Just(16), Just(32), Just(48)]
}

fn maps() -> impl Strategy<Value = MapShape> {
    (channels(), 1..=9_usize, 1..=9_usize).prop_map(|(channels, height, width)| MapShape { channels, height, width })
}

/// Any window, with padding of up to two pixels.
fn geometries() -> impl Strategy<Value = Geometry> {
    (maps(), channels(), 1..=5_usize, 1..=3_usize, 0..=2_usize)
        .prop_filter("the window fits", |(map, _, kernel, _, padding)| {
            map.height.min(map.width) + 2 * padding >= *kernel && padding < kernel
        })
        .prop_map(|(map, channels, kernel, stride, padding)| Geometry::of_conv(map, channels, kernel, stride, padding))
}

/// The layers of both discriminators: few channels and blocks of them.
fn layers() -> impl Strategy<Value = Geometry> {
    let windows = prop::sample::select(vec![(4, 2, 1), (3, 1, 1), (1, 1, 0), (3, 2, 0), (2, 2, 0)]);
    let inputs = prop::sample::select(vec![1_usize, 3, 16, 32]);
    let outputs = prop::sample::select(vec![16_usize, 32, 48]);
    (inputs, outputs, windows, 3..=9_usize, 3..=9_usize).prop_map(
        |(channels, outputs, (kernel, stride, padding), height, width)| {
            let (height, width) = if kernel == 4 { (2 * height, 2 * width) } else { (height, width) };
            Geometry::of_conv(MapShape { channels, height, width }, outputs, kernel, stride, padding)
        },
    )
}

/// Values between the smallest and the largest of `sizes`, and some zeros, as hostile parameters might make them.
fn hostile(len: usize, sizes: [f32; 2], seed: u64) -> Vec<f32> {
    let size = |i: usize| if i.is_multiple_of(7) { 0.0 } else { sizes[i % 3 % 2] };
    noise(len, seed).into_iter().enumerate().map(|(i, value)| value * size(i)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_method_gives_bounds_close_to_the_norms_of_single_gradients(
        g in prop_oneof![geometries(), layers()], n in 1..=3_usize,
    ) {
        let (input, output) = (noise(n * g.input.len(), 1), noise(n * g.output.len(), 2));
        let exact = exact_norms(&g, n, &input, &output);
        for isa in Isa::available() {
            for method in methods(&g) {
                let ours = norms_by(method, isa, &g, n, &input, &output);
                // Where most windows are in the padding, few of the products that the bound counts are there.
                for (i, (ours, exact)) in ours.iter().zip(&exact).enumerate() {
                    let terms = squares(&input[i * g.input.len()..][..g.input.len()])
                        * squares(&output[i * g.output.len()..][..g.output.len()]) * (g.kernel * g.kernel) as f64;
                    let bound = exact + 1e-4 * (exact * terms).sqrt() + 1e-4 * terms;
                    prop_assert!(ours >= exact && *ours <= bound, "{:?} {:?}: {} for {}", method, isa, ours, exact);
                }
            }
        }
    }

    #[test]
    fn the_norm_before_a_mean_is_that_of_gradients_repeated_over_its_pixels(
        [inputs, outputs] in [prop::sample::select(vec![1_usize, 3, 16, 32]), prop::sample::select(vec![5_usize, 16, 32])],
        [height, width] in [1..=4_usize, 1..=4_usize], is_pixel in any::<bool>(), n in 1..=3_usize,
    ) {
        let map = MapShape { channels: inputs, height: 2 * height, width: 2 * width };
        let (kernel, padding) = if is_pixel { (1, 0) } else { (3, 1) };
        let g = Geometry::of_conv(map, outputs, kernel, 1, padding);
        let half = MapShape { channels: outputs, height, width };
        let (input, mean_grad) = (noise(n * map.len(), 1), noise(n * half.len(), 2));
        let grad = repeated(&g, &half, &mean_grad);
        let ours = conv_mean_squared_norms(isa(), &g, n, &input, &mean_grad);
        assert_bounds("before a mean", &ours, &exact_norms_with_bias(&g, n, &input, &grad), TOLERANCE);
    }

    #[test]
    fn norms_of_group_norm_are_those_of_single_gradients(
        [height, width] in [1..=9_usize, 1..=9_usize], channels in prop::sample::select(vec![6_usize, 16, 20, 32]),
        groups in prop::sample::select(vec![1_usize, 2]), n in 1..=5_usize,
    ) {
        let map = MapShape { channels, height, width };
        let (grad, x) = (noise(n * map.len(), 1), noise(n * map.len(), 2));
        let sizes = Sizes::of(n, &map);
        let mut out = vec![0.0; x.len()];
        let params = vec![1.0; map.channels];
        let statistics = group_norm(isa(), &sizes, groups, &x, &params, &params, 1.0, &mut out);
        let at = |values: &[f32], i: usize, j: usize| f64::from(values[i * map.len() + j]);
        let normalised = |i: usize, c: usize, j: usize| {
            let group = i * groups + c / (map.channels / groups);
            (at(&x, i, j) - f64::from(statistics.mean[group])) * f64::from(statistics.inv_std[group])
        };
        let beta = |i| squared_norm(&sums_of_channels(&map, |_, j| at(&grad, i, j)));
        let gamma = |i| squared_norm(&sums_of_channels(&map, |c, j| at(&grad, i, j) * normalised(i, c, j)));
        for isa in Isa::available() {
            let exact: Vec<f64> = (0..n).map(|i| beta(i) + gamma(i)).collect();
            let ours = group_norm_squared_norms(isa, &sizes, &x, &statistics, &grad);
            assert_bounds("group norm", &ours, &exact, TOLERANCE);
        }
    }

    /// Of any size that parameters can give them, 1e30 and 1e-30 too, an example's gradient times its factor is at most
    /// the bound, or the factor is 0.
    #[test]
    fn no_gradient_times_its_factor_is_above_the_bound(
        g in prop_oneof![geometries(), layers()],
        sizes in prop::array::uniform4(prop::sample::select(vec![1e-40_f32, 1e-30, 1e-20, 1e-8, 1.0, 1e8, 1e18, 1e30])),
        clip in prop::sample::select(vec![1e-3, 1.0, 1e3]), cancels in any::<bool>(),
    ) {
        let mut input = hostile(g.input.len(), [sizes[0], sizes[1]], 1);
        let mut output = hostile(g.output.len(), [sizes[2], sizes[3]], 2);
        if cancels {
            (input, output) = cancelling(&g);
            input.fill(sizes[0].min(1e8));
        }
        let exact = exact_norms(&g, 1, &input, &output)[0];
        for isa in Isa::available() {
            for method in methods(&g) {
                let ours = norms_by(method, isa, &g, 1, &input, &output)[0];
                prop_assert!(!ours.is_finite() || ours >= exact, "{:?} {:?}: {} for {}", method, isa, ours, exact);
                let factor = clipping_factor(ours, clip);
                let (mut weighed, mut input) = (output.clone(), input.clone());
                weigh_examples(1, &[factor], &mut weighed);
                drop_examples(1, &[factor], &mut input);
                let clipped = exact_norms(&g, 1, &input, &weighed)[0];
                prop_assert!(clipped <= clip * clip, "{:?} {:?}: {} of {}", method, isa, clipped, ours);
            }
        }
    }

    #[test]
    fn no_gradient_of_other_layers_times_its_factor_is_above_the_bound(
        map in maps(),
        sizes in prop::array::uniform4(prop::sample::select(vec![1e-40_f32, 1e-30, 1e-8, 1.0, 1e8, 1e18, 1e30])),
        clip in prop::sample::select(vec![1e-3, 1.0, 1e3]), mean in -1e3_f32..1e3, inv_std in 1e-3_f32..300.0,
    ) {
        let mut grad = hostile(map.len(), [sizes[0], sizes[1]], 1);
        let half = grad.len() / 2;
        for i in 0..half {
            grad[half + i] = -grad[i];
        }
        let x = hostile(map.len(), [sizes[2], sizes[3]], 2);
        let at = |grad: &[f32], i: usize| f64::from(grad[i]);
        let normalised = |i: usize| (f64::from(x[i]) - f64::from(mean)) * f64::from(inv_std);
        let linear = |grad: &[f32]| (squares(&x) + 1.0) * squares(grad);
        let group_norm = |grad: &[f32]| {
            squared_norm(&sums_of_channels(&map, |_, i| at(grad, i)))
                + squared_norm(&sums_of_channels(&map, |_, i| at(grad, i) * normalised(i)))
        };
        let [mean, inv_std] = [mean, inv_std].map(|value| {
            let mut one = buffer::Buffer::of(1);
            one.fill(value);
            one
        });
        let statistics = GroupStatistics { mean, inv_std };
        for isa in Isa::available() {
            for (ours, exact) in [
                (linear_squared_norms(isa, 1, &x, &grad)[0], &linear as &dyn Fn(&[f32]) -> f64),
                (group_norm_squared_norms(isa, &Sizes::of(1, &map), &x, &statistics, &grad)[0], &group_norm),
            ] {
                prop_assert!(!ours.is_finite() || ours >= exact(&grad), "{} for {}", ours, exact(&grad));
                let mut weighed = grad.clone();
                weigh_examples(1, &[clipping_factor(ours, clip)], &mut weighed);
                prop_assert!(exact(&weighed) <= clip * clip, "{}, {}", exact(&weighed), ours);
            }
        }
    }

    #[test]
    fn weighed_examples_sum_to_the_clipped_gradients(g in geometries(), n in 1..=5_usize) {
        let (input, mut output) = (noise(n * g.input.len(), 1), noise(n * g.output.len(), 2));
        let norms = conv_squared_norms(isa(), &g, n, &input, &output);
        let clip = norms[0].sqrt();
        let factors: Vec<f32> = norms.iter().map(|&norm| clipping_factor(norm, clip)).collect();
        let exact = sum_of_weighed_single_gradients(&g, &factors, &input, &output);
        weigh_examples(n, &factors, &mut output);
        let mut grad = noise(g.num_weights(), 3);
        weight_grad(isa(), &g, n, &input, &output, &mut grad);
        assert_close("clipped sum", &grad, &exact, 1e-5);
    }
}

/// Larger than what the sum with 1 is rounded to.
const LARGE: f32 = (1 << 26) as f32;

/// An input and a gradient of the output of which f32 sums may lose all: of each channel of the output, the first value
/// is 1, and large ones that cancel follow.
fn cancelling(g: &Geometry) -> (Vec<f32>, Vec<f32>) {
    let mut output = vec![0.0; g.output.len()];
    for c in 0..g.output.channels {
        for (i, (y, x)) in pixels(&g.output).enumerate() {
            let size = LARGE * (1 + c % 3) as f32;
            let is_paired = i % 2 == 0 || i + 1 < g.output.pixels();
            output[g.output.index(c, y, x)] = match i % 2 {
                _ if i == 0 => 1.0,
                1 if is_paired => size,
                0 => -size,
                _ => 0.0,
            };
        }
    }
    (vec![1.0; g.input.len()], output)
}

/// An input and a gradient of the output whose products cancel but for what is rounded, or nearly so where windows are
/// in the padding.
fn cancelling_halves(g: &Geometry) -> (Vec<f32>, Vec<f32>) {
    let mut output = noise(g.output.len(), 1);
    let half = output.len() / 2;
    for i in 0..half {
        output[half + i] = -output[i];
    }
    (vec![0.3; g.input.len()], output)
}

fn pixels(map: &MapShape) -> impl Iterator<Item = (usize, usize)> + use<> {
    let width = map.width;
    (0..map.pixels()).map(move |pixel| (pixel / width, pixel % width))
}

/// The gradient of the outputs of `g`, given that of their means over 2 × 2 pixels, maps of shape `half`.
fn repeated(g: &Geometry, half: &MapShape, mean_grad: &[f32]) -> Vec<f32> {
    let mut grad = vec![0.0; mean_grad.len() / half.len() * g.output.len()];
    for (grad, mean_grad) in grad.chunks_exact_mut(g.output.len()).zip(mean_grad.chunks_exact(half.len())) {
        for (c, (y, x)) in (0..half.channels).flat_map(|c| pixels(&g.output).map(move |pixel| (c, pixel))) {
            grad[g.output.index(c, y, x)] = 0.25 * mean_grad[half.index(c, y / 2, x / 2)];
        }
    }
    grad
}

/// Sums over pixels per channel of `value(c, i)`, where i is the index of a value in one example's map.
fn sums_of_channels(map: &MapShape, value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let sum = |c| (0..map.pixels()).map(|p| value(c, map.index(c, p / map.width, p % map.width))).sum();
    (0..map.channels).map(sum).collect()
}

fn sum_of_weighed_single_gradients(g: &Geometry, factors: &[f32], input: &[f32], output: &[f32]) -> Vec<f64> {
    let mut sum = vec![0.0; g.num_weights()];
    let examples = input.chunks_exact(g.input.len()).zip(output.chunks_exact(g.output.len()));
    for ((input, output), &factor) in examples.zip(factors) {
        let grad = naive::weight_grad(g, 1, input, output);
        sum.iter_mut().zip(grad).for_each(|(sum, value)| *sum += value * f64::from(factor));
    }
    sum
}

#[test]
fn a_linear_layer_is_a_convolution_of_one_pixel() {
    let (n, inputs, outputs) = (7, 50, 33);
    let g = Geometry::of_conv(MapShape { channels: inputs, height: 1, width: 1 }, outputs, 1, 1, 0);
    let (x, grad) = (noise(n * inputs, 1), noise(n * outputs, 2));
    let exact = exact_norms_with_bias(&g, n, &x, &grad);
    assert_bounds("linear", &linear_squared_norms(isa(), n, &x, &grad), &exact, TOLERANCE);
    assert_bounds("convolution", &conv_squared_norms(isa(), &g, n, &x, &grad), &exact, TOLERANCE);
}

#[test]
fn many_channels_take_the_ghost_norm_and_many_pixels_the_gradient() {
    let conv = |channels, side, outputs, kernel, stride, padding| {
        let map = MapShape { channels, height: side, width: side };
        Method::of(isa(), &Geometry::of_conv(map, outputs, kernel, stride, padding))
    };
    assert_eq!(conv(3, 64, 64, 4, 2, 1), Method::FewChannels);
    assert_eq!(conv(6, 64, 64, 4, 2, 1), Method::Im2col);
    assert_eq!(conv(256, 8, 512, 4, 2, 1), Method::Ghost);
    assert_eq!(conv(64, 32, 64, 3, 1, 1), Method::Winograd);
    assert_eq!(conv(64, 33, 64, 3, 2, 0), Method::Taps);
    // The phases of a window of three pixels with stride 2 have different taps.
    assert_eq!(conv(512, 5, 512, 3, 2, 0), Method::Taps);
}

#[test]
fn bounds_are_close_at_the_sizes_of_layers() {
    // Of noise, whose products cancel as those of independent pixels do.
    for (channels, side, outputs, kernel, stride, padding) in [
        (3, 32, 64, 3, 1, 1),
        (64, 16, 64, 3, 1, 1),
        (64, 33, 64, 3, 2, 0),
        (64, 32, 128, 4, 2, 1),
        (128, 8, 256, 4, 2, 1),
    ] {
        let map = MapShape { channels, height: side, width: side };
        let g = Geometry::of_conv(map, outputs, kernel, stride, padding);
        let (input, output) = (noise(g.input.len(), 1), noise(g.output.len(), 2));
        let exact = exact_norms(&g, 1, &input, &output);
        for method in methods(&g) {
            let ours = norms_by(method, isa(), &g, 1, &input, &output);
            assert_bounds(&format!("{method:?} {g:?}"), &ours, &exact, 0.02);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let g = Geometry::of_conv(MapShape { channels: 32, height: 12, width: 6 }, 48, 4, 2, 1);
    let colour = Geometry::of_conv(MapShape { channels: 3, height: 12, width: 6 }, 48, 4, 2, 1);
    let before_mean = Geometry::of_conv(MapShape { channels: 32, height: 12, width: 6 }, 48, 3, 1, 1);
    let n = 37;
    let (input, output) = (noise(n * g.input.len(), 1), noise(n * g.output.len(), 2));
    let sizes = Sizes::of(n, &g.output);
    let statistics = GroupStatistics { mean: buffer::Buffer::zeros(n), inv_std: buffer::Buffer::zeros(n) };
    let all = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut weighed = output.clone();
            weigh_examples(n, &noise(n, 3), &mut weighed);
            let norms = [
                norms_by(Method::Ghost, isa(), &g, n, &input, &output),
                norms_by(Method::Taps, isa(), &g, n, &input, &output),
                norms_by(Method::Im2col, isa(), &g, n, &input, &output),
                norms_by(Method::Winograd, isa(), &g, n, &input, &output),
                norms_by(Method::FewChannels, isa(), &colour, n, &input[..n * colour.input.len()], &output),
                conv_mean_squared_norms(isa(), &before_mean, n, &input, &output),
                linear_squared_norms(isa(), n, &input, &output),
                group_norm_squared_norms(isa(), &sizes, &weighed, &statistics, &output),
            ];
            (weighed, norms)
        })
    };
    let one = all(1);
    assert_eq!(one, all(2));
    assert_eq!(one, all(3));
}

#[test]
fn a_gradient_that_f32_sums_lose_has_a_norm_not_below_its_own() {
    for (channels, kernel, stride) in [(3, 3, 1), (16, 1, 1), (48, 3, 1), (32, 4, 2)] {
        let side = if kernel == 4 { 8 } else { 6 };
        let g = Geometry::of_conv(
            MapShape { channels, height: side, width: side },
            32,
            kernel,
            stride,
            usize::from(kernel == 4),
        );
        for (input, output) in [cancelling(&g), cancelling_halves(&g)] {
            let exact = exact_norms(&g, 1, &input, &output)[0];
            let terms = squares(&input) * squares(&output) * (kernel * kernel) as f64;
            let by_method = |isa| methods(&g).into_iter().map(move |method| (isa, method));
            for (isa, method) in Isa::available().into_iter().flat_map(by_method) {
                let norm = norms_by(method, isa, &g, 1, &input, &output)[0];
                assert!((exact..exact + 1e-4 * terms).contains(&norm), "{method:?} {isa:?} {norm} for {exact}");
            }
        }
    }
}

#[test]
fn a_mean_that_f32_sums_lose_has_a_norm_not_below_its_own() {
    let g = Geometry::of_conv(MapShape { channels: 1, height: 2, width: 2 }, 16, 1, 1, 0);
    // Rows are added first.
    let (input, mean_grad) = ([LARGE, -LARGE, 1.0, 0.0], [1.0; 16]);
    let ours = conv_mean_squared_norms(isa(), &g, 1, &input, &mean_grad)[0];
    // That of the bias is 16.
    assert!(ours >= 16.0 * (1.0 + 1.0 / 16.0), "{ours}");
}

#[test]
fn a_gradient_whose_products_underflow_has_a_norm_not_below_its_own() {
    for g in [
        Geometry::of_conv(MapShape { channels: 32, height: 6, width: 6 }, 48, 4, 2, 1),
        Geometry::of_conv(MapShape { channels: 3, height: 6, width: 6 }, 16, 3, 1, 1),
    ] {
        for sizes in [[1e10, 1e-27], [1e-27, 1e10], [1e-42, 1e15], [1e-30, 1e-12]] {
            let [input, output] = [(g.input.len(), sizes[0]), (g.output.len(), sizes[1])]
                .map(|(len, size)| noise(len, 1).into_iter().map(|value| value * size).collect::<Vec<f32>>());
            let exact = exact_norms(&g, 1, &input, &output)[0];
            for method in methods(&g) {
                let norm = norms_by(method, isa(), &g, 1, &input, &output)[0];
                assert!(norm >= exact, "{method:?} {sizes:?}: {norm} for {exact}");
            }
        }
    }
}

#[test]
fn an_example_whose_gradient_is_not_finite_counts_as_zero() {
    for (channels, outputs) in [(3, 2), (3, 16), (16, 16)] {
        let g = Geometry::of_conv(MapShape { channels, height: 4, width: 4 }, outputs, 3, 1, 1);
        for (bad, method) in [f32::NAN, f32::INFINITY, -1e38, 2e18]
            .into_iter()
            .flat_map(|bad| methods(&g).into_iter().map(move |method| (bad, method)))
        {
            let (mut input, mut output) = (noise(2 * g.input.len(), 1), noise(2 * g.output.len(), 2));
            input[g.input.len()] = bad;
            output[g.output.len() + 1] = bad;
            let norms = norms_by(method, isa(), &g, 2, &input, &output);
            assert!(norms[0].is_finite() && !norms[1].is_finite(), "{method:?} {norms:?}");
            let factors: Vec<f32> = norms.iter().map(|&norm| clipping_factor(norm, 1e30)).collect();
            assert_eq!(factors, [1.0, 0.0]);
            weigh_examples(2, &factors, &mut output);
            drop_examples(2, &factors, &mut input);
            assert!(output[g.output.len()..].iter().chain(&input[g.input.len()..]).all(|&value| value == 0.0));
            assert_eq!(
                [&input[..g.input.len()], &output[..g.output.len()]],
                [noise(g.input.len(), 1), noise(g.output.len(), 2)]
            );
        }
    }
}

#[test]
fn a_factor_never_rounds_up() {
    assert_eq!(clipping_factor(0.25, 1.0), 1.0);
    for (norm, clip) in [(3.0_f64, 1.0), (7.0, 2.0), (1e6, 1e-1), (1.1, 1.0)] {
        let factor = f64::from(clipping_factor(norm * norm, clip));
        assert!(factor * norm <= clip && factor * norm >= 0.999_999 * clip, "{factor}");
    }
    for norm in [f64::NAN, f64::INFINITY, -1.0, f64::NEG_INFINITY, 1e20] {
        assert_eq!(clipping_factor(norm, 1.0), 0.0, "{norm}");
    }
}

#[test]
fn no_examples_have_no_norms() {
    let g = Geometry::of_conv(MapShape { channels: 3, height: 4, width: 4 }, 2, 3, 1, 1);
    assert!(conv_squared_norms(isa(), &g, 0, &[], &[]).is_empty());
    assert!(conv_mean_squared_norms(isa(), &g, 0, &[], &[]).is_empty());
    assert!(linear_squared_norms(isa(), 0, &[], &[]).is_empty());
    let statistics = GroupStatistics { mean: buffer::Buffer::zeros(0), inv_std: buffer::Buffer::zeros(0) };
    assert!(group_norm_squared_norms(isa(), &Sizes::of(0, &g.output), &[], &statistics, &[]).is_empty());
    weigh_examples(0, &[], &mut []);
    drop_examples(0, &[], &mut []);
}
