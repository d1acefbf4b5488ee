//! The networks that a config can choose, behind one generator type and one discriminator type.
//!
//! A network is a table of its tensors ([`TensorSpec`]: name, shape, initial values) and a forward pass. The table
//! determines initialisation, the check of tensors that come from a file or a message, and the size.

mod conditional;
mod dcgan;
mod flop;
mod inception;
pub(crate) mod layers;
pub(crate) mod layout;
mod lenet;
mod mode;
mod norm;
mod resample;
mod resnet;
mod resnet_classifier;
mod spec;
mod spectral_norm;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub(crate) use conditional::{Labels, labels_tensor};
pub use dcgan::DcganConfig;
pub use inception::{INCEPTION_FEATURES, INCEPTION_SIDE, Inception, inception_tensors};
pub(crate) use layers::named_tensors;
#[cfg(all(test, feature = "gpu"))]
pub(crate) use layout::Layout;
pub(crate) use layout::Order;
pub(crate) use lenet::LeNet;
pub use lenet::{LENET_CLASSES, LENET_FEATURES, lenet_tensors};
pub(crate) use mode::Mode;
pub use norm::NormKind;
pub use resnet::ResnetConfig;
pub(crate) use resnet_classifier::ResnetClassifier;
pub use resnet_classifier::{RESNET_FEATURES, ResnetShape};
#[cfg(test)]
pub(crate) use spec::to_files;
use spec::to_memory;
pub use spec::{Init, TensorSpec, check, init, is_running_statistic, num_bytes};

use self::flop::LayerCost;
use crate::device::Placement;
use crate::{NnError, Params, Result};

/// Maximum number of pixels per side; files may come from strangers.
const MAX_PIXELS: usize = 1024;
/// Maximum number of classes: labels are bytes.
const MAX_CLASSES: usize = 256;

/// The `[network]` table: the kind of generator and discriminator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// Deep convolutional GAN.
    Dcgan(DcganConfig),
    /// `ResNet` with spectral norm in the discriminator.
    Resnet(ResnetConfig),
}

impl NetworkConfig {
    /// Checks the sizes. Whether the network fits images, whose shape is not known here, is checked by [`Network::check`].
    ///
    /// # Errors
    /// [`NnError::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        let (latent_dim, base_channels) = match self {
            Self::Dcgan(dcgan) => (dcgan.latent_dim, dcgan.base_channels),
            Self::Resnet(resnet) => (resnet.latent_dim, resnet.base_channels),
        };
        let bounds = [("latent_dim", latent_dim, 4096), ("base_channels", base_channels, 1024)];
        match bounds.into_iter().find(|&(_, value, max)| value == 0 || value > max) {
            Some((key, value, max)) => Err(NnError::Config(format!("network.{key} = {value} must be from 1 to {max}"))),
            None => Ok(()),
        }
    }

    /// Minimum number of images of a batch that the networks can be trained on: batch norm needs 2.
    pub fn min_images(&self) -> usize {
        if self.has_batch_norm() { 2 } else { 1 }
    }

    /// Whether the networks have batch norm.
    pub fn has_batch_norm(&self) -> bool {
        match self {
            Self::Dcgan(dcgan) => dcgan.norm == NormKind::Batch,
            Self::Resnet(resnet) => resnet.norm == NormKind::Batch,
        }
    }

    /// Checks that each image passes through the discriminator by itself, so that its gradient can be bounded. (The discriminator of a
    /// `ResNet` has spectral norm, whatever `norm` is.)
    ///
    /// # Errors
    /// [`NnError::Config`], with the reason.
    pub fn check_private(&self) -> Result<()> {
        if !matches!(self, Self::Dcgan(DcganConfig { norm: NormKind::Batch, .. })) {
            return Ok(());
        }
        let line = "network.norm = \"batch\" mixes the images of a batch in the discriminator, so that none of them can be hidden; set it to \
                    \"group\" or \"none\", or remove [privacy]";
        Err(NnError::Config(line.into()))
    }

    /// Whether the networks are given the class of each image.
    pub fn is_conditional(&self) -> bool {
        match self {
            Self::Dcgan(dcgan) => dcgan.conditional,
            Self::Resnet(resnet) => resnet.conditional,
        }
    }
}

/// A network for images of one shape: all that is needed to build it from named tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Kind and sizes.
    pub config: NetworkConfig,
    /// `[channels, height, width]` of the images.
    pub image_shape: [usize; 3],
    /// Number of classes of a conditional network, 1..=256; `None` where the network is not conditional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<usize>,
}

