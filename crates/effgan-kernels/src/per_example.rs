//! Gradients of single examples for differentially private training (Abadi et al. 2016, arXiv:1607.00133), without one
//! backward pass per example.
//!
//! A private step sums the gradients gᵢ of its examples after each is clipped to a norm C: Σ fᵢ · gᵢ with
//! fᵢ = min(1, C / |gᵢ|), |gᵢ| taken over all parameters of the network. It does not need the gᵢ themselves:
//!
//! 1. One backward pass over the batch, of the *sum* of the examples' losses, gives each layer's inputs and the
//!    gradient of its outputs. Example i has its own part of both as long as no layer mixes examples: group norm, not
//!    batch norm.
//! 2. From these, |gᵢ|² is the sum over layers of [`conv_squared_norms`], [`linear_squared_norms`],
//!    [`bias_squared_norms`] and [`group_norm_squared_norms`].
//! 3. [`weigh_examples`] multiplies each layer's gradient of the outputs by fᵢ; the kernels of an ordinary step then
//!    give Σ fᵢ · gᵢ ("book-keeping", Bu et al. 2022, arXiv:2210.00038: no second backward pass).
//!
//! An example is one pass through the network: where a step shows it real and fake images, each counts for itself.
//!
//! Noise, and what privacy it buys, is the caller's. The norms are those of f32 gradients and as exact: who needs |fᵢ ·
//! gᵢ| ≤ C to the last bit clips to a little less. A gradient that is not finite has a norm that is not finite, and no
//! factor mends it, not even 0; the caller leaves the step out.

use std::cell::RefCell;

use rayon::prelude::*;

use super::buffer;
use super::geometry::{BLOCK, Geometry, MapShape};
use super::im2col::{Matrix, cols_of, matmul, plain_of, sized};
use super::isa::{Isa, for_each_isa};
use super::lanes::Lanes;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread keeps between calls.
#[derive(Default)]
struct Scratch {
    cols: Vec<f32>,
    plain: Vec<f32>,
    /// The gradient, or both matrices of products between positions.
    products: Vec<f32>,
}

/// How the squared norm of an example's gradient is found, of cols `[P, K]` and a small map `[P, S]` (see
/// [`im2col`](super::im2col)): P = small.pixels, K = kernel² · big.channels, S = small.channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// Σ over positions p and q of `(cols_p · cols_q)(small_p · small_q)`: P² · (K + S) multiply-adds, memory 2 · P².
    ///
    /// Goodfellow 2015 (arXiv:1510.01799) for one position; Li et al. 2022 (arXiv:2110.05679) for several.
    Ghost,
    /// The gradient colsᵀ · small, squared and summed: P · K · S multiply-adds, memory K · S.
    OwnGradient,
}

impl Method {
    /// The one with fewer multiply-adds: ghost norm where P · (K + S) < K · S.
    fn cheaper(g: &Geometry) -> Self {
        let (p, s) = (g.small.pixels(), g.small.channels);
        let k = g.num_weights() / s;
        if p * (k + s) < k * s { Self::Ghost } else { Self::OwnGradient }
    }
}

/// Squared norm of each example's weight gradient of a convolution, `[n]`.
///
/// `big` is `n` maps of `g.big` and `small_grad` `n` maps of `g.small`: the layer's inputs and the gradient of its
/// outputs. For a transposed convolution `big` is the gradient of the outputs and `small_grad` the inputs: the product
/// is the same.
///
/// Takes the cheaper of two ways, after the "mixed ghost clipping" of Bu et al. 2022 (arXiv:2205.10683), who choose by
/// memory. With P = small.pixels, K = kernel² · big.channels and S = small.channels they are, in multiply-adds an
/// example,
///
/// - the ghost norm, from products between all pairs of positions: P² · (K + S);
/// - the example's own gradient, squared and dropped: P · K · S;
///
/// so that the ghost norm is for P · (K + S) < K · S: layers of many channels and few pixels.
///
/// The ghost norm adds numbers of both signs. It is off by up to about 1e-6 · |big's cols|² · |small|², which is much
/// for a gradient that all but cancels between positions, and |fᵢ · gᵢ| may pass C by as much; it is never below zero.
pub fn conv_squared_norms(g: &Geometry, n: usize, big: &[f32], small_grad: &[f32]) -> Vec<f64> {
    squared_norms_by(Method::cheaper(g), Isa::in_use(), g, n, big, small_grad)
}

