//! How a generator and a discriminator are trained.

use super::{Adam, Loss};
use effgan_kernels::Precision;

/// Settings of [`Gan`](super::Gan)'s training steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainConfig {
    /// What both networks minimise.
    pub loss: Loss,
    /// The generator's optimiser.
    pub generator: Adam,
    /// The discriminator's optimiser.
    pub discriminator: Adam,
    /// Updates of the discriminator before each of the generator, ≥ 1; each sees images of its own.
    pub discriminator_steps: usize,
    /// Numbers that the large products multiply.
    pub precision: Precision,
}

impl TrainConfig {
    /// DCGAN's training: the non-saturating loss, one `adam` for both networks, which take turns; f32.
    pub fn new(adam: Adam) -> Self {
        Self {
            loss: Loss::default(),
            generator: adam,
            discriminator: adam,
            discriminator_steps: 1,
            precision: Precision::F32,
        }
    }
}
