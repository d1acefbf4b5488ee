//! Norms of the gradients of single examples, for differentially private training (Abadi et al. 2016,
//! arXiv:1607.00133), without one backward pass per example.
//!
//! A private step clips the gradient gᵢ of each example to a norm C and sums them: Σ fᵢ · gᵢ with fᵢ = min(1, C /
//! |gᵢ|), where |gᵢ| is the norm over all parameters of the network. It does not need the gᵢ themselves:
//!
//! 1. One backward pass of the *sum* of the examples' losses gives each layer's inputs and the gradient of its outputs.
//!    Each example has its own part of both as long as no layer mixes examples: group norm does not, batch norm does.
//! 2. From these, |gᵢ|² is the sum over layers of [`conv_squared_norms`], [`conv_mean_squared_norms`],
//!    [`linear_squared_norms`] and [`group_norm_squared_norms`].
//! 3. [`clipping_factor`] makes it fᵢ, and [`weigh_examples`] multiplies each layer's gradient of the outputs by fᵢ;
//!    the kernels of an ordinary step then give Σ fᵢ · gᵢ ("book-keeping", Bu et al. 2022, arXiv:2210.00038: no second
//!    backward pass).
//!
//! An example is one image that passes through the network; a real and a generated image are two examples. Where a
//! layer has spectral norm, its gradient is that of the normalised weight, on which the weight that is trained depends
//! without the examples.
//!
//! # The bound holds for any parameters
//! Whoever chooses the parameters of a network can make its gradients cancel, overflow or underflow. What is returned
//! is therefore not below the exact norm: the largest possible error of all f32 sums is added to them, and that of the
//! multiplication by fᵢ. It is relative to the norms of what is summed: about 1e-3 of a typical gradient, and most of
//! one that nearly cancels. An example whose gradient is not finite, or might overflow on the way to a sum, has a norm
//! that is not finite and the factor 0. It then counts as zero, once [`weigh_examples`] has been applied to its
//! gradients of outputs and [`drop_examples`] to its inputs.
//!
//! Adding noise and accounting for privacy is up to the caller.

mod box_mean;
mod ghost;
mod grid;
mod own_gradient;
mod sums;
mod winograd;

use rayon::prelude::*;

use super::buffer::{self, Scratch};
use super::cost::Cost;
use super::few_channels;
use super::geometry::{BLOCK, Geometry, MapShape};
use super::isa::Isa;
use super::norm::{GroupStatistics, Sizes};
use super::parallel_for::{Shared, parallel_for};
use super::precision::Precision;
use grid::Grid;
use sums::{of_bias, of_group_norm, size};
use winograd::Winograd;

/// Largest relative error of an f32 operation, 2⁻²⁴.
const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;
/// Largest error of an f32 operation that underflows (2⁻¹⁵⁰), and more.
const UNDERFLOW: f64 = 1.0 / ((1_u128 << 120) as f64 * (1_u128 << 24) as f64);
/// Norm of an example's input, or of its gradient of the outputs, above which a transform of it might overflow (2⁶⁰).
const LARGEST: f64 = (1_u64 << 60) as f64;
/// The smallest [`clipping_factor`] but 0 (2⁻²⁶): with smaller ones, more would underflow than the bounds of norms
/// cover.
const LEAST_FACTOR: f64 = 1.0 / (1 << 26) as f64;

/// How to compute the squared norm of an example's gradient of the weights of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// The gradient itself, from an image of few channels.
    FewChannels,
    /// From the products between all pairs of pixels: see [`ghost`].
    Ghost,
    /// The gradient itself, tap by tap: see [`own_gradient::by_taps`].
    Taps,
    /// The gradient itself, in Winograd's form.
    Winograd,
    /// The gradient itself, by im2col: any shape.
    Im2col,
}

impl Method {
    /// The method of least estimated cost, a function of the shapes and the instructions alone.
    fn of(isa: Isa, g: &Geometry) -> Self {
        if few_channels::fits(g) {
            return Self::FewChannels;
        }
        if !(g.input.channels.is_multiple_of(BLOCK) && g.output.channels.is_multiple_of(BLOCK)) {
            return Self::Im2col;
        }
        let (cost, grid) = (Cost::new(isa, Precision::F32), Grid::new(g));
        let methods = [
            Some((own_gradient::cost(cost, &grid), Self::Taps)),
            ghost::cost(cost, &grid).map(|cost| (cost, Self::Ghost)),
            Winograd::of(g).map(|winograd| (winograd.cost(cost), Self::Winograd)),
        ];
        let cheapest = methods.into_iter().flatten().min_by(|(a, _), (b, _)| a.total_cmp(b));
        cheapest.expect("taps are always there").1
    }
}

