//! Errors of this crate.

use thiserror::Error;

use crate::bounds::{MAX_NOISE, MAX_STEPS, MIN_DELTA, MIN_NOISE};

/// Why a privacy cost cannot be stated; each message names the number, its value, the bound and what to do.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PrivacyError {
    /// The noise is too little to protect anything, or is not a number.
    #[error("noise multiplier {value:?} must be from {MIN_NOISE:?} to {MAX_NOISE:?}; below, the noise hides no record")]
    NoiseMultiplier {
        /// The noise multiplier.
        value: f64,
    },
    /// The sample rate is not a probability.
    #[error("sample rate {value:?} must be from 0 to 1; it is the expected batch over the number of records")]
    SampleRate {
        /// The sample rate.
        value: f64,
    },
    /// δ is not a small probability.
    #[error(
        "delta {value:?} must be at least {MIN_DELTA:?} and below 1; take less than one over the number of records"
    )]
    Delta {
        /// The probability.
        value: f64,
    },
    /// There are more steps than can be added up.
    #[error("{value} steps are more than {MAX_STEPS}, the most that can be composed; lower the number of steps")]
    Steps {
        /// The number of steps.
        value: u64,
    },
    /// A budget is not a positive number.
    #[error("target epsilon {value:?} must be above 0 and finite; give a budget, such as 10")]
    TargetEpsilon {
        /// The budget.
        value: f64,
    },
    /// No noise is enough for a budget.
    #[error(
        "target epsilon {target:?} cannot be reached: {steps} steps at sample rate {sample_rate:?} cost {least:.3e} with the largest noise \
         multiplier, {MAX_NOISE:?}; raise the target or delta, or lower the steps"
    )]
    Unreachable {
        /// The budget.
        target: f64,
        /// Number of steps.
        steps: u64,
        /// Their sample rate.
        sample_rate: f64,
        /// What they cost with the largest noise multiplier.
        least: f64,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, PrivacyError>;