fn squared_norms_by(method: Method, isa: Isa, g: &Geometry, n: usize, big: &[f32], small: &[f32]) -> Vec<f64> {
    assert_eq!(big.len(), n * g.big.len(), "{n} maps of {:?}", g.big);
    assert_eq!(small.len(), n * g.small.len(), "{n} maps of {:?}", g.small);
    let norm = |(big, small)| {
        SCRATCH.with_borrow_mut(|Scratch { cols, plain, products }| {
            let (cols, small) = (cols_of(g, big, cols), plain_of(&g.small, small, plain));
            match method {
                Method::Ghost => ghost_norm(isa, cols, small, products),
                Method::OwnGradient => own_gradient_norm(isa, cols, small, products),
            }
        })
    };
    collected(big.par_chunks_exact(g.big.len()).zip(small.par_chunks_exact(g.small.len())).map(norm))
}

fn ghost_norm(isa: Isa, cols: Matrix, small: Matrix, products: &mut Vec<f32>) -> f64 {
    let pairs = cols.rows() * cols.rows();
    let (of_cols, of_small) = sized(products, 2 * pairs).split_at_mut(pairs);
    matmul(cols, cols.transposed(), of_cols, false);
    matmul(small, small.transposed(), of_small, false);
    let norm = dot(isa, of_cols, of_small);
    // Not `max`, which turns NaN into 0: an example without a norm would pass for one that needs no clipping.
    if norm < 0.0 { 0.0 } else { norm }
}

fn own_gradient_norm(isa: Isa, cols: Matrix, small: Matrix, products: &mut Vec<f32>) -> f64 {
    let grad = sized(products, cols.columns() * small.columns());
    matmul(cols.transposed(), small, grad, false);
    dot(isa, grad, grad)
}

/// Squared norm of each example's weight gradient of a linear layer, `[n]`: |x|² · |dy|² (Goodfellow 2015,
/// arXiv:1510.01799).
///
/// `inputs` is `[n, in]` and `output_grad` `[n, out]`. The bias is apart: [`bias_squared_norms`] of a map of one pixel.
pub fn linear_squared_norms(n: usize, inputs: &[f32], output_grad: &[f32]) -> Vec<f64> {
    let isa = Isa::in_use();
    let norm = |(input, grad)| dot(isa, input, input) * dot(isa, grad, grad);
    collected(examples(n, inputs).zip(examples(n, output_grad)).map(norm))
}

/// Squared norm of each example's bias gradient, `[n]`: the sum over pixels, a channel.
///
/// `grad` is the gradient of the outputs, `n` maps of `map`.
pub fn bias_squared_norms(n: usize, map: &MapShape, grad: &[f32]) -> Vec<f64> {
    assert_eq!(grad.len(), n * map.len(), "{n} maps of {map:?}");
    let isa = Isa::in_use();
    collected(examples(n, grad).map(|grad| squared_channel_sums(isa, map, grad, None)))
}

/// Squared norm of each example's gradient of γ and β of a group norm together, `[n]`.
///
/// The layer's output is γ · x̂ + β with a γ and a β a channel: γ's gradient is the sum over pixels of grad · x̂, β's
/// that of grad. `normalised` is x̂ and `grad` the gradient of the outputs, both `n` maps of `map`.
pub fn group_norm_squared_norms(n: usize, map: &MapShape, normalised: &[f32], grad: &[f32]) -> Vec<f64> {
    assert_eq!(normalised.len(), n * map.len(), "{n} maps of {map:?}");
    assert_eq!(grad.len(), n * map.len(), "{n} maps of {map:?}");
    let isa = Isa::in_use();
    let norm = |(grad, normalised)| {
        squared_channel_sums(isa, map, grad, Some(normalised)) + squared_channel_sums(isa, map, grad, None)
    };
    collected(examples(n, grad).zip(examples(n, normalised)).map(norm))
}

