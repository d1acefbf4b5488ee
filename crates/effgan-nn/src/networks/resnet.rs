//! The `ResNet` of SNGAN (Miyato et al. 2018, arXiv:1802.05957, appendix B.4; blocks of Gulrajani et al. 2017,
//! arXiv:1704.00028). The blocks of the generator, which has batch norm, double the sides of a map of 4 × 4 until it
//! has the size of the image. The blocks of the discriminator, which has spectral norm, halve the image to 8 × 8; two
//! more blocks and a sum over the pixels follow.
//!
//! A block is x ↦ shortcut(x) + conv2(act(conv1(act(x)))). One of the convolutions resamples. The shortcut is a 1 × 1
//! convolution that resamples too, or the identity where the shape stays the same.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::conditional::{ClassInput, Labels, of_classes};
use super::flop::LayerCost;
use super::layers::{Linear, layer_tensors, param};
use super::layout::Layout;
use super::mode::Mode;
use super::norm::{Norm, NormKind, norm_relu, norm_tensors, normed};
use super::resample::{Resample, Resampled};
use super::spec::{Init, TensorSpec};
use super::spectral_norm::{SpectralConv, SpectralLinear};
use super::{MAX_PIXELS, Network};
use crate::device::{Device, Placement};
use crate::fused::{self, Activation, MapShape, map_of_rows};
use crate::{NnError, Params, Result};

/// Side of the generator's first map.
const START: usize = 4;
/// Side of the discriminator's last map; it is 4 for images of 8 × 8.
const END: usize = 8;
/// Number of the discriminator's blocks after the last one that halves.
const LAST_BLOCKS: usize = 2;
const RELU: Activation = Activation::LeakyRelu { slope: 0.0 };

/// Sizes of a `ResNet`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResnetConfig {
    /// Length of z, 1..=4096.
    #[serde(default = "default_latent_dim")]
    pub latent_dim: usize,
    /// Channels of all feature maps, 1..=1024; 256 in the paper's generator and 128 in its discriminator.
    #[serde(default = "default_base_channels")]
    pub base_channels: usize,
    /// Normalisation in the generator; the discriminator has spectral norm.
    #[serde(default)]
    pub norm: NormKind,
    /// Whether the networks are given the class of each image.
    #[serde(default)]
    pub conditional: bool,
}

fn default_latent_dim() -> usize {
    128
}

fn default_base_channels() -> usize {
    64
}

impl Default for ResnetConfig {
    fn default() -> Self {
        let (latent_dim, base_channels) = (default_latent_dim(), default_base_channels());
        Self { latent_dim, base_channels, norm: NormKind::default(), conditional: false }
    }
}

/// The shape of a block.
struct BlockShape {
    name: String,
    input: MapShape,
    outputs: usize,
    resample: Resample,
}

impl BlockShape {
    fn has_shortcut(&self) -> bool {
        self.resample != Resample::Same || self.input.channels != self.outputs
    }

    /// `name.part`.
    fn of(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    /// Shapes of the weights of the first convolution, the second one and the shortcut.
    fn weights(&self) -> [[usize; 4]; 3] {
        let (inputs, outputs) = (self.input.channels, self.outputs);
        [[outputs, inputs, 3, 3], [outputs, outputs, 3, 3], [outputs, inputs, 1, 1]]
    }

    /// Multiply-adds of the convolutions of 3 × 3, which are before a mean and after a repetition, and of the shortcut, if
    /// there is one, on a map of `shortcut_pixels`.
    fn multiply_adds(&self, shortcut_pixels: usize) -> [Option<usize>; 3] {
        let pixels = if self.resample == Resample::Up { 4 * self.input.pixels() } else { self.input.pixels() };
        let [first, second, shortcut] = self.weights().map(|shape| shape.iter().product::<usize>());
        let shortcut = self.has_shortcut().then_some(shortcut * shortcut_pixels);
        [Some(first * pixels), Some(second * pixels), shortcut]
    }
}

impl ResnetConfig {
    /// Checks that images of this shape fit.
    pub(super) fn check_images([channels, height, width]: [usize; 3]) -> Result<()> {
        let side_fits = (2 * START..=MAX_PIXELS).contains(&height) && height.is_power_of_two();
        if matches!(channels, 1 | 3) && height == width && side_fits {
            return Ok(());
        }
        Err(NnError::Config(format!(
            "images of {channels} x {height} x {width} do not fit a resnet: 1 or 3 channels, and equal sides of 8, 16, 32, … \
             {MAX_PIXELS}; resize them with dataset.size, or use a dcgan"
        )))
    }

    fn map(&self, side: usize) -> MapShape {
        MapShape { channels: self.base_channels, height: side, width: side }
    }

