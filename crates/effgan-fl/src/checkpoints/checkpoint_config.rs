//! The `[checkpoint]` table.

use serde::{Deserialize, Serialize};

use crate::{FlError, Result};

/// The `[checkpoint]` table. The result does not depend on it, so it may be changed when a run is resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Number of newest states that are kept, ≥ 1; default 2.
    pub keep: usize,
    /// Saves the unfinished work of a client every this many training steps, ≥ 1; where the server trains the generator, the whole round.
    /// When absent, a run that is killed loses the unfinished work of its clients (or, with MD-GAN and UA-GAN, the unfinished round); a run
    /// that is interrupted by Ctrl-C or SIGTERM saves it in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<u64>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { keep: 2, every_steps: None }
    }
}

impl CheckpointConfig {
    /// Checks that the values are within their bounds.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        let keys = [("keep", self.keep == 0), ("every_steps", self.every_steps == Some(0))];
        match keys.into_iter().find(|(_, zero)| *zero) {
            Some((key, _)) => Err(FlError::Config(format!("checkpoint.{key} = 0 must be at least 1"))),
            None => Ok(()),
        }
    }
}
