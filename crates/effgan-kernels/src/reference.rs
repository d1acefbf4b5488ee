//! What the kernels are held to: plain loops in f64, and random numbers for the tests.

use super::geometry::Geometry;

/// Visits each (output value, input value, weight) that a convolution multiplies, as indices into one image's maps and the
/// weights.
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

/// `n` numbers, normal, for the tests.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f32> {
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    StandardNormal.sample_iter(rand_chacha::ChaCha8Rng::seed_from_u64(seed)).take(n).collect()
}

/// Panics when `ours` is farther from `exact` than `tolerance` times the largest exact value, at any place.
pub(crate) fn assert_close(what: &str, ours: &[f32], exact: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    let bound = tolerance * exact.iter().fold(f64::MIN_POSITIVE, |most, value| most.max(value.abs()));
    for (i, (&ours, &exact)) in ours.iter().zip(exact).enumerate() {
        let off = (f64::from(ours) - exact).abs();
        assert!(off <= bound, "{what}[{i}] is {ours}, off {exact} by {off}, more than {bound}");
    }
}