impl Network {
    /// The network of `config`, which must not be conditional, for images of `image_shape`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn new(config: NetworkConfig, image_shape: [usize; 3]) -> Result<Self> {
        Self { config, image_shape, num_classes: None }.checked()
    }

    /// The network of `config` for images of `image_shape` in `num_classes` classes. A network that is not conditional
    /// ignores the number.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn of_classes(config: NetworkConfig, image_shape: [usize; 3], num_classes: usize) -> Result<Self> {
        let num_classes = config.is_conditional().then_some(num_classes);
        Self { config, image_shape, num_classes }.checked()
    }

    fn checked(self) -> Result<Self> {
        self.check().map(|()| self)
    }

    /// Checks a description that comes from a config or a file.
    ///
    /// # Errors
    /// [`NnError::Config`] when a size is out of bounds, the images do not fit the network, or `num_classes` is missing
    /// for a conditional network or given for one that is not.
    pub fn check(&self) -> Result<()> {
        match (self.config.is_conditional(), self.num_classes) {
            (true, None) => return Err(NnError::Config("a conditional network needs num_classes".into())),
            (false, Some(_)) => {
                return Err(NnError::Config("num_classes is for networks with conditional = true".into()));
            }
            (true, Some(classes)) if !(1..=MAX_CLASSES).contains(&classes) => {
                return Err(NnError::Config(format!("num_classes = {classes} must be from 1 to {MAX_CLASSES}")));
            }
            _ => (),
        }
        self.config.check()?;
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.check_images(self.image_shape),
            NetworkConfig::Resnet(_) => ResnetConfig::check_images(self.image_shape),
        }
    }

    /// Length of z.
    pub fn latent_dim(&self) -> usize {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.latent_dim,
            NetworkConfig::Resnet(resnet) => resnet.latent_dim,
        }
    }

    /// Values of one image.
    pub fn image_len(&self) -> usize {
        self.image_shape.iter().product()
    }

    /// The tensor that the networks compute with of `images` `[n, c, h, w]`: like every feature map it is
    /// `[n, channels / b, pixels, b]`, here with b channels.
    ///
    /// # Panics
    /// When the length is not a whole number of images.
    pub(crate) fn tensor_of_images(&self, images: Vec<f32>, on: &Placement) -> Tensor<4> {
        let [channels, height, width] = self.image_shape;
        let (n, pixels) = (images.len() / self.image_len(), height * width);
        let values = layers::transposed(images, channels, pixels);
        Tensor::from_data(TensorData::new(values, [n, 1, pixels, channels]), &on.burn)
    }

    /// The images `[n, c, h, w]` of a [tensor](Self::tensor_of_images).
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn images_of_tensor(&self, tensor: Tensor<4>) -> Result<Vec<f32>> {
        let [channels, height, width] = self.image_shape;
        Ok(layers::transposed(layers::read(tensor)?, height * width, channels))
    }

    /// Tensors of the generator.
    pub fn generator_tensors(&self) -> Vec<TensorSpec> {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.generator_tensors(self),
            NetworkConfig::Resnet(resnet) => resnet.generator_tensors(self),
        }
    }

    /// Tensors of the discriminator.
    pub fn discriminator_tensors(&self) -> Vec<TensorSpec> {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.discriminator_tensors(self),
            NetworkConfig::Resnet(resnet) => resnet.discriminator_tensors(self),
        }
    }

    fn generator_layers(&self) -> Vec<LayerCost> {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.generator_layers(self),
            NetworkConfig::Resnet(resnet) => resnet.generator_layers(self),
        }
    }

    fn discriminator_layers(&self) -> Vec<LayerCost> {
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => dcgan.discriminator_layers(self),
            NetworkConfig::Resnet(resnet) => resnet.discriminator_layers(self),
        }
    }

    pub(crate) fn generator(&self, params: &Params, on: &Placement) -> Result<Generator> {
        check(params, &self.generator_tensors())?;
        let params = &to_memory(params, &self.generator_tensors(), on.device.order())?;
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => Ok(Generator::Dcgan(dcgan::Generator::load(dcgan, self, params, on)?)),
            NetworkConfig::Resnet(resnet) => Ok(Generator::Resnet(resnet::Generator::load(resnet, self, params, on)?)),
        }
    }

    pub(crate) fn discriminator(&self, params: &Params, on: &Placement) -> Result<Discriminator> {
        check(params, &self.discriminator_tensors())?;
        let params = &to_memory(params, &self.discriminator_tensors(), on.device.order())?;
        match &self.config {
            NetworkConfig::Dcgan(dcgan) => {
                Ok(Discriminator::Dcgan(dcgan::Discriminator::load(dcgan, self, params, on)?))
            }
            NetworkConfig::Resnet(resnet) => {
                Ok(Discriminator::Resnet(resnet::Discriminator::load(resnet, self, params, on)?))
            }
        }
    }
}

/// A generator: z `[n, latent_dim]`, and labels `[n]` if it is conditional, ↦ [images](Network::tensor_of_images) in
/// [-1, 1].
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, moved once per step")]
pub(crate) enum Generator {
    Dcgan(dcgan::Generator),
    Resnet(resnet::Generator),
}

impl Generator {
    pub(crate) fn forward(&self, z: Tensor<2>, labels: Option<&Labels>, mode: Mode) -> Tensor<4> {
        match self {
            Self::Dcgan(generator) => generator.forward(z, labels, mode),
            Self::Resnet(generator) => generator.forward(z, labels, mode),
        }
    }
}

/// A discriminator: [images](Network::tensor_of_images), and labels `[n]` if it is conditional, ↦ logits `[n, 1]`,
/// positive for real.
#[derive(Module, Debug)]
pub(crate) enum Discriminator {
    Dcgan(dcgan::Discriminator),
    Resnet(resnet::Discriminator),
}

impl Discriminator {
    pub(crate) fn forward(&self, images: Tensor<4>, labels: Option<&Labels>, mode: Mode) -> Tensor<2> {
        match self {
            Self::Dcgan(discriminator) => discriminator.forward(images, labels, mode),
            Self::Resnet(discriminator) => discriminator.forward(images, labels, mode),
        }
    }
}
