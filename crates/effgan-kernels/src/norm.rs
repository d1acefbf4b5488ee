//! Batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167) and group norm (Wu & He 2018, arXiv:1803.08494), each followed
//! by a leaky ReLU.
//!
//! Both are sums per channel over pixels, then an affine map per channel, forward and backward. Feature maps are
//! `[n, channels / b, pixels, b]`. The activation is act(v) = v where v > 0, `slope` · v elsewhere: slope 1 is none, 0
//! is ReLU.

pub(crate) mod columns;
mod group;

use rayon::prelude::*;

use super::buffer::{self, Buffer, Sums};
use super::{Isa, MapShape};
use columns::{Affine, GradApply, GradSums, Moments, affine, grad_apply, grad_sums, moments};
pub use group::{GroupStatistics, group_norm, group_norm_backward};

/// ε that is added to a variance, `PyTorch`'s default.
const EPSILON: f64 = 1e-5;

/// Images that one task works on; their sums are kept together.
pub(crate) const IMAGES: usize = 4;

/// Sizes of a batch of feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Images.
    pub n: usize,
    /// Channels, ≥ 1.
    pub channels: usize,
    /// Pixels of an image, ≥ 1.
    pub pixels: usize,
}

impl Sizes {
    /// `n` images of shape `map`.
    pub fn of(n: usize, map: &MapShape) -> Self {
        Self { n, channels: map.channels, pixels: map.pixels() }
    }

    /// Channels side by side in memory, [`MapShape::block`].
    pub fn block(&self) -> usize {
        MapShape { channels: self.channels, height: 1, width: self.pixels }.block()
    }

    /// Values of one image.
    pub fn image(&self) -> usize {
        self.channels * self.pixels
    }

    /// Values of the batch.
    pub fn len(&self) -> usize {
        self.n * self.image()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The same for each of `batches` equal batches.
    fn of_each(&self, batches: usize) -> Self {
        assert!(self.n.is_multiple_of(batches), "{batches} equal batches make up {} images", self.n);
        Self { n: self.n / batches, ..*self }
    }

    /// The same for the images that `values` values are.
    pub(crate) fn holding(&self, values: usize) -> Self {
        Self { n: values / self.image(), ..*self }
    }
}

/// Mean and variance of each channel over each batch, `[batches, channels]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean over images and pixels.
    pub mean: Buffer,
    /// Variance, divided by the number of values.
    pub variance: Buffer,
    /// 1 / √(variance + 1e-5).
    pub inv_std: Buffer,
}

/// What a normalisation's backward pass gives besides the gradient of x, `[channels]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct NormGrads {
    /// Gradient of gamma.
    pub gamma: Vec<f32>,
    /// Gradient of beta.
    pub beta: Vec<f32>,
}

impl NormGrads {
    /// Of gradients `[2, channels]` in f64.
    fn rounded(of_params: &[f64]) -> Self {
        let (gamma, beta) = of_params.split_at(of_params.len() / 2);
        Self { gamma: rounded(gamma), beta: rounded(beta) }
    }

    /// The sum of both: the gradients of two batches through the same layer.
    fn plus(mut self, other: Self) -> Self {
        for (sums, others) in [(&mut self.gamma, other.gamma), (&mut self.beta, other.beta)] {
            sums.iter_mut().zip(&others).for_each(|(sum, other)| *sum += other);
            buffer::give_back(others);
        }
        self
    }
}

/// Writes act(gamma · (x − mean) · `inv_std` + beta) to `out` and gives back the statistics.
///
/// `x` is `batches` equal batches in a row, each of which is normalised by its own statistics; `sizes` are those of all
/// together. `gamma` and `beta` are `[channels]`.
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

/// Writes the statistics of each channel of `x`, a batch of `sizes`.
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

