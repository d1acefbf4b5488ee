//! DCGAN (Radford, Metz, Chintala 2016, arXiv:1511.06434) with two stages: an image of h × w starts as h/4 × w/4.

use burn::module::Module;
use burn::tensor::activation::{relu, tanh};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::layers::{Conv, ConvTranspose, Linear, leaky_relu};
use super::norm::{Mode, Norm, NormKind, norm_tensors};
use super::spec::{Init, TensorSpec};
use crate::{NnError, Params, Result};

/// Slope of the discriminator's leaky ReLU below zero.
const SLOPE: f64 = 0.2;
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

    /// Values of the smallest feature map: `2 · base_channels` channels of h/4 × w/4.
    fn bottom_len(&self, [_, height, width]: [usize; 3]) -> usize {
        2 * self.base_channels * (height / 4) * (width / 4)
    }

    pub(super) fn generator_tensors(&self, shape: [usize; 3]) -> Vec<TensorSpec> {
        let (base, bottom) = (self.base_channels, self.bottom_len(shape));
        [
            layer("fc", vec![bottom, self.latent_dim], bottom),
            norm_tensors(self.norm, "norm0", 2 * base),
            layer("conv1", vec![2 * base, base, KERNEL, KERNEL], base),
            norm_tensors(self.norm, "norm1", base),
            layer("conv2", vec![base, shape[0], KERNEL, KERNEL], shape[0]),
        ]
        .concat()
    }

    pub(super) fn discriminator_tensors(&self, shape: [usize; 3]) -> Vec<TensorSpec> {
        let base = self.base_channels;
        [
            layer("conv1", vec![base, shape[0], KERNEL, KERNEL], base),
            layer("conv2", vec![2 * base, base, KERNEL, KERNEL], 2 * base),
            norm_tensors(self.norm, "norm2", 2 * base),
            layer("fc", vec![1, self.bottom_len(shape)], 1),
        ]
        .concat()
    }
}

/// Weight ~ N(0, 0.02) as DCGAN has it, bias 0.
fn layer(name: &str, shape: Vec<usize>, outputs: usize) -> Vec<TensorSpec> {
    let weight = TensorSpec::new(format!("{name}.weight"), shape, Init::Normal { mean: 0.0, std: 0.02 });
    vec![weight, TensorSpec::new(format!("{name}.bias"), [outputs], Init::Constant(0.0))]
}

#[derive(Module, Debug)]
pub(crate) struct Generator {
    fc: Linear,
    norm0: Option<Norm>,
    conv1: ConvTranspose,
    norm1: Option<Norm>,
    conv2: ConvTranspose,
    /// Channels, height and width of the smallest feature map.
    bottom: [usize; 3],
}

impl Generator {
    pub(super) fn load(config: &DcganConfig, shape: [usize; 3], params: &Params, device: &Device) -> Result<Self> {
        Ok(Self {
            fc: Linear::load(params, "fc", device)?,
            norm0: Norm::load(config.norm, params, "norm0", device)?,
            conv1: ConvTranspose::load(params, "conv1", device)?,
            norm1: Norm::load(config.norm, params, "norm1", device)?,
            conv2: ConvTranspose::load(params, "conv2", device)?,
            bottom: [2 * config.base_channels, shape[1] / 4, shape[2] / 4],
        })
    }

    pub(super) fn forward(&self, z: Tensor<2>, mode: Mode) -> Tensor<4> {
        let [channels, height, width] = self.bottom;
        let n = z.dims()[0];
        let x = self.fc.forward(z).reshape([n, channels, height, width]);
        let x = relu(normed(self.norm0.as_ref(), x, mode));
        let x = self.conv1.forward(x, STRIDE, PADDING);
        let x = relu(normed(self.norm1.as_ref(), x, mode));
        tanh(self.conv2.forward(x, STRIDE, PADDING))
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
    pub(super) fn load(config: &DcganConfig, params: &Params, device: &Device) -> Result<Self> {
        Ok(Self {
            conv1: Conv::load(params, "conv1", device)?,
            conv2: Conv::load(params, "conv2", device)?,
            norm2: Norm::load(config.norm, params, "norm2", device)?,
            fc: Linear::load(params, "fc", device)?,
        })
    }

    pub(super) fn forward(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        let x = leaky_relu(self.conv1.forward(images, STRIDE, PADDING), SLOPE);
        let x = self.conv2.forward(x, STRIDE, PADDING);
        let x = leaky_relu(normed(self.norm2.as_ref(), x, mode), SLOPE);
        self.fc.forward(x.flatten(1, 3))
    }
}

fn normed(norm: Option<&Norm>, x: Tensor<4>, mode: Mode) -> Tensor<4> {
    match norm {
        Some(norm) => norm.forward(x, mode),
        None => x,
    }
}
