//! DCGAN (Radford, Metz, Chintala 2016, arXiv:1511.06434) with two stages: an image of h × w starts as h/4 × w/4.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::layers::{Conv, Linear, images_of_map, layer_tensors, map_of_images};
use super::layout::Layout;
use super::norm::{Mode, Norm, NormKind, norm_tensors};
use super::spec::{Init, TensorSpec};
use crate::fused::{Activation, Geometry, MapShape, Precision};
use crate::{NnError, Params, Result};

/// Slope of the discriminator's leaky ReLU below zero.
const SLOPE: f32 = 0.2;
/// Pixels a side; a bound for files that come from outside.
const MOST_PIXELS: usize = 1024;
const KERNEL: usize = 4;
const STRIDE: usize = 2;
const PADDING: usize = 1;

/// Sizes of a DCGAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DcganConfig {
    /// Length of z, 1..=4096.
    #[serde(default = "default_latent_dim")]
    pub latent_dim: usize,
    /// Channels of the layer next to the image; the one before has twice as many. 1..=1024.
    #[serde(default = "default_base_channels")]
    pub base_channels: usize,
    /// Normalisation between the layers.
    #[serde(default)]
    pub norm: NormKind,
}

fn default_latent_dim() -> usize {
    100
}

fn default_base_channels() -> usize {
    64
}

impl DcganConfig {
    pub(super) fn check(&self, [channels, height, width]: [usize; 3]) -> Result<()> {
        let bounds = [("latent_dim", self.latent_dim, 4096), ("base_channels", self.base_channels, 1024)];
        if let Some((key, value, most)) = bounds.into_iter().find(|&(_, value, most)| value == 0 || value > most) {
            return Err(NnError::Config(format!("network.{key} = {value} is outside 1..={most}")));
        }
        let fits = |side: usize| (4..=MOST_PIXELS).contains(&side) && side.is_multiple_of(4);
        if matches!(channels, 1 | 3) && fits(height) && fits(width) {
            return Ok(());
        }
        Err(NnError::Config(format!(
            "images of {channels} x {height} x {width} do not fit a dcgan: 1 or 3 channels, sides that are multiples of 4 and \
             at most {MOST_PIXELS}"
        )))
    }

    /// The image, the feature map next to it, and the smallest: half the side each, twice the channels from the second
    /// on.
    fn maps(&self, [channels, height, width]: [usize; 3]) -> [MapShape; 3] {
        let map = |channels, part| MapShape { channels, height: height / part, width: width / part };
        [map(channels, 1), map(self.base_channels, 2), map(2 * self.base_channels, 4)]
    }

    pub(super) fn generator_tensors(&self, shape: [usize; 3]) -> Vec<TensorSpec> {
        let [image, middle, bottom] = self.maps(shape);
        [
            linear("fc", self.latent_dim, bottom.len(), Layout::Linear { inputs: None, outputs: Some(bottom) }),
            norm_tensors(self.norm, "norm0", bottom.channels),
            conv("conv1", bottom, middle, middle.channels),
            norm_tensors(self.norm, "norm1", middle.channels),
            conv("conv2", middle, image, image.channels),
        ]
        .concat()
    }

    pub(super) fn discriminator_tensors(&self, shape: [usize; 3]) -> Vec<TensorSpec> {
        let [image, middle, bottom] = self.maps(shape);
        [
            conv("conv1", middle, image, middle.channels),
            conv("conv2", bottom, middle, bottom.channels),
            norm_tensors(self.norm, "norm2", bottom.channels),
            linear("fc", bottom.len(), 1, Layout::Linear { inputs: Some(bottom), outputs: None }),
        ]
        .concat()
    }
}

/// Weight ~ N(0, 0.02) as DCGAN has it, bias 0.
const INIT: Init = Init::Normal { mean: 0.0, std: 0.02 };

fn linear(name: &str, inputs: usize, outputs: usize, layout: Layout) -> Vec<TensorSpec> {
    layer_tensors(name, vec![outputs, inputs], INIT, layout, outputs).to_vec()
}

