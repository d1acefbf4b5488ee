//! The networks that a config can name, behind one generator and one discriminator type.
//!
//! A network is a table of its tensors ([`TensorSpec`]: name, shape, first values) and a forward pass. From the table
//! follow its initialisation, the check of what a file or a message brings, and its size.

mod dcgan;
pub(crate) mod layers;
pub(crate) mod layout;
mod lenet;
mod norm;
mod spec;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use dcgan::DcganConfig;
pub(crate) use layers::{named_tensors, raw_tensors};
pub(crate) use lenet::LeNet;
pub use lenet::{LENET_CLASSES, LENET_FEATURES, lenet_tensors};
pub(crate) use norm::Mode;
pub use norm::NormKind;
pub use norm::is_running_statistic;
#[cfg(test)]
pub(crate) use spec::Init;
pub use spec::{TensorSpec, check, init, num_bytes};
pub(crate) use spec::{to_files, to_kernels};

use crate::kernels::Precision;
use crate::{Params, Result};

/// The `[network]` table: which generator and discriminator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// Deep convolutional GAN.
    Dcgan(DcganConfig),
}

/// A network for images of one shape: what must be known to build it from named tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Kind and sizes.
    pub config: NetworkConfig,
    /// `[channels, height, width]` of the images.
    pub image_shape: [usize; 3],
}

impl Network {
    /// The network that `config` says, for images of `image_shape`.
    ///
    /// # Errors
    /// [`NnError::Config`](crate::NnError::Config) when a size is out of its bounds or the images do not fit.
    pub fn new(config: NetworkConfig, image_shape: [usize; 3]) -> Result<Self> {
        match &config {
            NetworkConfig::Dcgan(dcgan) => dcgan.check(image_shape)?,
        }
        Ok(Self { config, image_shape })
    }

    /// Length of z.
    pub fn latent_dim(&self) -> usize {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.latent_dim,
        }
    }

    /// Values of one image.
    pub fn image_len(&self) -> usize {
        self.image_shape.iter().product()
    }

    /// Whether running statistics are part of the networks, and a batch of one image cannot be trained on.
    pub fn has_batch_norm(&self) -> bool {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.norm == NormKind::Batch,
        }
    }

    /// Tensors of the generator.
    pub fn generator_tensors(&self) -> Vec<TensorSpec> {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.generator_tensors(self.image_shape),
        }
    }

    /// Tensors of the discriminator.
    pub fn discriminator_tensors(&self) -> Vec<TensorSpec> {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.discriminator_tensors(self.image_shape),
        }
    }

    pub(crate) fn generator(&self, params: &Params, device: &Device) -> Result<Generator> {
        check(params, &self.generator_tensors())?;
        let params = &to_kernels(params, &self.generator_tensors())?;
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => {
                Ok(Generator::Dcgan(dcgan::Generator::load(dcgan, self.image_shape, params, device)?))
            }
        }
    }

    pub(crate) fn discriminator(&self, params: &Params, device: &Device) -> Result<Discriminator> {
        check(params, &self.discriminator_tensors())?;
        let params = &to_kernels(params, &self.discriminator_tensors())?;
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => {
                Ok(Discriminator::Dcgan(dcgan::Discriminator::load(dcgan, self.image_shape, params, device)?))
            }
        }
    }
}

/// A generator: z `[n, latent_dim]` ↦ images `[n, c, h, w]` in [-1, 1].
#[derive(Module, Debug)]
pub(crate) enum Generator {
    Dcgan(dcgan::Generator),
}

impl Generator {
    /// The same network with large products of `precision`.
    pub(crate) fn with_precision(self, precision: Precision) -> Self {
        match self {
            Self::Dcgan(generator) => Self::Dcgan(generator.with_precision(precision)),
        }
    }

    pub(crate) fn forward(&self, z: Tensor<2>, mode: Mode) -> Tensor<4> {
        match self {
            Self::Dcgan(generator) => generator.forward(z, mode),
        }
    }
}

/// A discriminator: images `[n, c, h, w]` ↦ logits `[n, 1]`, positive for real.
#[derive(Module, Debug)]
pub(crate) enum Discriminator {
    Dcgan(dcgan::Discriminator),
}

impl Discriminator {
    /// The same network with large products of `precision`.
    pub(crate) fn with_precision(self, precision: Precision) -> Self {
        match self {
            Self::Dcgan(discriminator) => Self::Dcgan(discriminator.with_precision(precision)),
        }
    }

    pub(crate) fn forward(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        match self {
            Self::Dcgan(discriminator) => discriminator.forward(images, mode),
        }
    }
}
