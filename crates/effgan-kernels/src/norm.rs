//! Batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167) and group norm (Wu & He 2018, arXiv:1803.08494), each followed
//! by a leaky ReLU.
//!
//! Both take sums over pixels per channel and then apply an affine map per channel, in the forward and in the backward
//! pass. Feature maps are `[n, channels / b, pixels, b]`. The activation is act(v) = v where v > 0 and `slope` · v
//! elsewhere: a slope of 1 means no activation, 0 is ReLU.

mod batch;
pub(crate) mod columns;
mod group;

use rayon::prelude::*;

use super::buffer::{self, Buffer, Sums};
use super::{Isa, MapShape};
pub use batch::{Statistics, batch_norm, batch_norm_backward};
use columns::{Affine, affine};
pub use group::{GroupStatistics, group_norm, group_norm_backward};

/// ε, added to a variance; PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Number of images of a piece of work, which has one set of partial sums. It is fixed, so that bits do not depend on
/// the number of threads.
pub(crate) const IMAGES: usize = 4;

/// Sizes of a batch of feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Number of images.
    pub n: usize,
    /// Number of channels, ≥ 1.
    pub channels: usize,
    /// Number of pixels of an image, ≥ 1.
    pub pixels: usize,
}

impl Sizes {
    /// `n` images of shape `map`.
    pub fn of(n: usize, map: &MapShape) -> Self {
        Self { n, channels: map.channels, pixels: map.pixels() }
    }

    /// Number of channels of a block, [`MapShape::block`].
    pub fn block(&self) -> usize {
        MapShape { channels: self.channels, height: 1, width: self.pixels }.block()
    }

    /// Number of values of one image.
    pub fn image(&self) -> usize {
        self.channels * self.pixels
    }

    /// Number of values of the batch.
    pub fn len(&self) -> usize {
        self.n * self.image()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The sizes of each of `batches` equal batches.
    fn of_each(&self, batches: usize) -> Self {
        assert!(self.n.is_multiple_of(batches), "{batches} equal batches make up {} images", self.n);
        Self { n: self.n / batches, ..*self }
    }

    /// The sizes of a batch of `values` values.
    pub(crate) fn holding(&self, values: usize) -> Self {
        Self { n: values / self.image(), ..*self }
    }
}

/// Gradients of the parameters of a normalisation, `[channels]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct NormGrads {
    /// Gradient of gamma.
    pub gamma: Vec<f32>,
    /// Gradient of beta.
    pub beta: Vec<f32>,
}

impl NormGrads {
    /// From `[2, channels]` in f64.
    fn rounded(of_params: &[f64]) -> Self {
        let (gamma, beta) = of_params.split_at(of_params.len() / 2);
        Self { gamma: rounded(gamma), beta: rounded(beta) }
    }

    /// The sum of both, for two batches through the same layer.
    fn plus(mut self, other: Self) -> Self {
        for (sums, others) in [(&mut self.gamma, other.gamma), (&mut self.beta, other.beta)] {
            sums.iter_mut().zip(&others).for_each(|(sum, other)| *sum += other);
            buffer::give_back(others);
        }
        self
    }
}

/// Writes act(x · `scale` + `shift`) to `out`; `scale` and `shift` are `[channels]`.
pub fn affine_act(isa: Isa, sizes: &Sizes, x: &[f32], scale: &[f32], shift: &[f32], slope: f32, out: &mut [f32]) {
    assert_eq!([x.len(), out.len()], [sizes.len(); 2], "x and out are batches of {sizes:?}");
    assert_eq!([scale.len(), shift.len()], [sizes.channels; 2], "scale and shift are per channel");
    let piece = IMAGES * sizes.image();
    out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| {
        affine(isa, &sizes.holding(x.len()), &mut Affine { x, scale, shift, slope, out });
    });
}

/// The gradient of x as an affine map per channel: dx = `of_d` · d + `of_x` · x + `constant`, where d is the gradient
/// of gamma · x̂ + beta and x̂ = (x − mean) · `inv_std`.
struct Coefficients {
    of_d: Buffer,
    of_x: Buffer,
    constant: Buffer,
}

impl Coefficients {
    fn of(channels: usize) -> Self {
        Self { of_d: Buffer::of(channels), of_x: Buffer::of(channels), constant: Buffer::of(channels) }
    }