/// Tensors of the link between two maps, in either direction.
fn conv(name: &str, small: MapShape, big: MapShape, outputs: usize) -> Vec<TensorSpec> {
    layer_tensors(name, vec![small.channels, big.channels, KERNEL, KERNEL], INIT, Layout::Window, outputs).to_vec()
}

fn link(big: MapShape, small: MapShape) -> Geometry {
    Geometry::of_conv(big, small.channels, KERNEL, STRIDE, PADDING)
}

#[derive(Module, Debug)]
pub(crate) struct Generator {
    fc: Linear,
    norm0: Option<Norm>,
    conv1: Conv,
    norm1: Option<Norm>,
    conv2: Conv,
    #[module(skip)]
    maps: [MapShape; 3],
}

impl Generator {
    pub(super) fn load(config: &DcganConfig, shape: [usize; 3], params: &Params, device: &Device) -> Result<Self> {
        let maps @ [image, middle, bottom] = config.maps(shape);
        Ok(Self {
            fc: Linear::load(params, "fc", device)?,
            norm0: Norm::load(config.norm, params, "norm0", bottom, device)?,
            conv1: Conv::load(link(middle, bottom), params, "conv1", device)?,
            norm1: Norm::load(config.norm, params, "norm1", middle, device)?,
            conv2: Conv::load(link(image, middle), params, "conv2", device)?,
            maps,
        })
    }

    pub(super) fn with_precision(self, precision: Precision) -> Self {
        Self { conv1: self.conv1.with_precision(precision), conv2: self.conv2.with_precision(precision), ..self }
    }

    pub(super) fn forward(&self, z: Tensor<2>, mode: Mode) -> Tensor<4> {
        let [image, _, bottom] = &self.maps;
        let (n, block) = (z.dims()[0], bottom.block());
        let x = self.fc.forward(z).reshape([n, bottom.channels / block, bottom.pixels(), block]);
        let x = match &self.norm0 {
            Some(norm) => norm.forward(x, mode, 0.0),
            None => relu(x),
        };
        let x = normed(self.norm1.as_ref(), 0.0, mode, |activation| self.conv1.up(x, activation));
        images_of_map(self.conv2.up(x, Activation::Tanh), image)
    }
}

#[derive(Module, Debug)]
pub(crate) struct Discriminator {
    conv1: Conv,
    conv2: Conv,
    norm2: Option<Norm>,
    fc: Linear,
}

impl Discriminator {
    pub(super) fn load(config: &DcganConfig, shape: [usize; 3], params: &Params, device: &Device) -> Result<Self> {
        let [image, middle, bottom] = config.maps(shape);
        Ok(Self {
            conv1: Conv::load(link(image, middle), params, "conv1", device)?,
            conv2: Conv::load(link(middle, bottom), params, "conv2", device)?,
            norm2: Norm::load(config.norm, params, "norm2", bottom, device)?,
            fc: Linear::load(params, "fc", device)?,
        })
    }

    pub(super) fn with_precision(self, precision: Precision) -> Self {
        Self { conv1: self.conv1.with_precision(precision), conv2: self.conv2.with_precision(precision), ..self }
    }

    pub(super) fn forward(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        let x = self.conv1.down(map_of_images(images), Activation::LeakyRelu { slope: SLOPE });
        let x = normed(self.norm2.as_ref(), SLOPE, mode, |activation| self.conv2.down(x, activation));
        self.fc.forward(x.flatten(1, 3))
    }
}

/// A layer, its norm and a leaky ReLU: fused with the norm, or with the layer where there is no norm.
fn normed(norm: Option<&Norm>, slope: f32, mode: Mode, layer: impl FnOnce(Activation) -> Tensor<4>) -> Tensor<4> {
    match norm {
        Some(norm) => norm.forward(layer(Activation::Identity), mode, slope),
        None => layer(Activation::LeakyRelu { slope }),
    }
}