/// Multiplies each example's part of `grad`, the gradient of a layer's outputs, by its factor.
///
/// The gradient of parameters is linear in that of the outputs, so any kernel for it then gives the sum of the
/// examples' gradients times their factors: weights, biases, γ and β alike. `grad` is `n` parts of one length,
/// `factors` `[n]`.
pub fn weigh_examples(n: usize, factors: &[f32], grad: &mut [f32]) {
    assert_eq!(factors.len(), n, "one factor an example");
    let len = example_len(n, grad);
    grad.par_chunks_exact_mut(len).zip(factors).for_each(|(grad, &factor)| {
        for value in grad {
            *value *= factor;
        }
    });
}

/// The norms in memory of the thread, which whoever has them may [give back](buffer::give_back).
fn collected(norms: impl IndexedParallelIterator<Item = f64>) -> Vec<f64> {
    let mut collected = buffer::take(norms.len());
    norms.collect_into_vec(&mut collected);
    collected
}

/// The `n` equal parts of `values`.
fn examples(n: usize, values: &[f32]) -> rayon::slice::ChunksExact<'_, f32> {
    values.par_chunks_exact(example_len(n, values))
}

/// Length of each of `n` equal parts; 1, of which there are none, where n is 0.
fn example_len(n: usize, values: &[f32]) -> usize {
    let len = values.len() / n.max(1);
    assert_eq!(values.len(), n * len, "{n} examples of one length");
    len.max(1)
}

for_each_isa! {
    /// Σ a · b in f64, the same bits with all instructions: products of f32 are exact there, and the sums have one
    /// order.
    fn dot = dot_body(a: &[f32], b: &[f32]) -> f64;
}

/// Unsafe only because [`for_each_isa`] calls it so.
#[inline(always)]
unsafe fn dot_body<L: Lanes>(a: &[f32], b: &[f32]) -> f64 {
    let (a_lines, a_rest) = a.as_chunks::<BLOCK>();
    let (b_lines, b_rest) = b.as_chunks::<BLOCK>();
    let mut sums = [0.0; BLOCK];
    for (a, b) in a_lines.iter().zip(b_lines) {
        add_products(&mut sums, a, b);
    }
    add_products(&mut sums, a_rest, b_rest);
    sums.iter().sum()
}

for_each_isa! {
    /// Σ over channels of (Σ over pixels of grad · factor)², factor 1 where there is none, of one example's map.
    fn squared_channel_sums = squared_channel_sums_body(map: &MapShape, grad: &[f32], factor: Option<&[f32]>) -> f64;
}

/// Unsafe only because [`for_each_isa`] calls it so.
#[inline(always)]
unsafe fn squared_channel_sums_body<L: Lanes>(map: &MapShape, grad: &[f32], factor: Option<&[f32]>) -> f64 {
    let block = map.block();
    let len = map.pixels() * block;
    let mut total = 0.0;
    for (i, grad) in grad.chunks_exact(len).enumerate() {
        let factor = factor.map(|factor| &factor[i * len..][..len]);
        for first in (0..block).step_by(BLOCK) {
            let width = BLOCK.min(block - first);
            // The width of a full block is a constant to the compiler, which then keeps the sums in registers.
            let sums = if block == BLOCK {
                channel_sums(grad, factor, BLOCK, 0, BLOCK)
            } else {
                channel_sums(grad, factor, block, first, width)
            };
            for sum in sums {
                total += sum * sum;
            }
        }
    }
    total
}

/// Sums over pixels of `width` channels from `first` on, of a block of `block` channels; the rest stay zero.
#[inline(always)]
fn channel_sums(grad: &[f32], factor: Option<&[f32]>, block: usize, first: usize, width: usize) -> [f64; BLOCK] {
    let mut sums = [0.0; BLOCK];
    match factor {
        Some(factor) => {
            for (grad, factor) in grad.chunks_exact(block).zip(factor.chunks_exact(block)) {
                add_products(&mut sums, &grad[first..first + width], &factor[first..first + width]);
            }
        }
        None => {
            for grad in grad.chunks_exact(block) {
                add_values(&mut sums, &grad[first..first + width]);
            }
        }
    }
    sums
}