/// Writes act(x · `scale` + `shift`) to `out`; `scale` and `shift` are `[channels]`.
pub fn affine_act(isa: Isa, sizes: &Sizes, x: &[f32], scale: &[f32], shift: &[f32], slope: f32, out: &mut [f32]) {
    assert_eq!([x.len(), out.len()], [sizes.len(); 2], "x and out are batches of {sizes:?}");
    assert_eq!([scale.len(), shift.len()], [sizes.channels; 2], "scale and shift are per channel");
    let piece = IMAGES * sizes.image();
    out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| {
        affine(isa, &sizes.holding(x.len()), &mut Affine { x, scale, shift, slope, out });
    });
}

/// Takes gradients back through [`batch_norm`] and the activation.
///
/// `statistics` are what it gave for `x`, and `out` what it wrote; `grad` is the gradient of `out` and becomes that of
/// `x`.
#[allow(clippy::too_many_arguments, reason = "a layer's input, output, gradient and parameters")]
pub fn batch_norm_backward(
    isa: Isa,
    sizes: &Sizes,
    x: &[f32],
    out: &[f32],
    grad: &mut [f32],
    gamma: &[f32],
    statistics: &Statistics,
    slope: f32,
) -> NormGrads {
    assert_eq!([x.len(), out.len(), grad.len()], [sizes.len(); 3], "x, out and grad are batches of {sizes:?}");
    let (means, inv_stds) =
        (statistics.mean.chunks_exact(sizes.channels), statistics.inv_std.chunks_exact(sizes.channels));
    let one = sizes.of_each(means.len());
    let batches = x.chunks_exact(one.len()).zip(out.chunks_exact(one.len())).zip(grad.chunks_exact_mut(one.len()));
    let grads = batches.zip(means.zip(inv_stds)).map(|(((x, out), grad), (mean, inv_std))| {
        one_batch_backward(isa, &one, x, out, grad, [gamma, mean, inv_std], slope)
    });
    grads.reduce(NormGrads::plus).expect("at least one batch")
}

fn one_batch_backward(
    isa: Isa,
    sizes: &Sizes,
    x: &[f32],
    out: &[f32],
    grad: &mut [f32],
    [gamma, mean, inv_std]: [&[f32]; 3],
    slope: f32,
) -> NormGrads {
    assert_eq!([gamma.len(), mean.len(), inv_std.len()], [sizes.channels; 3], "parameters are per channel");
    let piece = IMAGES * sizes.image();

    let mut sums = sums_of_pieces(sizes.n, 2 * sizes.channels);
    let batches = x.par_chunks(piece).zip(out.par_chunks(piece)).zip(grad.par_chunks(piece));
    sums.par_chunks_mut(2 * sizes.channels).zip(batches).for_each(|(sums, ((x, out), grad))| {
        let (sum, products) = sums.split_at_mut(sizes.channels);
        grad_sums(isa, &sizes.holding(x.len()), &mut GradSums { x, out, grad, slope, sum, products });
    });

    let mut of_params = Sums::zeros(2 * sizes.channels);
    let mut coefficients = Coefficients::of(sizes.channels);
    let count = (sizes.n * sizes.pixels) as f64;
    coefficients.solve(count, [gamma, mean, inv_std], total(&mut sums, 2 * sizes.channels), &mut of_params);
    let Coefficients { of_d, of_x, constant } = &coefficients;

    let batches = x.par_chunks(piece).zip(out.par_chunks(piece)).zip(grad.par_chunks_mut(piece));
    batches.for_each(|((x, out), grad)| {
        let visitor = &mut GradApply { x, out, grad, slope, of_d, of_x, constant };
        grad_apply(isa, &sizes.holding(x.len()), visitor);
    });
    NormGrads::rounded(&of_params)
}

/// How the gradient of x follows from that of the output: dx = `of_d` · d + `of_x` · x + `constant` per channel.
///
/// d is the gradient of gamma · x̂ + beta, with x̂ = (x − mean) · `inv_std`.
struct Coefficients {
    of_d: Buffer,
    of_x: Buffer,
    constant: Buffer,
}

impl Coefficients {
    fn of(channels: usize) -> Self {
        Self { of_d: Buffer::of(channels), of_x: Buffer::of(channels), constant: Buffer::of(channels) }
    }