    fn generator_blocks(&self, [_, side, _]: [usize; 3]) -> Vec<BlockShape> {
        let block = |i: usize| BlockShape {
            name: format!("block{i}"),
            input: self.map(START << i),
            outputs: self.base_channels,
            resample: Resample::Up,
        };
        (0..(side / START).ilog2() as usize).map(block).collect()
    }

    fn discriminator_blocks(&self, [channels, side, _]: [usize; 3]) -> Vec<BlockShape> {
        let halvings = ((side / END).ilog2() as usize).max(1);
        let block = |i: usize| {
            let input = self.map(side >> i.min(halvings));
            BlockShape {
                name: format!("block{i}"),
                input: if i == 0 { MapShape { channels, ..input } } else { input },
                outputs: self.base_channels,
                resample: if i < halvings { Resample::Down } else { Resample::Same },
            }
        };
        (0..halvings + LAST_BLOCKS).map(block).collect()
    }

    pub(super) fn generator_tensors(&self, network: &Network) -> Vec<TensorSpec> {
        let [channels, ..] = network.image_shape;
        let bottom = self.map(START);
        let classes = network.num_classes.map(|classes| ClassInput::tensors(classes, self.latent_dim));
        let mut tensors: Vec<TensorSpec> = classes.into_iter().collect();
        let layout = Layout::Linear { inputs: None, outputs: Some(bottom) };
        let shape = vec![bottom.len(), self.latent_dim];
        let init = glorot(&shape, 1.0);
        tensors.extend(layer_tensors("fc", shape, init, layout, bottom.len()));
        for block in self.generator_blocks(network.image_shape) {
            let [first, second, shortcut] = block.weights();
            tensors.extend(norm_tensors(self.norm, &block.of("norm1"), block.input.channels));
            tensors.extend(conv(&block.of("conv1"), first, RESIDUAL_GAIN));
            tensors.extend(norm_tensors(self.norm, &block.of("norm2"), block.outputs));
            tensors.extend(conv(&block.of("conv2"), second, RESIDUAL_GAIN));
            tensors.extend(conv(&block.of("shortcut"), shortcut, 1.0));
        }
        tensors.extend(norm_tensors(self.norm, "norm", self.base_channels));
        tensors.extend(conv("conv", [channels, self.base_channels, 3, 3], 1.0));
        tensors
    }

    pub(super) fn discriminator_tensors(&self, network: &Network) -> Vec<TensorSpec> {
        let mut tensors = Vec::new();
        for block in self.discriminator_blocks(network.image_shape) {
            let [first, second, shortcut] = block.weights();
            let spectral =
                |part, shape: [usize; 4], gain| SpectralConv::tensors(&block.of(part), shape, glorot(&shape, gain));
            tensors.extend(spectral("conv1", first, RESIDUAL_GAIN));
            tensors.extend(spectral("conv2", second, RESIDUAL_GAIN));
            if block.has_shortcut() {
                tensors.extend(spectral("shortcut", shortcut, 1.0));
            }
        }
        let linear = |name, outputs, bias| {
            let init = glorot(&[outputs, self.base_channels], 1.0);
            SpectralLinear::tensors(name, self.base_channels, outputs, bias, init)
        };
        tensors.extend(linear("fc", 1, true));
        tensors.extend(network.num_classes.into_iter().flat_map(|classes| linear("embed", classes, false)));
        tensors
    }

    pub(super) fn generator_layers(&self, network: &Network) -> Vec<LayerCost> {
        let [channels, side, _] = network.image_shape;
        // The vectors that z is multiplied by are trained.
        let fc = self.latent_dim * self.map(START).len();
        let fc = LayerCost { multiply_adds: fc, is_first: network.num_classes.is_none() };
        // A shortcut is computed before its result is repeated.
        let blocks = self.generator_blocks(network.image_shape).into_iter();
        let blocks = blocks.flat_map(|block| block.multiply_adds(block.input.pixels())).flatten();
        let to_image = 9 * self.base_channels * channels * side * side;
        [fc].into_iter().chain(blocks.chain([to_image]).map(LayerCost::inner)).collect()
    }

