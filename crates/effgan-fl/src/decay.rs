//! Learning rates that decay over a run.

use serde::{Deserialize, Serialize};

use crate::{FlError, Result};

/// `local.decay`: how Adam's step sizes decay over the rounds, of which fine-tuning is the last.
///
/// The decay depends on the round's number alone: there is no state to keep, and a client that missed rounds trains like the others. Step
/// sizes are constant within a round, so there is no decay in `local-ensemble`, which has only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// The same step size in all rounds.
    #[default]
    None,
    /// 1 − (round − 1) / rounds: from 1 in the first round down to 1 / rounds in the last.
    Linear,
    /// factor^(round − 1), with a factor above 0 and at most 1.
    Exponential(f64),
}

impl Decay {
    /// Checks that the factor is within its bounds.
    ///
    /// # Errors
    /// [`FlError::Config`].
    pub fn check(self) -> Result<()> {
        match self {
            Self::Exponential(factor) if !(factor > 0.0 && factor <= 1.0) => {
                Err(FlError::Config(format!("local.decay.exponential = {factor:?} must be above 0 and at most 1")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the step size of a round depends on the total number of rounds.
    pub fn depends_on_the_length(self) -> bool {
        self == Self::Linear
    }

    /// Factor of the step size in `round` (from 1) of `rounds`.
    pub fn factor(self, round: u32, rounds: u32) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Linear => 1.0 - f64::from(round.clamp(1, rounds) - 1) / f64::from(rounds),
            Self::Exponential(factor) => factor.powf(f64::from(round - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_by_hand() {
        let factors = |decay: Decay| [1, 2, 3, 4].map(|round| decay.factor(round, 4));
        assert_eq!(factors(Decay::None), [1.0; 4]);
        assert_eq!(factors(Decay::Linear), [1.0, 0.75, 0.5, 0.25]);
        assert_eq!(factors(Decay::Exponential(0.5)), [1.0, 0.5, 0.25, 0.125]);
    }

    #[test]
    fn a_factor_that_stops_or_grows_is_refused() {
        for factor in [0.0, 1.5, f64::NAN] {
            let error = Decay::Exponential(factor).check().unwrap_err().to_string();
            assert_eq!(error, format!("local.decay.exponential = {factor:?} must be above 0 and at most 1"));
        }
    }
}
