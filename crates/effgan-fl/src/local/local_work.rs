//! How much a client trains in one exchange.

use serde::{Deserialize, Serialize};

use crate::{FlError, Result};

/// The amount of training that a client does in one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalWork {
    /// Passes over the client's images.
    Epochs(u32),
    /// Training steps.
    Steps(u32),
}

impl LocalWork {
    /// Whichever of `epochs` and `steps` is given; `key` is the prefix of both keys in error messages.
    ///
    /// # Errors
    /// [`FlError::Config`] when neither or both are given, or the given one is 0.
    pub fn one_of(epochs: Option<u32>, steps: Option<u32>, key: &str) -> Result<Self> {
        match (epochs, steps) {
            (Some(0), None) => Err(FlError::Config(format!("{key}epochs = 0 must be at least 1"))),
            (None, Some(0)) => Err(FlError::Config(format!("{key}steps = 0 must be at least 1"))),
            (Some(epochs), None) => Ok(Self::Epochs(epochs)),
            (None, Some(steps)) => Ok(Self::Steps(steps)),
            _ => Err(FlError::Config(format!("set exactly one of {key}epochs and {key}steps"))),
        }
    }

    /// `n` times this amount.
    #[must_use]
    pub fn times(self, n: u32) -> Self {
        match self {
            Self::Epochs(epochs) => Self::Epochs(epochs.saturating_mul(n)),
            Self::Steps(steps) => Self::Steps(steps.saturating_mul(n)),
        }
    }
}