    /// Computes the coefficients from `sums`, Σ d and Σ d · x per channel, and adds the gradients of gamma and beta to
    /// `of_params`; both are `[2, channels]`. `mean` and `inv_std` are per group, and `count` is the number of values
    /// of a group. In batch norm, a group is one channel of a batch; in group norm, some channels of an image.
    ///
    /// dx = `inv_std` · (gamma · d − Σ gamma · d / count − x̂ · Σ gamma · d · x̂ / count), sums over the group.
    fn solve(&mut self, count: f64, [gamma, mean, inv_std]: [&[f32]; 3], sums: &[f64], of_params: &mut [f64]) {
        let (sums, sums_of_products) = sums.split_at(gamma.len());
        let (of_gamma, of_beta) = of_params.split_at_mut(gamma.len());
        let channels_per_group = gamma.len() / mean.len();
        for (group, (&mean, &inv_std)) in mean.iter().zip(inv_std).enumerate() {
            let (mean, inv_std) = (f64::from(mean), f64::from(inv_std));
            let channels = group * channels_per_group..(group + 1) * channels_per_group;
            let (mut sum, mut products) = (0.0, 0.0);
            for c in channels.clone() {
                let product = inv_std * (sums_of_products[c] - mean * sums[c]);
                of_gamma[c] += product;
                of_beta[c] += sums[c];
                sum += f64::from(gamma[c]) * sums[c];
                products += f64::from(gamma[c]) * product;
            }
            let of_x = -inv_std * inv_std * products / count;
            for c in channels {
                self.of_d[c] = (f64::from(gamma[c]) * inv_std) as f32;
                self.of_x[c] = of_x as f32;
                // With the rounded `of_x`: x may be far from zero, and its products must cancel.
                self.constant[c] = (-inv_std * sum / count - mean * f64::from(self.of_x[c])) as f32;
            }
        }
    }
}

/// Writes `scale` and `shift` per channel, such that x · scale + shift = gamma · (x − mean) · `inv_std` + beta. `mean`
/// and `inv_std` are per group of neighbouring channels.
fn fill_scale_shift([gamma, beta, mean, inv_std]: [&[f32]; 4], scale: &mut [f32], shift: &mut [f32]) {
    assert_eq!([beta.len(), scale.len(), shift.len()], [gamma.len(); 3], "parameters are per channel");
    assert_eq!(mean.len(), inv_std.len(), "statistics are per group");
    let channels_per_group = gamma.len() / mean.len();
    for (group, (&mean, &inv_std)) in mean.iter().zip(inv_std).enumerate() {
        for c in group * channels_per_group..(group + 1) * channels_per_group {
            scale[c] = gamma[c] * inv_std;
            shift[c] = (f64::from(beta[c]) - f64::from(mean) * f64::from(scale[c])) as f32;
        }
    }
}

/// Mean and biased variance of `count` values with the sums Σ x and Σ x². The difference in the variance is accurate
/// enough in f64 for any f32 x.
fn mean_and_variance(sum: f64, squares: f64, count: f64) -> (f64, f64) {
    let mean = sum / count;
    // Not `max`, which would turn NaN into 0.
    (mean, (squares / count - mean * mean).clamp(0.0, f64::INFINITY))
}

fn inverse_deviation(variance: f64) -> f64 {
    1.0 / (variance + EPSILON).sqrt()
}

/// Zeros for `len` sums of each piece of [`IMAGES`] in a batch of `n`: `[pieces, len]`.
pub(crate) fn sums_of_pieces(n: usize, len: usize) -> Sums {
    Sums::zeros(n.div_ceil(IMAGES).max(1) * len)
}

/// The `len` totals over all pieces, added in order in the place of the first piece's sums.
pub(crate) fn total(sums: &mut [f64], len: usize) -> &[f64] {
    let (total, others) = sums.split_at_mut(len);
    for piece in others.chunks_exact(len) {
        total.iter_mut().zip(piece).for_each(|(total, sum)| *total += sum);
    }
    total
}

/// `values` in f32.
pub(crate) fn rounded(values: &[f64]) -> Vec<f32> {
    let mut rounded = buffer::take(values.len());
    rounded.iter_mut().zip(values).for_each(|(rounded, &value)| *rounded = value as f32);
    rounded
}

#[cfg(test)]
mod tests;