    pub(super) fn discriminator_layers(&self, network: &Network) -> Vec<LayerCost> {
        let blocks = self.discriminator_blocks(network.image_shape).into_iter().enumerate();
        let blocks = blocks.flat_map(|(i, block)| {
            // As in the authors' code, the first shortcut is after the mean, the others are before it.
            let pixels = block.input.pixels() / if i == 0 { 4 } else { 1 };
            let [first, second, shortcut] = block.multiply_adds(pixels);
            let reading = move |multiply_adds| LayerCost { multiply_adds, is_first: i == 0 };
            [first.map(reading), second.map(LayerCost::inner), shortcut.map(reading)]
        });
        let product = LayerCost::inner(self.base_channels);
        let last = [Some(product), network.num_classes.map(|_| product)];
        blocks.chain(last).flatten().collect()
    }
}

/// Gain of the convolutions in the blocks, as in the authors' code.
const RESIDUAL_GAIN: f32 = std::f32::consts::SQRT_2;

/// Normal initialisation with Glorot's variance (Glorot & Bengio 2010) for a weight of `shape`, which begins with
/// outputs and inputs.
fn glorot(shape: &[usize], gain: f32) -> Init {
    let taps: usize = shape[2..].iter().product();
    let std = gain * (2.0 / ((shape[0] + shape[1]) * taps) as f32).sqrt();
    Init::Normal { mean: 0.0, std }
}

fn conv(name: &str, shape: [usize; 4], gain: f32) -> Vec<TensorSpec> {
    layer_tensors(name, shape.to_vec(), glorot(&shape, gain), Layout::Window, shape[0]).to_vec()
}

/// A convolution, perhaps with resampling.
#[derive(Module, Debug)]
struct Conv {
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    how: Resampled,
}

impl Conv {
    fn load(how: Resampled, params: &Params, name: &str, on: &Placement) -> Result<Self> {
        Ok(Self { weight: param(params, name, "weight", on)?, bias: param(params, name, "bias", on)?, how })
    }

    fn forward(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        self.how.forward(x, self.weight.val(), self.bias.val(), activation)
    }
}

/// A block of the generator.
#[derive(Module, Debug)]
struct UpBlock {
    norm1: Option<Norm>,
    conv1: Conv,
    norm2: Option<Norm>,
    conv2: Conv,
    shortcut: Conv,
    /// The map that the shortcut's convolution writes, before its pixels are repeated.
    #[module(skip)]
    small: MapShape,
    #[module(skip)]
    device: Device,
}

impl UpBlock {
    fn load(block: &BlockShape, norm: NormKind, params: &Params, on: &Placement) -> Result<Self> {
        let up = Resampled::new(block.input, block.outputs, 3, Resample::Up, on.device);
        let output = up.output();
        let same = Resampled::new(output, block.outputs, 3, Resample::Same, on.device);
        let load = |part, how| Conv::load(how, params, &block.of(part), on);
        Ok(Self {
            norm1: Norm::load(norm, params, &block.of("norm1"), block.input, on)?,
            conv1: load("conv1", up)?,
            norm2: Norm::load(norm, params, &block.of("norm2"), output, on)?,
            conv2: load("conv2", same)?,
            shortcut: load("shortcut", Resampled::new(block.input, block.outputs, 1, Resample::Same, on.device))?,
            small: block.input.of_channels(block.outputs),
            device: on.device,
        })
    }

    fn forward(&self, x: Tensor<4>, mode: Mode) -> Tensor<4> {
        let h = norm_relu(self.norm1.as_ref(), x.clone(), mode);
        let h = normed(self.norm2.as_ref(), 0.0, mode, |activation| self.conv1.forward(h, activation));
        // The shortcut's kernel is one pixel: it comes before the pixels are repeated.
        let shortcut = self.shortcut.forward(x, Activation::Identity);
        fused::add_repeated(self.conv2.forward(h, Activation::Identity), shortcut, self.small, self.device)
    }
}

#[derive(Module, Debug)]
pub(crate) struct Generator {
    embed: Option<ClassInput>,
    fc: Linear,
    block: Vec<UpBlock>,
    norm: Option<Norm>,
    conv: Conv,
    /// The map that the first block reads.
    #[module(skip)]
    bottom: MapShape,
    #[module(skip)]
    device: Device,
}

impl Generator {
    pub(super) fn load(config: &ResnetConfig, network: &Network, params: &Params, on: &Placement) -> Result<Self> {
        let [channels, side, _] = network.image_shape;
        let blocks = config.generator_blocks(network.image_shape);
        let block = blocks.iter().map(|block| UpBlock::load(block, config.norm, params, on));
        let to_image = Resampled::new(config.map(side), channels, 3, Resample::Same, on.device);
        Ok(Self {
            embed: ClassInput::load(network.num_classes, params, on)?,
            fc: Linear::load(params, "fc", on)?,
            block: block.collect::<Result<_>>()?,
            norm: Norm::load(config.norm, params, "norm", config.map(side), on)?,
            conv: Conv::load(to_image, params, "conv", on)?,
            bottom: config.map(START),
            device: on.device,
        })
    }

