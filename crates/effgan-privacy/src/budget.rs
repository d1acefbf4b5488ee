//! From a budget to the noise that it needs, or to the steps that it affords.

use crate::accountant::{Accountant, epsilon};
use crate::bounds::{MAX_NOISE, MAX_STEPS, MIN_NOISE};
use crate::composition::Composition;
use crate::error::{PrivacyError, Result};
use crate::mechanism::SampledGaussian;

/// How far the noise multiplier may lie above the smallest one, relative to it. Its last digit is rounded up, by at most 1e-5 of it.
const TOLERANCE: f64 = 9e-5;

/// The smallest noise multiplier σ with which `steps` steps at `sample_rate` cost at most `target_epsilon` at `delta`, to a relative
/// tolerance of 10⁻⁴ and rounded up to six digits: what it costs is never above the target.
///
/// It is 0.05, the least that [`SampledGaussian`] accepts, where that is already enough.
///
/// # Errors
/// [`PrivacyError::TargetEpsilon`] where the target is not above 0 and finite, [`PrivacyError::Unreachable`] where no noise is enough, and
/// those of [`SampledGaussian::new`], [`Composition::of`] and [`epsilon`].
pub fn noise_multiplier(target_epsilon: f64, delta: f64, sample_rate: f64, steps: u64) -> Result<f64> {
    check_target(target_epsilon)?;
    let composition = |sigma| Composition::of(SampledGaussian::new(sigma, sample_rate)?, steps);
    let cost = |sigma| Ok(epsilon(&composition(sigma)?, delta)?.value);
    // RDP takes a millisecond, and its answer is at most a fifth or so too large.
    let by_rdp = smallest_noise(1.0, target_epsilon, |sigma| Accountant::Rdp.epsilon(&composition(sigma)?, delta))?;
    match smallest_noise(by_rdp.unwrap_or(1.0), target_epsilon, cost)? {
        Some(sigma) => rounded_up(sigma, target_epsilon, cost),
        None => Err(PrivacyError::Unreachable { target: target_epsilon, steps, sample_rate, least: cost(MAX_NOISE)? }),
    }
}

/// The largest number of steps of `mechanism` that cost at most `target_epsilon` at `delta`, to a relative tolerance of 10⁻⁴ from below: 0
/// where one is too many, and 10⁹, the largest composition, where more would be affordable.
///
/// # Errors
/// [`PrivacyError::TargetEpsilon`] where the target is not above 0 and finite, and those of [`epsilon`].
pub fn steps(target_epsilon: f64, delta: f64, mechanism: SampledGaussian) -> Result<u64> {
    check_target(target_epsilon)?;
    let by_rdp =
        most_steps(1, target_epsilon, |steps| Accountant::Rdp.epsilon(&Composition::of(mechanism, steps)?, delta))?;
    most_steps(by_rdp, target_epsilon, |steps| Ok(epsilon(&Composition::of(mechanism, steps)?, delta)?.value))
}

pub(crate) fn check_target(value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() { Ok(()) } else { Err(PrivacyError::TargetEpsilon { value }) }
}

/// A noise multiplier that costs at most `target`, at most [`TOLERANCE`] above one that costs more; `None` where the largest one costs more.
fn smallest_noise(start: f64, target: f64, cost: impl Fn(f64) -> Result<f64>) -> Result<Option<f64>> {
    let (mut low, mut high, mut factor) = (start, start, 1.1);
    while cost(high)? > target {
        if high == MAX_NOISE {
            return Ok(None);
        }
        (low, high, factor) = (high, f64::min(high * factor, MAX_NOISE), factor * factor);
    }
    while low == high {
        if high == MIN_NOISE {
            return Ok(Some(high));
        }
        let less = f64::max(high / factor, MIN_NOISE);
        if cost(less)? > target {
            low = less;
        } else {
            (low, high, factor) = (less, less, factor * factor);
        }
    }
    while high > low * (1.0 + TOLERANCE) {
        let middle = (low * high).sqrt();
        *(if cost(middle)? > target { &mut low } else { &mut high }) = middle;
    }
    Ok(Some(high))
}

/// The next number of six digits, or one after it: the cost need not fall between two numbers that are as close as that.
fn rounded_up(sigma: f64, target: f64, cost: impl Fn(f64) -> Result<f64>) -> Result<f64> {
    let unit = 10_f64.powf(sigma.log10().floor() - 5.0);
    // A number of six digits, but for its rounding, stays what it is.
    let mut digits = (sigma / unit - 1e-6).ceil();
    loop {
        // Through text: a product with 10⁻⁵ would not be the number that is printed.
        let text = format!("{:.*}", (-unit.log10().round()).max(0.0) as usize, digits * unit);
        let rounded = text.parse::<f64>().unwrap_or(sigma).clamp(MIN_NOISE, MAX_NOISE);
        if rounded == MAX_NOISE || cost(rounded)? <= target {
            return Ok(rounded);
        }
        digits += 1.0;
    }
}

/// The largest affordable number of steps, to a relative tolerance of 10⁻⁴.
fn most_steps(start: u64, target: f64, cost: impl Fn(u64) -> Result<f64>) -> Result<u64> {
    let affordable = |steps| Ok(cost(steps)? <= target);
    let (mut low, mut high) = (0, start.max(1));
    let mut factor = 1.2;
    while affordable(high)? {
        if high == MAX_STEPS {
            return Ok(high);
        }
        (low, high) = (high, ((high as f64 * factor).ceil() as u64 + 1).min(MAX_STEPS));
        factor *= factor;
    }
    while high - low > 1.max(low / 10_000) {
        let middle = low + (high - low) / 2;
        *(if affordable(middle)? { &mut low } else { &mut high }) = middle;
    }
    Ok(low)
}
