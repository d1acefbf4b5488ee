//! DCGAN (Radford, Metz, Chintala 2016, arXiv:1511.06434): a generator whose stages each double the sides of a map,
//! from 4 × 4 (7 × 7 for images of 28 × 28) to the image, and a discriminator whose stages halve them.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::conditional::{ClassInput, Labels, Projection, of_classes};
use super::flop::LayerCost;
use super::layers::{Conv, Linear, layer_tensors};
use super::layout::Layout;
use super::mode::Mode;
use super::norm::{Norm, NormKind, norm_relu, norm_tensors, normed};
use super::spec::{Init, TensorSpec};
use super::{MAX_PIXELS, Network};
use crate::device::{Device, Placement};
use crate::fused::{Activation, Geometry, MapShape, map_of_rows};
use crate::{NnError, Params, Result};

/// Slope of the discriminator's leaky ReLU below zero.
const SLOPE: f32 = 0.2;
const KERNEL: usize = 4;
/// Maximum number of channels of the innermost map, so that the weights of a layer are at most 2 GB: configs may come from
/// strangers.
const MAX_CHANNELS: usize = 8192;
const STRIDE: usize = 2;
const PADDING: usize = 1;

/// Sizes of a DCGAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DcganConfig {
    /// Length of z, 1..=4096.
    #[serde(default = "default_latent_dim")]
    pub latent_dim: usize,
    /// Channels of the feature map next to the image, 1..=1024; each further one has twice as many.
    #[serde(default = "default_base_channels")]
    pub base_channels: usize,
    /// Normalisation between the layers.
    #[serde(default)]
    pub norm: NormKind,
    /// Whether the networks are given the class of each image.
    #[serde(default)]
    pub conditional: bool,
}

impl Default for DcganConfig {
    fn default() -> Self {
        let (latent_dim, base_channels) = (default_latent_dim(), default_base_channels());
        Self { latent_dim, base_channels, norm: NormKind::default(), conditional: false }
    }
}

fn default_latent_dim() -> usize {
    100
}

fn default_base_channels() -> usize {
    64
}

impl DcganConfig {
    /// Checks that images of this shape fit, and the number of channels, which doubles until their map is small enough.
    pub(super) fn check_images(&self, [channels, height, width]: [usize; 3]) -> Result<()> {
        let fits = |side: usize| (4..=MAX_PIXELS).contains(&side) && side.is_multiple_of(4);
        if matches!(channels, 1 | 3) && fits(height) && fits(width) {
            return self.check_channels(height, width);
        }
        Err(NnError::Config(format!(
            "images of {channels} x {height} x {width} do not fit a dcgan: 1 or 3 channels, sides that are multiples of 4 and \
             at most {MAX_PIXELS}"
        )))
    }

    /// Checks the channels of the last stage, since they double with each stage.
    fn check_channels(&self, height: usize, width: usize) -> Result<()> {
        let channels = self.base_channels << (stages(height, width) - 1);
        if channels <= MAX_CHANNELS {
            return Ok(());
        }
        Err(NnError::Config(format!(
            "network.base_channels = {} makes {channels} channels in the last stage of {height} x {width} images, more than \
             {MAX_CHANNELS}; lower it",
            self.base_channels
        )))
    }

    /// The image and the feature map of each stage, which has half the sides and, from the second on, twice the
    /// channels.
    fn maps(&self, [channels, height, width]: [usize; 3]) -> Vec<MapShape> {
        let map = |stage: usize| {
            let channels = if stage == 0 { channels } else { self.base_channels << (stage - 1) };
            MapShape { channels, height: height >> stage, width: width >> stage }
        };
        (0..=stages(height, width)).map(map).collect()
    }

    pub(super) fn generator_tensors(&self, network: &Network) -> Vec<TensorSpec> {
        let maps = self.maps(network.image_shape);
        let bottom = maps[maps.len() - 1];
        let classes = network.num_classes.map(|classes| ClassInput::tensors(classes, self.latent_dim));
        let mut tensors: Vec<TensorSpec> = classes.into_iter().collect();
        tensors.extend(linear(
            "fc",
            self.latent_dim,
            bottom.len(),
            Layout::Linear { inputs: None, outputs: Some(bottom) },
        ));
        for (i, maps) in maps.windows(2).rev().enumerate() {
            tensors.extend(norm_tensors(self.norm, &format!("norm{i}"), maps[1].channels));
            tensors.extend(conv(&format!("conv{}", i + 1), maps[0], maps[1], maps[0].channels));
        }
        tensors
    }