    pub(super) fn forward(&self, z: Tensor<2>, labels: Option<&Labels>, mode: Mode) -> Tensor<4> {
        let z = of_classes(self.embed.as_ref(), z, labels);
        let x = map_of_rows(self.fc.forward(z), &self.bottom, self.device);
        let x = self.block.iter().fold(x, |x, block| block.forward(x, mode));
        let x = norm_relu(self.norm.as_ref(), x, mode);
        self.conv.forward(x, Activation::Tanh)
    }
}

/// A block of the discriminator.
#[derive(Module, Debug)]
struct DownBlock {
    conv1: SpectralConv,
    conv2: SpectralConv,
    shortcut: Option<SpectralConv>,
    /// The block's input.
    #[module(skip)]
    input: MapShape,
    #[module(skip)]
    resample: Resample,
    #[module(skip)]
    device: Device,
}

impl DownBlock {
    fn load(block: &BlockShape, params: &Params, on: &Placement) -> Result<Self> {
        let load = |part, input, kernel, resample| {
            let how = Resampled::new(input, block.outputs, kernel, resample, on.device);
            SpectralConv::load(how, params, &block.of(part), on)
        };
        let middle = MapShape { channels: block.outputs, ..block.input };
        let small = if block.resample == Resample::Down { block.input.halved() } else { block.input };
        let shortcut = block.has_shortcut().then(|| load("shortcut", small, 1, Resample::Same));
        Ok(Self {
            conv1: load("conv1", block.input, 3, Resample::Same)?,
            conv2: load("conv2", middle, 3, block.resample)?,
            shortcut: shortcut.transpose()?,
            input: block.input,
            resample: block.resample,
            device: on.device,
        })
    }

    /// `h` is act(x), or x itself in the first block.
    fn forward(&self, x: Tensor<4>, h: Tensor<4>, mode: Mode) -> Tensor<4> {
        let h = self.conv2.forward(self.conv1.forward(h, RELU, mode), Activation::Identity, mode);
        // The shortcut's kernel is one pixel: it comes after the mean over pixels.
        let x = if self.resample == Resample::Down { fused::mean_pixels(x, self.input, self.device) } else { x };
        match &self.shortcut {
            Some(shortcut) => h + shortcut.forward(x, Activation::Identity, mode),
            None => h + x,
        }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Discriminator {
    block: Vec<DownBlock>,
    fc: SpectralLinear,
    embed: Option<SpectralLinear>,
}

impl Discriminator {
    pub(super) fn load(config: &ResnetConfig, network: &Network, params: &Params, on: &Placement) -> Result<Self> {
        let blocks = config.discriminator_blocks(network.image_shape);
        let block = blocks.iter().map(|block| DownBlock::load(block, params, on)).collect::<Result<_>>()?;
        let linear = |name, bias| SpectralLinear::load(params, name, bias, on);
        Ok(Self {
            block,
            fc: linear("fc", true)?,
            embed: network.num_classes.map(|_| linear("embed", false)).transpose()?,
        })
    }

    pub(super) fn forward(&self, images: Tensor<4>, labels: Option<&Labels>, mode: Mode) -> Tensor<2> {
        let (first, others) = self.block.split_first().expect("a resnet has three blocks at least");
        // No activation before the first block: the image's pixels below 0 matter as much as those above.
        let x = first.forward(images.clone(), images, mode);
        let x = others.iter().fold(x, |x, block| block.forward(x.clone(), fused::relu(x, block.device), mode));
        let features: Tensor<2> = fused::relu(x, first.device).sum_dim(2).flatten(1, 3);
        let logits = self.fc.forward(features.clone(), mode);
        match &self.embed {
            Some(embed) => logits + embed.project(features, labels, mode),
            None => logits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_for_32_pixels_match_the_paper() {
        let config = ResnetConfig { base_channels: 128, ..ResnetConfig::default() };
        let sides = |blocks: Vec<BlockShape>| {
            blocks.iter().map(|block| (block.input.height, block.resample)).collect::<Vec<_>>()
        };
        let (up, down, same) = (Resample::Up, Resample::Down, Resample::Same);
        assert_eq!(sides(config.generator_blocks([3, 32, 32])), [(4, up), (8, up), (16, up)]);
        let discriminator = config.discriminator_blocks([3, 32, 32]);
        assert_eq!(sides(discriminator), [(32, down), (16, down), (8, same), (8, same)]);
        assert_eq!(sides(config.discriminator_blocks([1, 8, 8])), [(8, down), (4, same), (4, same)]);
    }

    #[test]
    fn images_that_do_not_fit_are_refused() {
        let error = |shape| ResnetConfig::check_images(shape).unwrap_err().to_string();
        for shape in [[1, 28, 28], [3, 32, 64], [2, 32, 32], [1, 4, 4], [1, 2048, 2048]] {
            assert!(error(shape).contains("do not fit a resnet: 1 or 3 channels"), "{shape:?}");
        }
    }
}
