//! Batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167): each channel is normalised over the images and pixels of its
//! batch.

use rayon::prelude::*;

use super::columns::{GradApply, GradSums, Moments, grad_apply, grad_sums, moments};
use super::{
    Coefficients, IMAGES, Isa, NormGrads, Sizes, affine_act, fill_scale_shift, inverse_deviation, mean_and_variance,
    sums_of_pieces, total,
};
use crate::buffer::{Buffer, Sums};

/// Mean and variance of each channel over each batch, `[batches, channels]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean over images and pixels.
    pub mean: Buffer,
    /// Biased variance, divided by the number of values.
    pub variance: Buffer,
    /// 1 / √(variance + 1e-5).
    pub inv_std: Buffer,
}

/// Writes act(gamma · (x − mean) · `inv_std` + beta) to `out` and returns the statistics.
///
/// `x` consists of `batches` equal batches, one after the other, each normalised by its own statistics. `sizes` are
/// those of all batches together. `gamma` and `beta` are `[channels]`.
#[allow(clippy::too_many_arguments, reason = "a layer's input, output and parameters")]
pub fn batch_norm(
    isa: Isa,
    sizes: &Sizes,
    batches: usize,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    slope: f32,
    out: &mut [f32],
) -> Statistics {
    assert_eq!([x.len(), out.len()], [sizes.len(); 2], "x and out are batches of {sizes:?}");
    let one = sizes.of_each(batches);
    let [mean, variance, inv_std] = std::array::from_fn(|_| Buffer::of(batches * sizes.channels));
    let mut statistics = Statistics { mean, variance, inv_std };
    let [mut scale, mut shift] = std::array::from_fn(|_| Buffer::of(sizes.channels));
    for (batch, (x, out)) in x.chunks_exact(one.len()).zip(out.chunks_exact_mut(one.len())).enumerate() {
        let Statistics { mean, variance, inv_std } = &mut statistics;
        let [mean, variance, inv_std] =
            [mean, variance, inv_std].map(|of_all| &mut of_all[batch * sizes.channels..][..sizes.channels]);
        batch_statistics(isa, &one, x, mean, variance, inv_std);
        fill_scale_shift([gamma, beta, mean, inv_std], &mut scale, &mut shift);
        affine_act(isa, &one, x, &scale, &shift, slope, out);
    }
    statistics
}

/// Writes the statistics of each channel of one batch.
fn batch_statistics(isa: Isa, sizes: &Sizes, x: &[f32], mean: &mut [f32], variance: &mut [f32], inv_std: &mut [f32]) {
    assert_eq!(x.len(), sizes.len(), "x is a batch of {sizes:?}");
    let mut sums = sums_of_pieces(sizes.n, 2 * sizes.channels);
    sums.par_chunks_mut(2 * sizes.channels).zip(x.par_chunks(IMAGES * sizes.image())).for_each(|(sums, x)| {
        let (sum, squares) = sums.split_at_mut(sizes.channels);
        moments(isa, &sizes.holding(x.len()), &mut Moments { x, sum, squares });
    });
    let (sum, squares) = total(&mut sums, 2 * sizes.channels).split_at(sizes.channels);

    let count = (sizes.n * sizes.pixels) as f64;
    for c in 0..sizes.channels {
        let (exact, variance_of_c) = mean_and_variance(sum[c], squares[c], count);
        mean[c] = exact as f32;
        variance[c] = variance_of_c as f32;
        inv_std[c] = inverse_deviation(variance_of_c) as f32;
    }
}

/// The backward pass of [`batch_norm`]: turns `grad`, the gradient of its output, into the gradient of `x`, and returns
/// the gradients of the parameters.
///
/// `statistics` are what [`batch_norm`] returned for `x`.
#[allow(clippy::too_many_arguments, reason = "a layer's input, gradient and parameters")]
pub fn batch_norm_backward(
    isa: Isa,
    sizes: &Sizes,
    x: &[f32],
    grad: &mut [f32],
    gamma: &[f32],
    beta: &[f32],
    statistics: &Statistics,
    slope: f32,
) -> NormGrads {
    assert_eq!([x.len(), grad.len()], [sizes.len(); 2], "x and grad are batches of {sizes:?}");
    let (means, inv_stds) =
        (statistics.mean.chunks_exact(sizes.channels), statistics.inv_std.chunks_exact(sizes.channels));
    let one = sizes.of_each(means.len());
    let batches = x.chunks_exact(one.len()).zip(grad.chunks_exact_mut(one.len()));
    let grads = batches.zip(means.zip(inv_stds)).map(|((x, grad), (mean, inv_std))| {
        one_batch_backward(isa, &one, x, grad, [gamma, beta, mean, inv_std], slope)
    });
    grads.reduce(NormGrads::plus).expect("at least one batch")
}

fn one_batch_backward(
    isa: Isa,
    sizes: &Sizes,
    x: &[f32],
    grad: &mut [f32],
    [gamma, beta, mean, inv_std]: [&[f32]; 4],
    slope: f32,
) -> NormGrads {
    assert_eq!([gamma.len(), mean.len(), inv_std.len()], [sizes.channels; 3], "parameters are per channel");
    let piece = IMAGES * sizes.image();
    let [mut scale, mut shift] = std::array::from_fn(|_| Buffer::of(sizes.channels));
    fill_scale_shift([gamma, beta, mean, inv_std], &mut scale, &mut shift);
    let (scale, shift) = (&*scale, &*shift);

    let mut sums = sums_of_pieces(sizes.n, 2 * sizes.channels);
    let batches = x.par_chunks(piece).zip(grad.par_chunks(piece));
    sums.par_chunks_mut(2 * sizes.channels).zip(batches).for_each(|(sums, (x, grad))| {
        let (sum, products) = sums.split_at_mut(sizes.channels);
        grad_sums(isa, &sizes.holding(x.len()), &mut GradSums { x, grad, scale, shift, slope, sum, products });
    });

    let mut of_params = Sums::zeros(2 * sizes.channels);
    let mut coefficients = Coefficients::of(sizes.channels);
    let count = (sizes.n * sizes.pixels) as f64;
    coefficients.solve(count, [gamma, mean, inv_std], total(&mut sums, 2 * sizes.channels), &mut of_params);
    let Coefficients { of_d, of_x, constant } = &coefficients;

    let batches = x.par_chunks(piece).zip(grad.par_chunks_mut(piece));
    batches.for_each(|(x, grad)| {
        let visitor = &mut GradApply { x, grad, scale, shift, slope, of_d, of_x, constant };
        grad_apply(isa, &sizes.holding(x.len()), visitor);
    });
    NormGrads::rounded(&of_params)
}
