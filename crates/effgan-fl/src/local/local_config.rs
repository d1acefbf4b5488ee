//! The `[local]` table: how a client trains.

use effgan_nn::gan::{DISCRIMINATOR, DiscriminatorSteps, GENERATOR, GanModel, Loss};
use effgan_nn::networks::Network;
use effgan_nn::{Adam, Device, Precision};
use serde::{Deserialize, Serialize};

use super::LocalWork;
use crate::decay::Decay;
use crate::{FlError, Result};

/// The `[local]` table: how a client trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// Images per batch, 1..=65536 (at least 2 with batch norm), default 64; a client with fewer images trains on all of them in
    /// each batch.
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
    /// The loss that both networks minimise.
    #[serde(default)]
    pub loss: Loss,
    /// Updates of the discriminator per update of the generator, ≥ 1, default 1; each takes the next `batch_size` images. With `[privacy]` it may
    /// be `"adaptive"`: then a step is one update of the discriminator, and the generator is updated after ever more of them.
    #[serde(default = "one")]
    pub discriminator_steps: DiscriminatorSteps,
    /// Adam's step size for both networks, > 0, default 2e-4.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// Adam's step size for the generator, > 0; `learning_rate` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_learning_rate: Option<f64>,
    /// Adam's step size for the discriminator, > 0; `learning_rate` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discriminator_learning_rate: Option<f64>,
    /// How the step sizes decay over the rounds.
    #[serde(default)]
    pub decay: Decay,
    /// Decay of Adam's first moment, 0..1, default 0.5.
    #[serde(default = "default_beta1")]
    pub beta1: f64,
    /// Passes over the client's images per round; set either this or `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Training steps per round, each with one update of the generator; set either this or `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Decay of the generator's moving average, 0..1; off when absent. Rounds of averaging send the raw parameters; a generator that the
    /// server collects is the moving average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f32>,
    /// Number format of the inputs of a training step's large matrix products: `f32`, or `bf16` on processors with the instruction
    /// ([`Precision::Bf16`] says where it has an effect).
    #[serde(default)]
    pub precision: Precision,
}

impl Default for LocalConfig {
    /// The defaults of the `[local]` table; a config must still set `epochs` or `steps`.
    fn default() -> Self {
        Self {
            batch_size: default_batch_size(),
            loss: Loss::default(),
            discriminator_steps: one(),
            learning_rate: default_learning_rate(),
            generator_learning_rate: None,
            discriminator_learning_rate: None,
            decay: Decay::default(),
            beta1: default_beta1(),
            epochs: None,
            steps: None,
            ema: None,
            precision: Precision::default(),
        }
    }
}

impl LocalConfig {
    /// The model that these settings train: a generator and a discriminator of `network`.
    pub fn gan(&self, network: Network) -> GanModel {
        GanModel { loss: self.loss, discriminator_steps: self.discriminator_steps, ..GanModel::new(network) }
    }

    /// The work of one round: `epochs` or `steps`.
    ///
    /// # Errors
    /// [`FlError::Config`] when neither or both are given, or the given one is 0.
    pub fn work(&self) -> Result<LocalWork> {
        LocalWork::one_of(self.epochs, self.steps, "local.")
    }

    /// `device` with the `precision` of these settings.
    ///
    /// # Errors
    /// [`FlError::Config`] when the device does not support it.
    pub fn device(&self, device: Device) -> Result<Device> {
        device.with_precision(self.precision).map_err(|error| FlError::Config(format!("local.{error}")))
    }

