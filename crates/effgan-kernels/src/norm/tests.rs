use proptest::prelude::*;

use super::super::naive::{assert_close, noise};
use super::*;

/// The layer under test: `Batch`, or `Group` with a number of groups.
#[derive(Clone, Copy, Debug)]
enum Norm {
    Batch,
    Group(usize),
}

/// A layer with random numbers. The mean of x is ten deviations from zero, where a variance from sums of squares in f32
/// would be wrong.
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
                let grads = batch_norm_backward(isa, sizes, x, &mut grad, gamma, beta, &statistics, *slope);
                (statistics.inv_std.into_vec(), out, grad, grads.gamma, grads.beta)
            }
            Norm::Group(groups) => {
                let statistics = group_norm(isa, sizes, groups, x, gamma, beta, *slope, &mut out);
                let grads = group_norm_backward(isa, sizes, groups, x, &mut grad, gamma, beta, &statistics, *slope);
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

    /// The results by plain loops in f64. The signs of `signs` decide which side of the activation a gradient passes:
    /// near zero, f32 and f64 may disagree on it.
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
            // 1e-5: nine tenths of x · scale and shift cancel.
            assert_close("out", &out, &exact.1, 1e-5);
            assert_close("dx", &dx, &exact.2, 1e-5);
            let terms = self.per_channel(|at| f64::from(self.grad[at].abs()));
            assert_sums("d_gamma", &d_gamma, &exact.3, &terms);
            assert_sums("d_beta", &d_beta, &exact.4, &terms);
        }
    }
}

/// Terms of either sign may cancel, so the tolerance is relative to the sum of their sizes.
fn assert_sums(what: &str, ours: &[f32], exact: &[f64], terms: &[f64]) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    for (c, (&ours, (exact, terms))) in ours.iter().zip(exact.iter().zip(terms)).enumerate() {
        assert!((f64::from(ours) - exact).abs() <= 1e-6 * terms, "{what}[{c}] is {ours}, not {exact}");
    }
}

fn any_sizes() -> impl Strategy<Value = Sizes> {
    let channels = prop::sample::select(vec![1, 3, 16, 20, 24, 32, 48]);
    // With few values the variance, or the output of a ReLU, may be small by chance, and relative errors large.
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
fn maps_longer_than_a_run_are_summed_completely() {
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