/// Squared norm of each example's gradient of the weights and the bias of a convolution together, `[n]`, rounded up.
///
/// `input` is `n` maps of `g.input`, the layer's input, and `output_grad` is `n` maps of `g.output`, the gradient of
/// its output.
///
/// Uses the cheapest of several methods, after the "mixed ghost clipping" of Bu et al. 2022 (arXiv:2205.10683), who
/// choose by memory: the ghost norm, from products between all pairs of pixels, in layers of many channels and few
/// pixels, and elsewhere the norm of the example's own gradient, by taps or in Winograd's form, which is then dropped.
pub fn conv_squared_norms(isa: Isa, g: &Geometry, n: usize, input: &[f32], output_grad: &[f32]) -> Vec<f64> {
    let layer = Layer::new(isa, g);
    let norm = |input: &[f32], output: &[f32]| layer.squared_norm(input, size(isa, input), output);
    norms_of_maps([&g.input, &g.output], n, input, output_grad, norm)
}

/// As [`conv_squared_norms`], for a convolution of stride 1 that is followed by a mean over 2 × 2 pixels, as in the
/// blocks of a `ResNet` (Gulrajani et al. 2017, arXiv:1704.00028).
///
/// `g` is the convolution's geometry, `mean_grad` the gradient of the mean, `n` maps of half the sides of `g.output`.
///
/// # Panics
/// When the stride is not 1.
pub fn conv_mean_squared_norms(isa: Isa, g: &Geometry, n: usize, input: &[f32], mean_grad: &[f32]) -> Vec<f64> {
    let of_means = box_mean::geometry(g);
    let layer = Layer::new(isa, &of_means);
    let norm = |input: &[f32], output: &[f32]| {
        let mut means = Scratch::of(of_means.input.len());
        box_mean::of_map(isa, g, input, &mut means);
        // The means may cancel, but are as accurate as their terms.
        layer.squared_norm(&means, size(isa, input), output)
    };
    norms_of_maps([&g.input, &of_means.output], n, input, mean_grad, norm)
}

/// A convolution, and how the norms of its gradients are computed.
struct Layer<'a> {
    isa: Isa,
    grid: Grid<'a>,
    method: Method,
}

impl<'a> Layer<'a> {
    fn new(isa: Isa, g: &'a Geometry) -> Self {
        Self { isa, grid: Grid::new(g), method: Method::of(isa, g) }
    }

    /// The squared norm of one example's gradient, rounded up. `input_size` is the norm of `input`, or a bound of it.
    fn squared_norm(&self, input: &[f32], input_size: f64, output: &[f32]) -> f64 {
        let bias = of_bias(self.isa, &self.grid.g.output, output);
        self.of_weights(input, output, [input_size, bias.size]) + bias.squared_norm
    }

    /// That of the weights alone, given the norms of both maps.
    fn of_weights(&self, input: &[f32], output: &[f32], sizes: [f64; 2]) -> f64 {
        // Nor is NaN at most that.
        if !sizes.iter().all(|&size| size <= LARGEST) {
            return f64::INFINITY;
        }
        let Self { isa, grid, method } = self;
        let own = match method {
            Method::Ghost => return ghost::squared_norm(*isa, grid, input, output),
            Method::Taps => own_gradient::by_taps(*isa, grid, input, output),
            Method::FewChannels => own_gradient::of_few_channels(*isa, grid.g, input, output),
            Method::Im2col => own_gradient::by_im2col(*isa, grid.g, input, output),
            Method::Winograd => {
                let winograd = Winograd::of(grid.g).expect("there is a form");
                return winograd.norm(*isa, input, output, sizes).powi(2);
            }
        };
        (own + own_gradient::error(grid.g, sizes)).powi(2)
    }
}

/// The norm of each example, given its maps of these shapes.
fn norms_of_maps(
    [input_map, output_map]: [&MapShape; 2],
    n: usize,
    input: &[f32],
    output: &[f32],
    norm: impl Fn(&[f32], &[f32]) -> f64 + Send + Sync,
) -> Vec<f64> {
    assert_eq!(input.len(), n * input_map.len(), "{n} maps of {input_map:?}");
    assert_eq!(output.len(), n * output_map.len(), "{n} maps of {output_map:?}");
    let mut norms = buffer::take(n);
    let shared = Shared::new(&mut norms);
    parallel_for(n, |i| {
        let example = |map: &MapShape| i * map.len()..(i + 1) * map.len();
        // SAFETY: each norm is written by one call.
        unsafe { shared.part(i, 1)[0] = norm(&input[example(input_map)], &output[example(output_map)]) };
    });
    norms
}

