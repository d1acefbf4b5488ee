//! A small residual classifier (He et al. 2016, arXiv:1512.03385) for images of any size, whose 64 penultimate values are
//! features that scores compare.
//!
//! Convolutions of 4 × 4 with stride 2 halve the image until a side is below 8, and each of their maps that has at most 16
//! pixels a side passes a residual block x ↦ x + conv2(relu(conv1(relu(x)))). The features are the means of the last map over its
//! pixels. There is no norm, so that the features of an image depend on nothing else: the second convolutions of the blocks start
//! small instead (Zhang et al. 2019, arXiv:1901.09321, start them at zero).

use burn::module::Module;
use burn::tensor::Tensor;

use super::layers::{Conv, Linear, layer_tensors};
use super::layout::Layout;
use super::spec::{Init, TensorSpec, check, to_memory};
use super::{MAX_CLASSES, MAX_PIXELS};
use crate::device::{Device, Placement};
use crate::fused::{self, Activation, Geometry, MapShape, map_of_images};
use crate::{NnError, Params, Result};

/// Length of a feature vector: channels of the last map.
pub const RESNET_FEATURES: usize = 64;
/// The smallest side of an image.
const MIN_SIDE: usize = 4;
/// Channels of the maps before the last two.
const FIRST_CHANNELS: usize = 16;
/// Largest side of a map that passes a residual block.
const BLOCK_SIDE: usize = 16;
/// What the initial weights of a block's second convolution are multiplied by.
const SMALL: f32 = 0.1;
const RELU: Activation = Activation::LeakyRelu { slope: 0.0 };

/// The sizes of a residual classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResnetShape {
    /// Shape `[c, h, w]` of the images.
    pub images: [usize; 3],
    /// Number of classes, at least 2.
    pub num_classes: usize,
}

impl ResnetShape {
    /// Checks that there is a classifier of these sizes.
    ///
    /// # Errors
    /// [`NnError::Config`], with the bounds.
    pub fn check(&self) -> Result<()> {
        let [channels, height, width] = self.images;
        let fits = |side: usize| (MIN_SIDE..=MAX_PIXELS).contains(&side);
        if matches!(channels, 1 | 3) && fits(height) && fits(width) && (2..=MAX_CLASSES).contains(&self.num_classes) {
            return Ok(());
        }
        Err(NnError::Config(format!(
            "a classifier of {channels} x {height} x {width} images in {} classes is not possible: it has 1 or 3 channels, sides \
             from {MIN_SIDE} to {MAX_PIXELS} and 2 to {MAX_CLASSES} classes",
            self.num_classes
        )))
    }

    /// The geometry of each stage's convolution, from the image to the last map.
    fn stages(&self) -> Vec<Geometry> {
        let [channels, height, width] = self.images;
        let mut input = MapShape { channels, height, width };
        let num_halvings = (height.min(width) / MIN_SIDE).ilog2() as usize;
        if num_halvings == 0 {
            return vec![Geometry::of_conv(input, RESNET_FEATURES, 3, 1, 1)];
        }
        let channels = |left: usize| (RESNET_FEATURES >> left).max(FIRST_CHANNELS);
        let stage = |left| {
            let geometry = Geometry::of_conv(input, channels(left), 4, 2, 1);
            input = geometry.output;
            geometry
        };
        (0..num_halvings).rev().map(stage).collect()
    }

    /// All tensors, with He's normal initialisation (He et al. 2015, arXiv:1502.01852).
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let stages = self.stages();
        let convs = stages.iter().enumerate().flat_map(|(i, stage)| conv_tensors(&format!("stage{i}"), stage, 1.0));
        let blocks = stages.iter().enumerate().filter(|(_, stage)| has_block(stage)).flat_map(|(i, stage)| {
            let geometry = in_block(stage.output);
            [("conv1", 1.0), ("conv2", SMALL)]
                .map(|(part, factor)| conv_tensors(&block_part(i, part), &geometry, factor))
        });
        let linear = Layout::Linear { inputs: None, outputs: None };
        let std = (1.0 / RESNET_FEATURES as f32).sqrt();
        let shape = vec![self.num_classes, RESNET_FEATURES];
        let fc = layer_tensors("fc", shape, Init::Normal { mean: 0.0, std }, linear, self.num_classes);
        convs.chain(blocks.flatten()).chain(fc).collect()
    }
}

