//! Norms of the gradients of single examples, for differentially private training (Abadi et al. 2016,
//! arXiv:1607.00133), without one backward pass per example.
//!
//! A private step clips the gradient gᵢ of each example to a norm C and sums them: Σ fᵢ · gᵢ with fᵢ = min(1, C /
//! |gᵢ|), where |gᵢ| is the norm over all parameters of the network. It does not need the gᵢ themselves:
//!
//! 1. One backward pass of the *sum* of the examples' losses gives each layer's inputs and the gradient of its outputs.
//!    Each example has its own part of both as long as no layer mixes examples: group norm does not, batch norm does.
//! 2. From these, |gᵢ|² is the sum over layers of [`conv_squared_norms`], [`linear_squared_norms`],
//!    [`bias_squared_norms`] and [`group_norm_squared_norms`].
//! 3. [`weigh_examples`] multiplies each layer's gradient of the outputs by fᵢ; the kernels of an ordinary step then
//!    give Σ fᵢ · gᵢ ("book-keeping", Bu et al. 2022, arXiv:2210.00038: no second backward pass).
//!
//! An example is one image that passes through the network; a real and a generated image are two examples.
//!
//! Adding noise and accounting for privacy is up to the caller. The norms are as accurate as f32 gradients: where
//! |fᵢ · gᵢ| ≤ C must hold exactly, clip to slightly less than C. A gradient that is not finite has a norm that is not finite, and no
//! factor makes it finite, not even 0: the caller must skip the step.

use std::cell::RefCell;

use rayon::prelude::*;

use super::buffer;
use super::geometry::{BLOCK, Geometry, MapShape};
use super::im2col::{cols_of, plain_of, sized};
use super::isa::{Isa, for_each_isa};
use super::lanes::Lanes;
use super::matrix::{Matrix, matmul};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Memory that a thread keeps between calls.
#[derive(Default)]
struct Scratch {
    cols: Vec<f32>,
    plain: Vec<f32>,
    /// The gradient, or both matrices of products between pixels.
    products: Vec<f32>,
}

/// How to compute the squared norm of an example's gradient from its cols `[P, K]` and its output map `[P, S]` (see
/// [`im2col`](super::im2col)): P = output.pixels, K = kernel² · input.channels, S = output.channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// Σ over pixels p and q of `(cols_p · cols_q)(output_p · output_q)`: P² · (K + S) multiply-adds, memory 2 · P².
    ///
    /// Goodfellow 2015 (arXiv:1510.01799) for one pixel; Li et al. 2022 (arXiv:2110.05679) for several.
    Ghost,
    /// The gradient colsᵀ · output, squared and summed: P · K · S multiply-adds, memory K · S.
    OwnGradient,
}

impl Method {
    /// The method with fewer multiply-adds: the ghost norm where P · (K + S) < K · S.
    fn cheaper(g: &Geometry) -> Self {
        let (p, s) = (g.output.pixels(), g.output.channels);
        let k = g.num_weights() / s;
        if p * (k + s) < k * s { Self::Ghost } else { Self::OwnGradient }
    }
}

/// Squared norm of each example's weight gradient of a convolution, `[n]`.
///
/// `input` is `n` maps of `g.input`, the layer's input, and `output_grad` is `n` maps of `g.output`, the gradient of its
/// output. For a transposed convolution it is the other way round: `input` is the gradient, and `output_grad` the
/// layer's input. The product is the same.
///
/// Uses the cheaper of two methods, after the "mixed ghost clipping" of Bu et al. 2022 (arXiv:2205.10683), who choose
/// by memory. With P = output.pixels, K = kernel² · input.channels and S = output.channels, their multiply-adds per
/// example are
///
/// - ghost norm, from products between all pairs of pixels: P² · (K + S);
/// - the norm of the example's own gradient, which is then dropped: P · K · S.
///
/// The ghost norm is cheaper where P · (K + S) < K · S, in layers of many channels and few pixels.
///
/// The ghost norm adds numbers of both signs. Its error is up to about 1e-6 · |cols of the input|² · |output|², which
/// is large relative to a gradient that almost cancels between pixels; |fᵢ · gᵢ| may exceed C by as much. The result is
/// never negative.
pub fn conv_squared_norms(isa: Isa, g: &Geometry, n: usize, input: &[f32], output_grad: &[f32]) -> Vec<f64> {
    squared_norms_by(Method::cheaper(g), isa, g, n, input, output_grad)
}

fn squared_norms_by(method: Method, isa: Isa, g: &Geometry, n: usize, input: &[f32], output: &[f32]) -> Vec<f64> {
    assert_eq!(input.len(), n * g.input.len(), "{n} maps of {:?}", g.input);
    assert_eq!(output.len(), n * g.output.len(), "{n} maps of {:?}", g.output);
    let norm = |(input, output)| {
        SCRATCH.with_borrow_mut(|Scratch { cols, plain, products }| {
            let (cols, output) = (cols_of(g, input, cols), plain_of(&g.output, output, plain));
            match method {
                Method::Ghost => ghost_norm(isa, cols, output, products),
                Method::OwnGradient => own_gradient_norm(isa, cols, output, products),
            }
        })
    };
    collected(input.par_chunks_exact(g.input.len()).zip(output.par_chunks_exact(g.output.len())).map(norm))
}