    /// Checks the bounds, for networks that need at least `min_images` images in a batch. Whether a processor supports
    /// `precision` is an error of [`device`](Self::device), since a config may be written and read on others.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check(&self, min_images: usize) -> Result<()> {
        self.work()?;
        self.decay.check()?;
        self.out_of_bounds(min_images).map_or(Ok(()), |line| Err(FlError::Config(line)))
    }

    /// The first setting that is out of its bounds, as an error message.
    fn out_of_bounds(&self, min_images: usize) -> Option<String> {
        let &Self { batch_size, beta1, ema, .. } = self;
        let discriminator_steps = self.discriminator_steps.per_step();
        let unit = 0.0..1.0;
        let wrong = [
            (
                !(min_images..=MAX_IMAGES_PER_STEP).contains(&batch_size),
                format!("local.batch_size = {batch_size} must be from {min_images} to {MAX_IMAGES_PER_STEP}"),
            ),
            (
                discriminator_steps == 0 || discriminator_steps.saturating_mul(batch_size) > MAX_IMAGES_PER_STEP,
                format!(
                    "local.discriminator_steps = {discriminator_steps} must be at least 1, and times batch_size at most \
                     {MAX_IMAGES_PER_STEP}"
                ),
            ),
            // Adam computes in f32, where 0.99999999 is 1.
            (
                !unit.contains(&f64::from(beta1 as f32)),
                format!("local.beta1 = {beta1:?} must be at least 0 and below 1 (computed in 32 bits)"),
            ),
            (
                ema.is_some_and(|decay| !unit.contains(&f64::from(decay))),
                format!(
                    "local.ema = {:?} must be at least 0 and below 1 (computed in 32 bits)",
                    ema.unwrap_or_default()
                ),
            ),
        ];
        let wrong = wrong.into_iter().find(|(wrong, _)| *wrong).map(|(_, line)| line);
        wrong.or_else(|| self.learning_rate_out_of_bounds())
    }

    fn learning_rate_out_of_bounds(&self) -> Option<String> {
        let rates = [
            ("learning_rate", Some(self.learning_rate)),
            ("generator_learning_rate", self.generator_learning_rate),
            ("discriminator_learning_rate", self.discriminator_learning_rate),
        ];
        let mut given = rates.into_iter().filter_map(|(key, rate)| Some((key, rate?)));
        // Adam computes in f32, where 1e-320 is 0 and 1e39 is infinite.
        let is_step_size = |rate: f32| rate > 0.0 && rate <= 3e38;
        let (key, rate) = given.find(|(_, rate)| !is_step_size(*rate as f32))?;
        Some(format!("local.{key} = {rate:?} must be above 0 and at most 3e38 (computed in 32 bits)"))
    }

    /// The optimiser of `network` before its step size decays.
    pub fn adam(&self, network: &str) -> Adam {
        let own = match network {
            GENERATOR => self.generator_learning_rate,
            DISCRIMINATOR => self.discriminator_learning_rate,
            _ => None,
        };
        Adam { learning_rate: own.unwrap_or(self.learning_rate), beta1: self.beta1 }
    }
}

/// Upper bound on the images of a step, because the memory of its matrix products grows with them.
const MAX_IMAGES_PER_STEP: usize = 1 << 16;

fn default_batch_size() -> usize {
    64
}

fn one() -> DiscriminatorSteps {
    DiscriminatorSteps::Fixed(1)
}

fn default_learning_rate() -> f64 {
    2e-4
}

fn default_beta1() -> f64 {
    0.5
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use effgan_nn::Isa;
    use effgan_nn::networks::{DcganConfig, NetworkConfig};

    use super::*;
    use crate::local::LocalTraining;

    #[test]
    fn settings_out_of_bounds_are_named() {
        let error = |config: LocalConfig| {
            let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, ..DcganConfig::default() };
            let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 4, 4]).unwrap();
            let device = Device::cpu_with(Isa::PORTABLE);
            LocalTraining::new(Arc::new(config.gan(network)), config, device).unwrap_err().to_string()
        };
        let one_epoch = || LocalConfig { epochs: Some(1), ..LocalConfig::default() };
        assert_eq!(error(LocalConfig::default()), "set exactly one of local.epochs and local.steps");
        let both = LocalConfig { steps: Some(1), ..one_epoch() };
        assert_eq!(error(both), "set exactly one of local.epochs and local.steps");
        let empty = LocalConfig { batch_size: 0, ..one_epoch() };
        assert_eq!(error(empty), "local.batch_size = 0 must be from 2 to 65536");
        for wrong in [0, 1025] {
            let line =
                format!("local.discriminator_steps = {wrong} must be at least 1, and times batch_size at most 65536");
            assert_eq!(
                error(LocalConfig { discriminator_steps: DiscriminatorSteps::Fixed(wrong), ..one_epoch() }),
                line
            );
        }
        let rounded = LocalConfig { precision: Precision::Bf16, ..one_epoch() };
        assert_eq!(error(rounded), "local.precision = bf16 needs a processor with AVX-512 BF16; use f32");
        let rate = LocalConfig { generator_learning_rate: Some(0.0), ..one_epoch() };
        let bound = "must be above 0 and at most 3e38 (computed in 32 bits)";
        assert_eq!(error(rate), format!("local.generator_learning_rate = 0.0 {bound}"));
        for wrong in [1e-320, 1e39] {
            let line = format!("local.learning_rate = {wrong:?} {bound}");
            assert_eq!(error(LocalConfig { learning_rate: wrong, ..one_epoch() }), line);
        }
        for learning_rate in [1e-45, 3e38] {
            assert!(LocalConfig { learning_rate, ..one_epoch() }.check(2).is_ok());
        }
    }
}
