//! How a network is run: in training, for inference, or example by example.

use crate::fused::Examples;

/// How a network is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode<'a> {
    /// Normalise each of `batches` equal batches, which are concatenated, by its own statistics, and move the running
    /// statistics by `momentum` towards those of one batch after the other. (One pass of several batches shares the
    /// work that does not depend on the images.)
    Train { momentum: f64, batches: usize },
    /// Normalise by the running statistics.
    Evaluate,
    /// Record the layers of a discriminator, through which every example passes by itself. Nothing of the network changes.
    PerExample(&'a Examples),
}

impl Mode<'_> {
    /// Training on one batch, with PyTorch's momentum.
    pub(crate) const TRAIN: Self = Self::train(1);

    /// Training on `batches` equal, concatenated batches, with PyTorch's momentum.
    pub(crate) const fn train(batches: usize) -> Self {
        Self::Train { momentum: 0.1, batches }
    }
}