fn ghost_norm(isa: Isa, cols: Matrix, output: Matrix, products: &mut Vec<f32>) -> f64 {
    let pairs = cols.rows() * cols.rows();
    let (of_cols, of_output) = sized(products, 2 * pairs).split_at_mut(pairs);
    matmul(cols, cols.transposed(), of_cols, false);
    matmul(output, output.transposed(), of_output, false);
    let norm = dot(isa, of_cols, of_output);
    // Not `max`, which would turn NaN into 0: an example whose norm is NaN would count as one that needs no clipping.
    if norm < 0.0 { 0.0 } else { norm }
}

fn own_gradient_norm(isa: Isa, cols: Matrix, output: Matrix, products: &mut Vec<f32>) -> f64 {
    let grad = sized(products, cols.columns() * output.columns());
    matmul(cols.transposed(), output, grad, false);
    dot(isa, grad, grad)
}

/// Squared norm of each example's weight gradient of a linear layer, `[n]`: |x|² · |dy|² (Goodfellow 2015,
/// arXiv:1510.01799).
///
/// `inputs` is `[n, in]` and `output_grad` `[n, out]`. For the bias, call [`bias_squared_norms`] with a map of one
/// pixel.
pub fn linear_squared_norms(isa: Isa, n: usize, inputs: &[f32], output_grad: &[f32]) -> Vec<f64> {
    let norm = |(input, grad)| dot(isa, input, input) * dot(isa, grad, grad);
    collected(examples(n, inputs).zip(examples(n, output_grad)).map(norm))
}

/// Squared norm of each example's bias gradient, which is the sum over pixels per channel: `[n]`.
///
/// `grad` is the gradient of the outputs, `n` maps of `map`.
pub fn bias_squared_norms(isa: Isa, n: usize, map: &MapShape, grad: &[f32]) -> Vec<f64> {
    assert_eq!(grad.len(), n * map.len(), "{n} maps of {map:?}");
    collected(examples(n, grad).map(|grad| squared_channel_sums(isa, map, grad, None)))
}

/// Squared norm of each example's gradient of γ and β of a group norm together, `[n]`.
///
/// The layer's output is γ · x̂ + β with γ and β per channel: the gradient of γ is the sum over pixels of grad · x̂,
/// that of β the sum of grad. `normalised` is x̂ and `grad` the gradient of the outputs, both `n` maps of `map`.
pub fn group_norm_squared_norms(isa: Isa, n: usize, map: &MapShape, normalised: &[f32], grad: &[f32]) -> Vec<f64> {
    assert_eq!(normalised.len(), n * map.len(), "{n} maps of {map:?}");
    assert_eq!(grad.len(), n * map.len(), "{n} maps of {map:?}");
    let norm = |(grad, normalised)| {
        squared_channel_sums(isa, map, grad, Some(normalised)) + squared_channel_sums(isa, map, grad, None)
    };
    collected(examples(n, grad).zip(examples(n, normalised)).map(norm))
}

/// Multiplies each example's part of `grad`, the gradient of a layer's outputs, by its factor.
///
/// The gradient of the parameters is linear in the gradient of the outputs: any kernel, for weights, biases, γ or β,
/// then computes the sum of the examples' gradients times their factors. `grad` has `n` parts of equal length,
/// `factors` is `[n]`.
pub fn weigh_examples(n: usize, factors: &[f32], grad: &mut [f32]) {
    assert_eq!(factors.len(), n, "one factor per example");
    let len = example_len(n, grad);
    grad.par_chunks_exact_mut(len).zip(factors).for_each(|(grad, &factor)| {
        for value in grad {
            *value *= factor;
        }
    });
}

/// Collects the norms into reused memory, which the caller may [give back](buffer::give_back).
fn collected(norms: impl IndexedParallelIterator<Item = f64>) -> Vec<f64> {
    let mut collected = buffer::take(norms.len());
    norms.collect_into_vec(&mut collected);
    collected
}

/// The `n` equal parts of `values`.
fn examples(n: usize, values: &[f32]) -> rayon::slice::ChunksExact<'_, f32> {
    values.par_chunks_exact(example_len(n, values))
}

/// Length of each of `n` equal parts; 1 where n is 0, since chunks of length 0 panic.
fn example_len(n: usize, values: &[f32]) -> usize {
    let len = values.len() / n.max(1);
    assert_eq!(values.len(), n * len, "{n} examples of one length");
    len.max(1)
}

for_each_isa! {
    /// Σ a · b in f64. The bits are the same for all instruction sets: products of f32 are exact in f64, and the sums
    /// have a fixed order.
    fn dot = dot_body(a: &[f32], b: &[f32]) -> f64;
}

/// Unsafe only because [`for_each_isa`] requires it.
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

/// Unsafe only because [`for_each_isa`] requires it.
#[inline(always)]
unsafe fn squared_channel_sums_body<L: Lanes>(map: &MapShape, grad: &[f32], factor: Option<&[f32]>) -> f64 {
    let block = map.block();
    let len = map.pixels() * block;
    let mut total = 0.0;
    for (i, grad) in grad.chunks_exact(len).enumerate() {
        let factor = factor.map(|factor| &factor[i * len..][..len]);
        for first in (0..block).step_by(BLOCK) {
            let width = BLOCK.min(block - first);
            // With a width that is known at compile time, the compiler keeps the sums in registers.
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

/// Sums over pixels of `width` channels from `first` on, in a block of `block` channels; the other sums are zero.
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
mod tests;