#[inline(always)]
fn add_products(sums: &mut [f64; BLOCK], a: &[f32], b: &[f32]) {
    for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
        *sum += f64::from(a) * f64::from(b);
    }
}

#[inline(always)]
fn add_values(sums: &mut [f64; BLOCK], values: &[f32]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += f64::from(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::im2col::weight_grad;
    use super::super::reference::{self, assert_close, noise};
    use super::*;

    /// f32 products of up to 5 · 5 · 20 terms, whose squares are compared with the largest of them.
    const TOLERANCE: f64 = 1e-5;

    fn assert_close_f64(what: &str, ours: &[f64], exact: &[f64], tolerance: f64) {
        let ours: Vec<f32> = ours.iter().map(|&value| value as f32).collect();
        assert_close(what, &ours, exact, tolerance);
    }

    fn squared_norm(values: &[f64]) -> f64 {
        values.iter().map(|value| value * value).sum()
    }

    /// The squared norm of each example's gradient, by the plain loops of each example alone.
    fn exact_norms(g: &Geometry, n: usize, big: &[f32], small: &[f32]) -> Vec<f64> {
        let one = |i: usize| {
            let (big, small) = (&big[i * g.big.len()..][..g.big.len()], &small[i * g.small.len()..][..g.small.len()]);
            squared_norm(&reference::weight_grad(g, 1, big, small))
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

    /// Sums over pixels by the map's own index: `value(i)` for each place i of one example's map, `[channels]`.
    fn sums_by_index(map: &MapShape, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let sum = |c| (0..map.pixels()).map(|p| value(map.index(c, p / map.width, p % map.width))).sum();
        (0..map.channels).map(sum).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn both_ways_give_the_norms_of_single_gradients(g in geometries(), n in 1..=5_usize) {
            let (big, small) = (noise(n * g.big.len(), 1), noise(n * g.small.len(), 2));
            let exact = exact_norms(&g, n, &big, &small);
            for isa in Isa::available() {
                for method in [Method::Ghost, Method::OwnGradient] {
                    let ours = squared_norms_by(method, isa, &g, n, &big, &small);
                    assert_close_f64(&format!("{method:?} {isa:?}"), &ours, &exact, TOLERANCE);
                }
            }
            assert_close_f64("the cheaper", &conv_squared_norms(&g, n, &big, &small), &exact, TOLERANCE);
        }

        #[test]
        fn norms_of_biases_and_group_norm_are_those_of_single_gradients(map in maps(), n in 1..=5_usize) {
            let (grad, normalised) = (noise(n * map.len(), 1), noise(n * map.len(), 2));
            let at = |values: &[f32], i: usize, j: usize| f64::from(values[i * map.len() + j]);
            let beta = |i| squared_norm(&sums_by_index(&map, |j| at(&grad, i, j)));
            let gamma = |i| squared_norm(&sums_by_index(&map, |j| at(&grad, i, j) * at(&normalised, i, j)));
            let exact: Vec<f64> = (0..n).map(beta).collect();
            // Only the rounding to f32 of the comparison; the sums are in f64.
            assert_close_f64("bias", &bias_squared_norms(n, &map, &grad), &exact, 1e-7);
            let exact: Vec<f64> = (0..n).map(|i| beta(i) + gamma(i)).collect();
            assert_close_f64("group norm", &group_norm_squared_norms(n, &map, &normalised, &grad), &exact, 1e-7);
        }

        #[test]
        fn all_instructions_give_the_same_sums(map in maps()) {
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
            let (big, mut small) = (noise(n * g.big.len(), 1), noise(n * g.small.len(), 2));
            let norms = conv_squared_norms(&g, n, &big, &small);
            let clip = norms[0].sqrt();
            let factors: Vec<f32> = norms.iter().map(|norm| (clip / norm.sqrt()).min(1.0) as f32).collect();
            let exact = clipped_sum_of_single_gradients(&g, clip, &big, &small);
            weigh_examples(n, &factors, &mut small);
            let mut grad = noise(g.num_weights(), 3);
            weight_grad(&g, n, &big, &small, &mut grad);
            assert_close("clipped sum", &grad, &exact, TOLERANCE);
        }
    }

    fn clipped_sum_of_single_gradients(g: &Geometry, clip: f64, big: &[f32], small: &[f32]) -> Vec<f64> {
        let mut sum = vec![0.0; g.num_weights()];
        for (big, small) in big.chunks_exact(g.big.len()).zip(small.chunks_exact(g.small.len())) {
            let mut grad = noise(g.num_weights(), 4);
            weight_grad(g, 1, big, small, &mut grad);
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
        let norms = linear_squared_norms(n, &x, &grad);
        assert_close_f64("linear", &norms, &exact_norms(&g, n, &x, &grad), TOLERANCE);
        assert_close_f64("convolution", &norms, &conv_squared_norms(&g, n, &x, &grad), TOLERANCE);
    }

    #[test]
    fn many_channels_take_the_ghost_norm_and_many_pixels_the_gradient() {
        let conv =
            |channels, side, small| Geometry::of_conv(MapShape { channels, height: side, width: side }, small, 4, 2, 1);
        assert_eq!(Method::cheaper(&conv(64, 28, 64)), Method::OwnGradient); // 196 · 1088 ≥ 1024 · 64
        assert_eq!(Method::cheaper(&conv(256, 8, 512)), Method::Ghost); // 16 · 4608 < 4096 · 512
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let g = Geometry::of_conv(MapShape { channels: 32, height: 9, width: 7 }, 48, 4, 2, 1);
        let n = 37;
        let (big, small) = (noise(n * g.big.len(), 1), noise(n * g.small.len(), 2));
        let all = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut weighed = small.clone();
                weigh_examples(n, &noise(n, 3), &mut weighed);
                let norms = [
                    squared_norms_by(Method::Ghost, Isa::in_use(), &g, n, &big, &small),
                    squared_norms_by(Method::OwnGradient, Isa::in_use(), &g, n, &big, &small),
                    linear_squared_norms(n, &big, &small),
                    bias_squared_norms(n, &g.small, &small),
                    group_norm_squared_norms(n, &g.small, &weighed, &small),
                ];
                (weighed, norms)
            })
        };
        let one = all(1);
        assert_eq!(one, all(2));
        assert_eq!(one, all(3));
    }

    #[test]
    fn a_gradient_that_cancels_between_positions_has_a_small_norm_not_below_zero() {
        let g = Geometry::of_conv(MapShape { channels: 40, height: 6, width: 6 }, 16, 3, 1, 0);
        let big = vec![0.3; g.big.len()];
        let half = noise(g.small.len() / 2, 1);
        let small: Vec<f32> = half.iter().copied().chain(half.iter().map(|value| -value)).collect();
        let isa = Isa::in_use();
        let cols_squared = 0.09 * (g.small.pixels() * 9 * g.big.channels) as f64;
        for method in [Method::Ghost, Method::OwnGradient] {
            let norm = squared_norms_by(method, isa, &g, 1, &big, &small)[0];
            assert!((0.0..1e-6 * cols_squared * dot(isa, &small, &small)).contains(&norm), "{method:?} {norm}");
        }
    }

    #[test]
    fn a_gradient_that_is_no_number_has_no_norm() {
        let g = Geometry::of_conv(MapShape { channels: 3, height: 4, width: 4 }, 2, 3, 1, 1);
        let (big, mut small) = (noise(2 * g.big.len(), 1), noise(2 * g.small.len(), 2));
        small[g.small.len()] = f32::NAN;
        for method in [Method::Ghost, Method::OwnGradient] {
            let norms = squared_norms_by(method, Isa::in_use(), &g, 2, &big, &small);
            assert!(norms[0].is_finite() && norms[1].is_nan(), "{method:?} {norms:?}");
        }
    }

    #[test]
    fn no_examples_have_no_norms() {
        let g = Geometry::of_conv(MapShape { channels: 3, height: 4, width: 4 }, 2, 3, 1, 1);
        assert!(conv_squared_norms(&g, 0, &[], &[]).is_empty());
        assert!(linear_squared_norms(0, &[], &[]).is_empty());
        assert!(group_norm_squared_norms(0, &g.small, &[], &[]).is_empty());
        weigh_examples(0, &[], &mut []);
    }
}
