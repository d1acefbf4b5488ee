//! Learning rates that fall over a run.

use serde::{Deserialize, Serialize};

use crate::{FlError, Result};

/// `local.decay`: how Adam's step sizes fall over the rounds. The fine-tuning is the last round.
///
/// It follows from the number of the round alone, so that there is nothing to remember, and a client that missed rounds
/// trains as the others do. Within a round nothing falls: `local-ensemble`, which has one, has no decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// The same in all rounds.
    #[default]
    None,
    /// 1 − (round − 1) / rounds: the whole in the first round, and by equal parts down to 1 / rounds in the last.
    Linear,
    /// This number, above 0 and at most 1, to the power of round − 1.
    Exponential(f64),
}

impl Decay {
    /// Checks its bounds.
    ///
    /// # Errors
    /// [`FlError::Config`].
    pub fn check(self) -> Result<()> {
        match self {
            Self::Exponential(factor) if !(factor > 0.0 && factor <= 1.0) => {
                Err(FlError::Config(format!("local.decay.exponential = {factor} must be above 0 and at most 1")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a round's step size depends on how many rounds there are.
    pub fn depends_on_the_length(self) -> bool {
        self == Self::Linear
    }

    /// Share of the step size that is left in `round`, from 1, of `rounds`.
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
            assert_eq!(error, format!("local.decay.exponential = {factor} must be above 0 and at most 1"));
        }
    }
}
