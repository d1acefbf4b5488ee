//! Naive loops in f64 that tests compare the kernels with, comparisons within a tolerance, and random numbers.

use super::geometry::Geometry;

/// Calls `visit` for each multiply-add of a convolution, with the indices of its output value, its input value and its
/// weight.
fn each_product(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    for sy in 0..g.output.height {
        for sx in 0..g.output.width {
            for tap in 0..g.kernel * g.kernel {
                let (y, x) = (sy * g.stride + tap / g.kernel, sx * g.stride + tap % g.kernel);
                if y < g.padding || x < g.padding || y >= g.input.height + g.padding || x >= g.input.width + g.padding {
                    continue;
                }
                for b in 0..g.input.channels {
                    let input = g.input.index(b, y - g.padding, x - g.padding);
                    for s in 0..g.output.channels {
                        let weight = (tap * g.input.channels + b) * g.output.channels + s;
                        visit(g.output.index(s, sy, sx), input, weight);
                    }
                }
            }
        }
    }
}

/// Convolution without bias.
pub(crate) fn conv(g: &Geometry, n: usize, input: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut output = vec![0.0; n * g.output.len()];
    for i in 0..n {
        let (input, output) = (&input[i * g.input.len()..], &mut output[i * g.output.len()..]);
        each_product(g, |s, b, w| output[s] += f64::from(input[b]) * f64::from(weights[w]));
    }
    output
}

/// Transposed convolution without bias.
pub(crate) fn conv_transpose(g: &Geometry, n: usize, output: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut input = vec![0.0; n * g.input.len()];
    for i in 0..n {
        let (output, input) = (&output[i * g.output.len()..], &mut input[i * g.input.len()..]);
        each_product(g, |s, b, w| input[b] += f64::from(output[s]) * f64::from(weights[w]));
    }
    input
}

/// Gradient of the weights.
pub(crate) fn weight_grad(g: &Geometry, n: usize, input: &[f32], output: &[f32]) -> Vec<f64> {
    let mut grad = vec![0.0; g.num_weights()];
    for i in 0..n {
        let (input, output) = (&input[i * g.input.len()..], &output[i * g.output.len()..]);
        each_product(g, |s, b, w| grad[w] += f64::from(output[s]) * f64::from(input[b]));
    }
    grad
}

/// `n` standard normal numbers.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f32> {
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    StandardNormal.sample_iter(rand_chacha::ChaCha8Rng::seed_from_u64(seed)).take(n).collect()
}

/// Panics when a value of `ours` differs from that of `exact` by more than `tolerance` times the largest exact value.
pub(crate) fn assert_close(what: &str, ours: &[f32], exact: &[f64], tolerance: f64) {
    assert_close_at(f64::MIN_POSITIVE, what, ours, exact, tolerance);
}

/// As [`assert_close`], for sums of products of standard normal numbers. Where all of them are small because their
/// terms cancel, their error is still that of terms of about 1.
pub(crate) fn assert_close_sums(what: &str, ours: &[f32], exact: &[f64], tolerance: f64) {
    assert_close_at(1.0, what, ours, exact, tolerance);
}

fn assert_close_at(least: f64, what: &str, ours: &[f32], exact: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    let bound = tolerance * exact.iter().fold(least, |largest, value| largest.max(value.abs()));
    for (i, (&ours, &exact)) in ours.iter().zip(exact).enumerate() {
        let off = (f64::from(ours) - exact).abs();
        assert!(off <= bound, "{what}[{i}] is {ours}, off {exact} by {off}, more than {bound}");
    }
}
