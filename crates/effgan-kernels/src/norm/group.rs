//! Group norm (Wu & He 2018, arXiv:1803.08494): the channels of each image are normalised in groups, so that no image
//! depends on another.

use rayon::prelude::*;

use super::columns::{Affine, GradApply, GradSums, Moments, affine, grad_apply, grad_sums, moments};
use super::{
    Coefficients, IMAGES, Isa, NormGrads, Sizes, fill_scale_shift, inverse_deviation, mean_and_variance,
    sums_of_pieces, total,
};
use crate::buffer::{Buffer, Sums};

/// Mean and inverse standard deviation of each group of each image, `[n, groups]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStatistics {
    /// Mean over the group's channels and pixels.
    pub mean: Buffer,
    /// 1 / √(biased variance + 1e-5).
    pub inv_std: Buffer,
}

/// Writes act(gamma · (x − mean) · `inv_std` + beta) to `out` and returns the statistics of the groups.
///
/// `groups` divides the channels; `gamma` and `beta` are `[channels]`.
#[allow(clippy::too_many_arguments, reason = "a layer's input, output and parameters")]
pub fn group_norm(
    isa: Isa,
    sizes: &Sizes,
    groups: usize,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    slope: f32,
    out: &mut [f32],
) -> GroupStatistics {
    assert!(sizes.channels.is_multiple_of(groups), "{groups} groups divide {} channels", sizes.channels);
    assert_eq!([x.len(), out.len()], [sizes.len(); 2], "x and out are batches of {sizes:?}");
    assert_eq!([gamma.len(), beta.len()], [sizes.channels; 2], "parameters are per channel");
    let (one, piece) = (Sizes { n: 1, ..*sizes }, IMAGES * sizes.image());
    let count = (sizes.image() / groups) as f64;
    let [mean, inv_std] = std::array::from_fn(|_| Buffer::of(sizes.n * groups));
    let mut statistics = GroupStatistics { mean, inv_std };

    let means = statistics.mean.par_chunks_mut(IMAGES * groups);
    let means = means.zip(statistics.inv_std.par_chunks_mut(IMAGES * groups));
    let pieces = x.par_chunks(piece).zip(out.par_chunks_mut(piece)).zip(means);
    pieces.for_each(|((x, out), (mean, inv_std))| {
        let [mut sum, mut squares] = std::array::from_fn(|_| Sums::of(sizes.channels));
        let [mut scale, mut shift] = std::array::from_fn(|_| Buffer::of(sizes.channels));
        let images = x.chunks_exact(one.len()).zip(out.chunks_exact_mut(one.len()));
        let means = mean.chunks_exact_mut(groups).zip(inv_std.chunks_exact_mut(groups));
        for ((x, out), (mean, inv_std)) in images.zip(means) {
            sum.fill(0.0);
            squares.fill(0.0);
            moments(isa, &one, &mut Moments { x, sum: &mut sum, squares: &mut squares });
            group_statistics(count, &sum, &squares, mean, inv_std);
            fill_scale_shift([gamma, beta, mean, inv_std], &mut scale, &mut shift);
            affine(isa, &one, &mut Affine { x, scale: &scale, shift: &shift, slope, out });
        }
    });
    statistics
}

/// Writes the statistics of an image's groups of `count` values, from Σ x and Σ x² of its channels.
fn group_statistics(count: f64, sum: &[f64], squares: &[f64], mean: &mut [f32], inv_std: &mut [f32]) {
    let channels_per_group = sum.len() / mean.len();
    let sums = sum.chunks_exact(channels_per_group).zip(squares.chunks_exact(channels_per_group));
    for ((sum, squares), (mean, inv_std)) in sums.zip(mean.iter_mut().zip(inv_std)) {
        let (exact, variance) = mean_and_variance(sum.iter().sum(), squares.iter().sum(), count);
        (*mean, *inv_std) = (exact as f32, inverse_deviation(variance) as f32);
    }
}

/// The backward pass of [`group_norm`]: turns `grad`, the gradient of its output, into the gradient of `x`, and returns
/// the gradients of the parameters.
///
/// `statistics` are what [`group_norm`] returned for `x`.
#[allow(clippy::too_many_arguments, reason = "a layer's input, gradient and parameters")]
pub fn group_norm_backward(
    isa: Isa,
    sizes: &Sizes,
    groups: usize,
    x: &[f32],
    grad: &mut [f32],
    gamma: &[f32],
    beta: &[f32],
    statistics: &GroupStatistics,
    slope: f32,
) -> NormGrads {
    let (mean, inv_std) = (&statistics.mean, &statistics.inv_std);
    assert!(sizes.channels.is_multiple_of(groups), "{groups} groups divide {} channels", sizes.channels);
    assert_eq!([x.len(), grad.len()], [sizes.len(); 2], "x and grad are batches of {sizes:?}");
    assert_eq!([mean.len(), inv_std.len()], [sizes.n * groups; 2], "statistics are per image and group");
    assert_eq!(gamma.len(), sizes.channels, "parameters are per channel");
    let (one, piece) = (Sizes { n: 1, ..*sizes }, IMAGES * sizes.image());
    let count = (sizes.image() / groups) as f64;

    let mut of_params = sums_of_pieces(sizes.n, 2 * sizes.channels);
    let pieces = x.par_chunks(piece).zip(grad.par_chunks_mut(piece)).enumerate();
    pieces.zip(of_params.par_chunks_mut(2 * sizes.channels)).for_each(|((piece, (x, grad)), of_params)| {
        let [mut scale, mut shift] = std::array::from_fn(|_| Buffer::of(sizes.channels));
        let mut coefficients = Coefficients::of(sizes.channels);
        let mut sums = Sums::of(2 * sizes.channels);
        let images = x.chunks_exact(one.len()).zip(grad.chunks_exact_mut(one.len()));
        for (image, (x, grad)) in images.enumerate() {
            let image = (piece * IMAGES + image) * groups..(piece * IMAGES + image + 1) * groups;
            let [mean, inv_std] = [&mean[image.clone()], &inv_std[image]];
            fill_scale_shift([gamma, beta, mean, inv_std], &mut scale, &mut shift);
            let (scale, shift) = (&*scale, &*shift);
            sums.fill(0.0);
            let (sum, products) = sums.split_at_mut(sizes.channels);
            grad_sums(isa, &one, &mut GradSums { x, grad, scale, shift, slope, sum, products });
            coefficients.solve(count, [gamma, mean, inv_std], &sums, of_params);
            let Coefficients { of_d, of_x, constant } = &coefficients;
            grad_apply(isa, &one, &mut GradApply { x, grad, scale, shift, slope, of_d, of_x, constant });
        }
    });
    NormGrads::rounded(total(&mut of_params, 2 * sizes.channels))
}