    pub(super) fn discriminator_tensors(&self, network: &Network) -> Vec<TensorSpec> {
        let maps = self.maps(network.image_shape);
        let bottom = maps[maps.len() - 1];
        let mut tensors = Vec::new();
        for (i, maps) in (1..).zip(maps.windows(2)) {
            tensors.extend(conv(&format!("conv{i}"), maps[0], maps[1], maps[1].channels));
            let norm = if i == 1 { NormKind::None } else { self.norm };
            tensors.extend(norm_tensors(norm, &format!("norm{i}"), maps[1].channels));
        }
        tensors.extend(linear("fc", bottom.len(), 1, Layout::Linear { inputs: Some(bottom), outputs: None }));
        tensors.extend(network.num_classes.map(|classes| Projection::tensors(classes, bottom, INIT)));
        tensors
    }

    pub(super) fn generator_layers(&self, network: &Network) -> Vec<LayerCost> {
        let maps = self.maps(network.image_shape);
        let convs = maps.windows(2).map(|maps| LayerCost::inner(geometry(maps[0], maps[1]).multiply_adds()));
        // The vectors that z is multiplied by are trained.
        let fc = self.latent_dim * maps[maps.len() - 1].len();
        let fc = LayerCost { multiply_adds: fc, is_first: network.num_classes.is_none() };
        convs.chain([fc]).collect()
    }

    pub(super) fn discriminator_layers(&self, network: &Network) -> Vec<LayerCost> {
        let maps = self.maps(network.image_shape);
        let conv = |(i, maps): (usize, &[MapShape])| {
            let multiply_adds = geometry(maps[0], maps[1]).multiply_adds();
            LayerCost { multiply_adds, is_first: i == 0 }
        };
        let product = LayerCost::inner(maps[maps.len() - 1].len());
        let last = [Some(product), network.num_classes.map(|_| product)];
        maps.windows(2).enumerate().map(conv).chain(last.into_iter().flatten()).collect()
    }
}

/// Number of stages: two, and more as long as the sides stay even and at least 4. A side of 28 has 2 (down to 7), 32
/// has 3 and 64 has 4 (down to 4); 1024, the longest side, has 8.
fn stages(height: usize, width: usize) -> usize {
    let halves = |side: usize, stages: usize| (side >> stages).is_multiple_of(2) && side >> (stages + 1) >= 4;
    2 + (2..8).take_while(|&stages| halves(height, stages) && halves(width, stages)).count()
}

/// Weights ~ N(0, 0.02²), as in the paper.
const INIT: Init = Init::Normal { mean: 0.0, std: 0.02 };

fn linear(name: &str, inputs: usize, outputs: usize, layout: Layout) -> Vec<TensorSpec> {
    layer_tensors(name, vec![outputs, inputs], INIT, layout, outputs).to_vec()
}

/// Tensors of the convolution of `input` into `output`, or of its transpose; `outputs` are the channels that the layer
/// writes.
fn conv(name: &str, input: MapShape, output: MapShape, outputs: usize) -> Vec<TensorSpec> {
    layer_tensors(name, vec![output.channels, input.channels, KERNEL, KERNEL], INIT, Layout::Window, outputs).to_vec()
}

fn geometry(input: MapShape, output: MapShape) -> Geometry {
    Geometry::of_conv(input, output.channels, KERNEL, STRIDE, PADDING)
}

#[derive(Module, Debug)]
pub(crate) struct Generator {
    embed: Option<ClassInput>,
    fc: Linear,
    /// norm0, norm1, …; each comes before the convolution of the next number.
    norm: Vec<Option<Norm>>,
    /// conv1, conv2, …; place 0 is empty.
    conv: Vec<Option<Conv>>,
    /// The map that the first convolution reads.
    #[module(skip)]
    bottom: MapShape,
    #[module(skip)]
    device: Device,
}

impl Generator {
    pub(super) fn load(config: &DcganConfig, network: &Network, params: &Params, on: &Placement) -> Result<Self> {
        let maps = config.maps(network.image_shape);
        let (mut norm, mut conv) = (Vec::new(), vec![None]);
        for (i, maps) in maps.windows(2).rev().enumerate() {
            norm.push(Norm::load(config.norm, params, &format!("norm{i}"), maps[1], on)?);
            conv.push(Some(Conv::load(geometry(maps[0], maps[1]), params, &format!("conv{}", i + 1), on)?));
        }
        Ok(Self {
            embed: ClassInput::load(network.num_classes, params, on)?,
            fc: Linear::load(params, "fc", on)?,
            norm,
            conv,
            bottom: maps[maps.len() - 1],
            device: on.device,
        })
    }

