//! What the kernels are held to: plain loops in f64, and random numbers for the tests.

use super::geometry::Geometry;

/// Visits each (small value, big value, weight) that a convolution multiplies, as indices into one image's maps and the
/// weights.
fn each_product(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    for sy in 0..g.small.height {
        for sx in 0..g.small.width {
            for tap in 0..g.kernel * g.kernel {
                let (y, x) = (sy * g.stride + tap / g.kernel, sx * g.stride + tap % g.kernel);
                if y < g.padding || x < g.padding || y >= g.big.height + g.padding || x >= g.big.width + g.padding {
                    continue;
                }
                for b in 0..g.big.channels {
                    let big = g.big.index(b, y - g.padding, x - g.padding);
                    for s in 0..g.small.channels {
                        let weight = (tap * g.big.channels + b) * g.small.channels + s;
                        visit(g.small.index(s, sy, sx), big, weight);
                    }
                }
            }
        }
    }
}

/// Convolution without bias.
pub(crate) fn down(g: &Geometry, n: usize, big: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut small = vec![0.0; n * g.small.len()];
    for i in 0..n {
        let (big, small) = (&big[i * g.big.len()..], &mut small[i * g.small.len()..]);
        each_product(g, |s, b, w| small[s] += f64::from(big[b]) * f64::from(weights[w]));
    }
    small
}

/// Transposed convolution without bias.
pub(crate) fn up(g: &Geometry, n: usize, small: &[f32], weights: &[f32]) -> Vec<f64> {
    let mut big = vec![0.0; n * g.big.len()];
    for i in 0..n {
        let (small, big) = (&small[i * g.small.len()..], &mut big[i * g.big.len()..]);
        each_product(g, |s, b, w| big[b] += f64::from(small[s]) * f64::from(weights[w]));
    }
    big
}

/// Gradient of the weights.
pub(crate) fn weight_grad(g: &Geometry, n: usize, big: &[f32], small: &[f32]) -> Vec<f64> {
    let mut grad = vec![0.0; g.num_weights()];
    for i in 0..n {
        let (big, small) = (&big[i * g.big.len()..], &small[i * g.small.len()..]);
        each_product(g, |s, b, w| grad[w] += f64::from(small[s]) * f64::from(big[b]));
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
