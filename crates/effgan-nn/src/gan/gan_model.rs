//! A generator with a discriminator as a [`Model`].

use super::sampler::GanSampler;
use super::trainer::GanTrainer;
use super::{DISCRIMINATOR, DiscriminatorSteps, GENERATOR, Gan, Loss, Privacy, TrainConfig};
use crate::model::{LossName, Model, NetworkSpec, Sampler, StepPlan, Trainer};
use crate::networks::Network;
use crate::{Device, NnError, Params, Precision, Result};

/// The losses of a step. Their unit is that of the [`Loss`], which is the nat for the default.
pub const LOSSES: [LossName; 2] =
    [LossName { key: "loss_d", of: DISCRIMINATOR }, LossName { key: "loss_g", of: GENERATOR }];

/// A generator and a discriminator that are trained against each other by [`Gan`](super::Gan).
#[derive(Clone, Debug, PartialEq)]
pub struct GanModel {
    /// Both networks.
    pub network: Network,
    /// The loss that both minimise.
    pub loss: Loss,
    /// Updates of the discriminator before each update of the generator, each on a batch of its own.
    pub discriminator_steps: DiscriminatorSteps,
    /// How the discriminator hides each of a client's images; `None` trains on them as they are.
    pub privacy: Option<Privacy>,
}

impl GanModel {
    /// DCGAN's training of `network`: the non-saturating loss, alternating updates.
    pub fn new(network: Network) -> Self {
        Self { network, loss: Loss::default(), discriminator_steps: DiscriminatorSteps::Fixed(1), privacy: None }
    }

    /// Checks that the discriminator can be trained privately on `device`.
    ///
    /// # Errors
    /// [`NnError::Config`], with the key and the reason.
    pub fn check_private(&self, device: Device) -> Result<()> {
        self.network.config.check_private()?;
        if device.precision() != Precision::F32 {
            let line = "local.precision must be f32 for [privacy]: gradients are bounded in f32";
            return Err(NnError::Config(line.into()));
        }
        if device.is_gpu() {
            let line = "[privacy] bounds gradients on the processor; use --device cpu";
            return Err(NnError::Config(line.into()));
        }
        Ok(())
    }

    /// The settings of a [`Gan`](super::Gan)'s steps under `plan`.
    ///
    /// # Panics
    /// When `plan` has no optimiser for one of the networks.
    pub fn train_config(&self, plan: &StepPlan) -> TrainConfig {
        let adam = |name| plan.adam[name];
        let Self { loss, discriminator_steps, .. } = *self;
        let (generator, discriminator) = (adam(GENERATOR), adam(DISCRIMINATOR));
        TrainConfig { loss, generator, discriminator, discriminator_steps: discriminator_steps.per_step() }
    }
}

impl Model for GanModel {
    fn image_shape(&self) -> [usize; 3] {
        self.network.image_shape
    }

    fn networks(&self) -> Vec<NetworkSpec> {
        let [generator, discriminator] = [self.network.generator_tensors(), self.network.discriminator_tensors()];
        [(GENERATOR, generator), (DISCRIMINATOR, discriminator)]
            .map(|(name, tensors)| NetworkSpec { name, tensors })
            .into()
    }

    fn generator(&self) -> &'static str {
        GENERATOR
    }

    fn losses(&self) -> &'static [LossName] {
        &LOSSES
    }

    fn num_classes(&self) -> Option<usize> {
        self.network.num_classes
    }

    fn min_images(&self) -> usize {
        self.network.config.min_images()
    }

    fn batches_per_step(&self) -> usize {
        self.discriminator_steps.per_step()
    }

    fn trainer(&self, start: &Params, plan: &StepPlan, device: Device) -> Result<Box<dyn Trainer>> {
        let gan = Gan::new(&self.network, start, self.train_config(plan), device)?;
        let gan = if let Some(mu) = plan.proximal { gan.with_proximal_term(mu) } else { gan };
        if self.privacy.is_some() {
            self.check_private(device)?;
        }
        let adapts = self.discriminator_steps == DiscriminatorSteps::Adaptive;
        Ok(Box::new(GanTrainer::new(gan, plan.ema, self.privacy.clone(), adapts)))
    }

    fn sampler(&self, generator: &Params, device: Device) -> Result<Box<dyn Sampler>> {
        Ok(Box::new(GanSampler::new(&self.network, generator, device)?))
    }
}
