//! The version of the arithmetic of training: a run is finished with the version that it was begun with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of everything in a program that determines the bits of a training step. A run's record, its checkpoints and
/// its model name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArithmeticVersion(pub u32);

impl ArithmeticVersion {
    /// The version of this program.
    pub const OURS: Self = Self(effgan_kernels::ARITHMETIC_VERSION);
}

/// 1: programs of that version did not name it in what they wrote.
impl Default for ArithmeticVersion {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for ArithmeticVersion {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}