    /// Finds the coefficients from `sums`, Σ d and Σ d · x per channel, and adds the gradients of gamma and beta to
    /// `of_params`, both `[2, channels]`; `mean` and `inv_std` are those of each group, `count` the values of a group: a
    /// channel of a batch or some channels of an image.
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
                // From the rounded coefficient: it is multiplied by x, which may be far from zero.
                self.constant[c] = (-inv_std * sum / count - mean * f64::from(self.of_x[c])) as f32;
            }
        }
    }
}

/// Fills `scale` and `shift` per channel so that x · scale + shift = gamma · (x − mean) · `inv_std` + beta; mean and
/// `inv_std` are per group of neighbouring channels.
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

/// Mean and biased variance from Σ x and Σ x² of `count` values. In f64 their difference is exact enough for any f32 x.
fn mean_and_variance(sum: f64, squares: f64, count: f64) -> (f64, f64) {
    let mean = sum / count;
    // A clamp keeps NaN, which a maximum would hide.
    (mean, (squares / count - mean * mean).clamp(0.0, f64::INFINITY))
}

fn inverse_deviation(variance: f64) -> f64 {
    1.0 / (variance + EPSILON).sqrt()
}

/// `len` sums for each piece of [`IMAGES`] of a batch of `n`, all zero: `[pieces, len]`.
pub(crate) fn sums_of_pieces(n: usize, len: usize) -> Sums {
    Sums::zeros(n.div_ceil(IMAGES).max(1) * len)
}