    pub(super) fn forward(&self, z: Tensor<2>, labels: Option<&Labels>, mode: Mode) -> Tensor<4> {
        let bottom = &self.bottom;
        let z = of_classes(self.embed.as_ref(), z, labels);
        let x = map_of_rows(self.fc.forward(z), bottom, self.device);
        let x = norm_relu(self.norm[0].as_ref(), x, mode);
        let mut layers: Vec<&Conv> = self.conv.iter().flatten().collect();
        let to_image = layers.pop().expect("a dcgan has two stages at least");
        let x = layers.into_iter().zip(&self.norm[1..]).fold(x, |x, (layer, norm)| {
            normed(norm.as_ref(), 0.0, mode, |activation| layer.conv_transpose(x, activation))
        });
        to_image.conv_transpose(x, Activation::Tanh)
    }
}

#[derive(Module, Debug)]
pub(crate) struct Discriminator {
    /// conv1, conv2, …; place 0 is empty.
    conv: Vec<Option<Conv>>,
    /// norm2, norm3, …; each comes after the convolution of its number. The first two places are empty.
    norm: Vec<Option<Norm>>,
    fc: Linear,
    embed: Option<Projection>,
}

impl Discriminator {
    pub(super) fn load(config: &DcganConfig, network: &Network, params: &Params, on: &Placement) -> Result<Self> {
        let (mut conv, mut norm) = (vec![None], vec![None]);
        for (i, maps) in (1..).zip(config.maps(network.image_shape).windows(2)) {
            conv.push(Some(Conv::load(geometry(maps[0], maps[1]), params, &format!("conv{i}"), on)?));
            let kind = if i == 1 { NormKind::None } else { config.norm };
            norm.push(Norm::load(kind, params, &format!("norm{i}"), maps[1], on)?);
        }
        let fc = Linear::load(params, "fc", on)?;
        Ok(Self { conv, norm, fc, embed: Projection::load(network.num_classes, params, on)? })
    }

    pub(super) fn forward(&self, images: Tensor<4>, labels: Option<&Labels>, mode: Mode) -> Tensor<2> {
        let layers = self.conv.iter().zip(&self.norm).filter_map(|(layer, norm)| Some((layer.as_ref()?, norm)));
        let x = layers.fold(images, |x, (layer, norm)| {
            normed(norm.as_ref(), SLOPE, mode, |activation| layer.conv_in(mode, x, activation))
        });
        let features = x.flatten(1, 3);
        let logits = self.fc.forward_in(mode, features.clone());
        match &self.embed {
            Some(embed) => logits + embed.forward(features, labels, mode),
            None => logits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_end_at_a_side_of_4_or_an_odd_one() {
        let sides = [4, 8, 12, 16, 20, 28, 32, 40, 48, 64, 128, 1024];
        assert_eq!(sides.map(|side| stages(side, side)), [2, 2, 2, 2, 2, 2, 3, 3, 3, 4, 5, 8]);
        assert_eq!(stages(64, 28), 2);
    }

    #[test]
    fn a_network_of_too_many_channels_is_refused() {
        let config = DcganConfig { base_channels: 1024, ..DcganConfig::default() };
        assert!(config.check_images([3, 64, 64]).is_ok());
        assert_eq!(
            config.check_images([3, 256, 256]).unwrap_err().to_string(),
            "network.base_channels = 1024 makes 32768 channels in the last stage of 256 x 256 images, more than 8192; lower it"
        );
    }

    #[test]
    fn maps_of_32_and_64_pixels_are_those_of_the_paper() {
        let config = DcganConfig { base_channels: 128, ..DcganConfig::default() };
        let maps = |side| config.maps([3, side, side]).iter().map(|map| (map.channels, map.height)).collect::<Vec<_>>();
        assert_eq!(maps(64), [(3, 64), (128, 32), (256, 16), (512, 8), (1024, 4)]);
        assert_eq!(maps(32), [(3, 32), (128, 16), (256, 8), (512, 4)]);
    }
}