/// Squared norm of each example's gradient of the weights and the bias of a linear layer together, `[n]`, rounded up:
/// (|x|² + 1) · |dy|² (Goodfellow 2015, arXiv:1510.01799).
///
/// `inputs` is `[n, in]` and `output_grad` `[n, out]`. Of a layer without bias, such as a projection onto a class with
/// the gradient of the one product, it is a bound as well.
pub fn linear_squared_norms(isa: Isa, n: usize, inputs: &[f32], output_grad: &[f32]) -> Vec<f64> {
    // Only the multiplication by the example's factor is rounded.
    let norm = |(input, grad)| (size(isa, input).powi(2) + 1.0) * (size(isa, grad) * (1.0 + 2.0 * ROUNDING)).powi(2);
    collected(examples(n, inputs).zip(examples(n, output_grad)).map(norm))
}

/// Squared norm of each example's gradient of γ and β of a group norm together, `[n]`, rounded up.
///
/// The layer's output is γ · x̂ + β with γ and β per channel and x̂ = (x − mean) · `inv_std`: the gradient of γ is the
/// sum over pixels of grad · x̂, that of β the sum of grad. `statistics` are what
/// [`group_norm`](super::norm::group_norm()) returned for `x`, and `grad` is the gradient of γ · x̂ + β, before any
/// activation.
///
/// # Panics
/// When the lengths do not match.
pub fn group_norm_squared_norms(
    isa: Isa,
    sizes: &Sizes,
    x: &[f32],
    statistics: &GroupStatistics,
    grad: &[f32],
) -> Vec<f64> {
    assert_eq!([x.len(), grad.len()], [sizes.len(); 2], "x and grad are batches of {sizes:?}");
    let (mean, inv_std) = (&*statistics.mean, &*statistics.inv_std);
    assert!(
        mean.len() == inv_std.len() && mean.len().is_multiple_of(sizes.n.max(1)),
        "statistics are per image and group"
    );
    let map = MapShape { channels: sizes.channels, height: 1, width: sizes.pixels };
    let norm = |((grad, x), (mean, inv_std))| of_group_norm(isa, &map, grad, x, mean, inv_std).squared_norm;
    let statistics = examples(sizes.n, mean).zip(examples(sizes.n, inv_std));
    collected(examples(sizes.n, grad).zip(examples(sizes.n, x)).zip(statistics).map(norm))
}

/// The factor of an example whose gradient has this squared norm, rounded up, such that the norm of their product is at
/// most `clip`; 0 where the norm is not finite or above `clip` · 2²⁶.
pub fn clipping_factor(squared_norm: f64, clip: f64) -> f32 {
    // Not `min`, which would turn NaN into 1.
    let factor = clip / squared_norm.sqrt();
    match () {
        () if factor >= 1.0 => 1.0,
        // Rounded to f32 at most by 2⁻²⁴ upwards.
        () if factor >= LEAST_FACTOR => (factor * (1.0 - 2.0 * ROUNDING)) as f32,
        () => 0.0,
    }
}

/// Multiplies each example's part of `grad`, the gradient of a layer's outputs, by its factor. With a factor of 0 it
/// becomes 0, even where it was not finite.
///
/// The gradient of the parameters is linear in the gradient of the outputs: any kernel, for weights, biases, γ or β,
/// then computes the sum of the examples' gradients times their factors. `grad` has `n` parts of equal length,
/// `factors` is `[n]`.
pub fn weigh_examples(n: usize, factors: &[f32], grad: &mut [f32]) {
    assert_eq!(factors.len(), n, "one factor per example");
    let len = example_len(n, grad);
    grad.par_chunks_exact_mut(len).zip(factors).for_each(|(grad, &factor)| {
        if factor == 0.0 {
            grad.fill(0.0);
        } else {
            for value in grad {
                *value *= factor;
            }
        }
    });
}

/// Sets those examples' parts of `inputs`, the inputs of a layer, to 0 whose factor is 0: they may not be finite, and
/// their products with a gradient of 0 would not be 0. Lengths are those of [`weigh_examples`].
pub fn drop_examples(n: usize, factors: &[f32], inputs: &mut [f32]) {
    assert_eq!(factors.len(), n, "one factor per example");
    let len = example_len(n, inputs);
    let dropped = inputs.chunks_exact_mut(len).zip(factors).filter(|(_, factor)| **factor == 0.0);
    dropped.for_each(|(input, _)| input.fill(0.0));
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

#[cfg(test)]
mod tests;