/// The sum of the pieces' `len` sums, in order, in the place of the first's.
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
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{assert_close, noise};
    use super::*;

    /// Which layer the tests run: `Batch`, or `Group` with a number of groups.
    #[derive(Clone, Copy, Debug)]
    enum Norm {
        Batch,
        Group(usize),
    }

    /// A layer with numbers; x lies ten deviations from zero, which a sum of squares in f32 would not survive.
    struct Case {
        norm: Norm,
        sizes: Sizes,
        slope: f32,
        x: Vec<f32>,
        gamma: Vec<f32>,
        beta: Vec<f32>,
        grad: Vec<f32>,
    }

    /// Statistics per group, output, gradient of x and of the parameters.
    type Results<T> = (Vec<T>, Vec<T>, Vec<T>, Vec<T>, Vec<T>);

    impl Case {
        fn new(norm: Norm, sizes: Sizes, slope: f32, seed: u64) -> Self {
            let x = noise(sizes.len(), seed).iter().map(|x| x + 10.0).collect();
            let gamma = noise(sizes.channels, seed + 1).iter().map(|gamma| 1.0 + 0.2 * gamma).collect();
            let beta = noise(sizes.channels, seed + 2).iter().map(|beta| 0.5 * beta).collect();
            Self { norm, sizes, slope, x, gamma, beta, grad: noise(sizes.len(), seed + 3) }
        }

        fn run(&self, isa: Isa) -> Results<f32> {
            let Self { sizes, slope, x, gamma, beta, .. } = self;
            let (mut out, mut grad) = (vec![0.0; x.len()], self.grad.clone());
            match self.norm {
                Norm::Batch => {
                    let statistics = batch_norm(isa, sizes, 1, x, gamma, beta, *slope, &mut out);
                    let grads = batch_norm_backward(isa, sizes, x, &out, &mut grad, gamma, &statistics, *slope);
                    (statistics.inv_std.into_vec(), out, grad, grads.gamma, grads.beta)
                }
                Norm::Group(groups) => {
                    let statistics = group_norm(isa, sizes, groups, x, gamma, beta, *slope, &mut out);
                    let grads = group_norm_backward(isa, sizes, groups, x, &out, &mut grad, gamma, &statistics, *slope);
                    (statistics.inv_std.into_vec(), out, grad, grads.gamma, grads.beta)
                }
            }
        }

        /// The channel of each value, and the group that it is normalised with.
        fn channel_and_group(&self, at: usize) -> (usize, usize) {
            let (sizes, block) = (&self.sizes, self.sizes.block());
            let (image, plane) = (at / sizes.image(), at % sizes.image() / (block * sizes.pixels));
            let channel = plane * block + at % block;
            match self.norm {
                Norm::Batch => (channel, channel),
                Norm::Group(groups) => (channel, image * groups + channel * groups / sizes.channels),
            }
        }

        fn per_channel(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
            let mut sums = vec![0.0; self.sizes.channels];
            (0..self.x.len()).for_each(|at| sums[self.channel_and_group(at).0] += value(at));
            sums
        }

        /// Plain f64. `signs` decide which side of the activation a gradient passes: near zero, rounding may.
        fn exact(&self, signs: &[f32]) -> Results<f64> {
            let (num_groups, count) = match self.norm {
                Norm::Batch => (self.sizes.channels, (self.sizes.n * self.sizes.pixels) as f64),
                Norm::Group(groups) => (self.sizes.n * groups, (self.sizes.image() / groups) as f64),
            };
            let groups = |value: &dyn Fn(usize, usize, usize) -> f64| {
                let mut means = vec![0.0; num_groups];
                for at in 0..self.x.len() {
                    let (channel, group) = self.channel_and_group(at);
                    means[group] += value(at, channel, group) / count;
                }
                means
            };
            let mean = groups(&|at, _, _| f64::from(self.x[at]));
            let variance = groups(&|at, _, group| (f64::from(self.x[at]) - mean[group]).powi(2));
            let inv_std: Vec<f64> = variance.iter().map(|variance| 1.0 / (variance + 1e-5).sqrt()).collect();
            let gamma = |channel: usize| f64::from(self.gamma[channel]);
            let hat = |at: usize, group: usize| (f64::from(self.x[at]) - mean[group]) * inv_std[group];
            let slope_at = |sign: f64| if sign > 0.0 { 1.0 } else { f64::from(self.slope) };
            let d = |at: usize| f64::from(self.grad[at]) * slope_at(f64::from(signs[at]));
            let of_d = groups(&|at, channel, _| gamma(channel) * d(at));
            let of_hat = groups(&|at, channel, group| gamma(channel) * d(at) * hat(at, group));

            let (mut out, mut dx) = (Vec::new(), Vec::new());
            for at in 0..self.x.len() {
                let (channel, group) = self.channel_and_group(at);
                let value = gamma(channel) * hat(at, group) + f64::from(self.beta[channel]);
                out.push(value * slope_at(value));
                dx.push(inv_std[group] * (gamma(channel) * d(at) - of_d[group] - hat(at, group) * of_hat[group]));
            }
            let d_gamma = self.per_channel(|at| d(at) * hat(at, self.channel_and_group(at).1));
            let d_beta = self.per_channel(d);
            (inv_std, out, dx, d_gamma, d_beta)
        }

        fn check(&self) {
            for isa in Isa::available() {
                let (inv_std, out, dx, d_gamma, d_beta) = self.run(isa);
                let exact = self.exact(&out);
                // f32 sums of at most 256 values.
                assert_close("inv_std", &inv_std, &exact.0, 1e-6);
                // x · scale and shift cancel but for a tenth.
                assert_close("out", &out, &exact.1, 1e-5);
                assert_close("dx", &dx, &exact.2, 1e-5);
                let terms = self.per_channel(|at| f64::from(self.grad[at].abs()));
                assert_sums("d_gamma", &d_gamma, &exact.3, &terms);
                assert_sums("d_beta", &d_beta, &exact.4, &terms);
            }
        }
    }

    /// Terms of either sign may cancel, so an error is held against the sum of their sizes.
    fn assert_sums(what: &str, ours: &[f32], exact: &[f64], terms: &[f64]) {
        assert_eq!(ours.len(), exact.len(), "{what}");
        for (c, (&ours, (exact, terms))) in ours.iter().zip(exact.iter().zip(terms)).enumerate() {
            assert!((f64::from(ours) - exact).abs() <= 1e-6 * terms, "{what}[{c}] is {ours}, not {exact}");
        }
    }

    fn any_sizes() -> impl Strategy<Value = Sizes> {
        let channels = prop::sample::select(vec![1, 3, 16, 20, 24, 32, 48]);
        // Of few values the variance, or what a ReLU lets through, may be small by chance, and relative errors large.
        (2..10_usize, channels, 16..300_usize).prop_map(|(n, channels, pixels)| Sizes { n, channels, pixels })
    }

    fn any_slope() -> impl Strategy<Value = f32> {
        prop::sample::select(vec![0.0, 0.2, 1.0])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn batch_norm_is_the_plain_loop(sizes in any_sizes(), slope in any_slope(), seed: u32) {
            Case::new(Norm::Batch, sizes, slope, seed.into()).check();
        }

        #[test]
        fn group_norm_is_the_plain_loop(
            sizes in any_sizes(),
            slope in any_slope(),
            pick: prop::sample::Index,
            seed: u32,
        ) {
            let divisors: Vec<usize> = (1..=sizes.channels).filter(|g| sizes.channels.is_multiple_of(*g)).collect();
            Case::new(Norm::Group(*pick.get(&divisors)), sizes, slope, seed.into()).check();
        }
    }

    #[test]
    fn maps_longer_than_a_run_are_summed_whole() {
        let sizes = Sizes { n: 2, channels: 16, pixels: 27 * 27 };
        Case::new(Norm::Batch, sizes, 0.2, 1).check();
        Case::new(Norm::Group(4), sizes, 0.2, 1).check();
    }

    #[test]
    fn variance_keeps_six_digits_ten_deviations_from_zero() {
        let sizes = Sizes { n: 64, channels: 32, pixels: 196 };
        let case = Case::new(Norm::Batch, sizes, 1.0, 5);
        let exact: Vec<f64> = case.exact(&case.x).0.iter().map(|inv_std| inv_std.powi(-2) - 1e-5).collect();
        for isa in Isa::available() {
            assert_close("variance", &statistics_of(isa, &sizes, &case.x).variance, &exact, 1e-6);
        }
    }

    fn statistics_of(isa: Isa, sizes: &Sizes, x: &[f32]) -> Statistics {
        let (gamma, beta) = (vec![1.0; sizes.channels], vec![0.0; sizes.channels]);
        batch_norm(isa, sizes, 1, x, &gamma, &beta, 1.0, &mut vec![0.0; x.len()])
    }

    /// Of two values 1 and 3: mean 2, variance 1 (divided by 2, not by 1).
    #[test]
    fn statistics_of_two_images_by_hand() {
        let sizes = Sizes { n: 2, channels: 1, pixels: 1 };
        for isa in Isa::available() {
            let statistics = statistics_of(isa, &sizes, &[1.0, 3.0]);
            assert_eq!((&statistics.mean[..], &statistics.variance[..]), (&[2.0_f32][..], &[1.0_f32][..]));
        }
    }

    /// An independent source for the gradient's formula: the slope of Σ grad · out.
    #[test]
    fn gradient_is_the_slope_of_the_loss() {
        for norm in [Norm::Batch, Norm::Group(2)] {
            let mut case = Case::new(norm, Sizes { n: 3, channels: 4, pixels: 5 }, 0.2, 11);
            let loss = |case: &Case| -> f64 {
                case.exact(&case.x).1.iter().zip(&case.grad).map(|(out, &grad)| out * f64::from(grad)).sum()
            };
            let signs: Vec<f32> = case.exact(&case.x).1.iter().map(|&out| out as f32).collect();
            let dx = case.exact(&signs).2;
            for (at, dx) in dx.into_iter().enumerate() {
                let middle = case.x[at];
                // A power of two: x near 10 moves by it exactly.
                let [above, below] = [1.0 / 4096.0, -1.0 / 4096.0].map(|step| {
                    case.x[at] = middle + step;
                    loss(&case)
                });
                case.x[at] = middle;
                let slope = (above - below) * 2048.0;
                assert!((slope - dx).abs() < 1e-4, "{norm:?} {at}: {slope} and {dx}");
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        for norm in [Norm::Batch, Norm::Group(8)] {
            let case = Case::new(norm, Sizes { n: 13, channels: 32, pixels: 49 }, 0.2, 7);
            for isa in Isa::available() {
                let run = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| case.run(isa))
                };
                assert!(run(1) == run(2) && run(1) == run(3), "{norm:?} on {isa:?}");
            }
        }
    }
}
