//! The settings of training a generator and a discriminator.

use super::Loss;
use crate::Adam;

/// Settings of [`Gan`](super::Gan)'s training steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainConfig {
    /// The loss that both networks minimise.
    pub loss: Loss,
    /// The generator's optimiser.
    pub generator: Adam,
    /// The discriminator's optimiser.
    pub discriminator: Adam,
    /// Updates of the discriminator before each update of the generator, ≥ 1, each on different images.
    pub discriminator_steps: usize,
}

impl TrainConfig {
    /// DCGAN's training: the non-saturating loss, the settings `adam` for both networks, alternating updates.
    pub fn new(adam: Adam) -> Self {
        Self { loss: Loss::default(), generator: adam, discriminator: adam, discriminator_steps: 1 }
    }
}