fn has_block(stage: &Geometry) -> bool {
    stage.output.height.max(stage.output.width) <= BLOCK_SIDE
}

/// The geometry of both convolutions of a block.
fn in_block(map: MapShape) -> Geometry {
    Geometry::of_conv(map, map.channels, 3, 1, 1)
}

fn block_part(stage: usize, part: &str) -> String {
    format!("block{stage}.{part}")
}

fn conv_tensors(name: &str, geometry: &Geometry, factor: f32) -> Vec<TensorSpec> {
    let Geometry { input, output, kernel, .. } = *geometry;
    let std = factor * (2.0 / (input.channels * kernel * kernel) as f32).sqrt();
    let shape = vec![output.channels, input.channels, kernel, kernel];
    layer_tensors(name, shape, Init::Normal { mean: 0.0, std }, Layout::Window, output.channels).to_vec()
}

/// x ↦ x + conv2(relu(conv1(relu(x)))).
#[derive(Module, Debug)]
struct Block {
    conv1: Conv,
    conv2: Conv,
}

impl Block {
    fn forward(&self, x: Tensor<4>, device: Device) -> Tensor<4> {
        let h = self.conv1.conv(fused::relu(x.clone(), device), RELU);
        x + self.conv2.conv(h, Activation::Identity)
    }
}

#[derive(Module, Debug)]
pub(crate) struct ResnetClassifier {
    stage: Vec<Conv>,
    block: Vec<Option<Block>>,
    fc: Linear,
    #[module(skip)]
    device: Device,
}

impl ResnetClassifier {
    pub(crate) fn load(shape: &ResnetShape, params: &Params, on: &Placement) -> Result<Self> {
        shape.check()?;
        check(params, &shape.tensors())?;
        let params = &to_memory(params, &shape.tensors(), on.device.order())?;
        let stages = shape.stages();
        let stage = stages.iter().enumerate().map(|(i, stage)| Conv::load(*stage, params, &format!("stage{i}"), on));
        let block = |(i, stage): (usize, &Geometry)| {
            let conv = |part| Conv::load(in_block(stage.output), params, &block_part(i, part), on);
            has_block(stage).then(|| Ok(Block { conv1: conv("conv1")?, conv2: conv("conv2")? })).transpose()
        };
        Ok(Self {
            stage: stage.collect::<Result<_>>()?,
            block: stages.iter().enumerate().map(block).collect::<Result<_>>()?,
            fc: Linear::load(params, "fc", on)?,
            device: on.device,
        })
    }

    /// Images `[n, c, h, w]` ↦ features `[n, 64]`.
    pub(crate) fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = map_of_images(images);
        for (i, (stage, block)) in self.stage.iter().zip(&self.block).enumerate() {
            let x_in = if i == 0 { x } else { fused::relu(x, self.device) };
            x = stage.conv(x_in, Activation::Identity);
            if let Some(block) = block {
                x = block.forward(x, self.device);
            }
        }
        let [n, ..] = x.dims();
        fused::relu(x, self.device).mean_dim(2).reshape([n, RESNET_FEATURES])
    }

    /// Features `[n, 64]` ↦ logits `[n, classes]`.
    pub(crate) fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(images: [usize; 3]) -> Vec<[usize; 3]> {
        let stages = ResnetShape { images, num_classes: 10 }.stages();
        stages.iter().map(|stage| [stage.output.channels, stage.output.height, stage.output.width]).collect()
    }

    #[test]
    fn stages_halve_the_image_until_a_side_is_below_8() {
        assert_eq!(sides([1, 28, 28]), [[32, 14, 14], [64, 7, 7]]);
        assert_eq!(sides([3, 64, 64]), [[16, 32, 32], [16, 16, 16], [32, 8, 8], [64, 4, 4]]);
        assert_eq!(sides([3, 50, 100]), [[16, 25, 50], [32, 12, 25], [64, 6, 12]]);
        assert_eq!(sides([1, 4, 4]), [[64, 4, 4]]);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for (images, num_classes) in [([2, 28, 28], 10), ([1, 3, 28], 10), ([1, 28, 1025], 10), ([1, 28, 28], 1)] {
            let error = ResnetShape { images, num_classes }.check().unwrap_err().to_string();
            assert!(error.contains("is not possible: it has 1 or 3 channels"), "{error}");
        }
    }
}
