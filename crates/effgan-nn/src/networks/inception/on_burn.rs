//! Inception by Burn's own operations, for devices without kernels.

use std::collections::BTreeMap;

use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, TensorData};
use effgan_kernels::inference::{Pooling, Window};

use super::{Block, Folded, INCEPTION_SIDE, Layer};
use crate::Result;
use crate::device::Placement;
use crate::networks::layers;

/// The weights of all convolutions on a device.
pub(super) struct OnBurn {
    convolutions: BTreeMap<String, Convolution>,
    on: Placement,
}

struct Convolution {
    /// OIHW, with the strides of OHWI.
    weight: Tensor<4>,
    bias: Tensor<1>,
}

impl OnBurn {
    pub(super) fn new(on: Placement) -> Self {
        Self { convolutions: BTreeMap::new(), on }
    }

    pub(super) fn insert(&mut self, name: &str, folded: Folded) {
        let Folded { window: Window { size: [height, width], .. }, inputs, weight, bias } = folded;
        let outputs = bias.len();
        let weight = layers::transposed(weight, inputs, height * width);
        let weight = Tensor::<4>::from_data(TensorData::new(weight, [outputs, height, width, inputs]), &self.on.burn);
        let bias = Tensor::from_data(TensorData::new(bias, [outputs]), &self.on.burn);
        self.convolutions.insert(name.to_owned(), Convolution { weight: weight.permute([0, 3, 1, 2]), bias });
    }

    /// Features `[n, 2048]` of `images` `[n, 3, 299, 299]`.
    pub(super) fn features(&self, blocks: &[Block], images: &[f32]) -> Result<Vec<f32>> {
        let n = images.len() / (3 * INCEPTION_SIDE * INCEPTION_SIDE);
        let images = TensorData::new(images.to_vec(), [n, 3, INCEPTION_SIDE, INCEPTION_SIDE]);
        let images = Tensor::<4>::from_data(images, &self.on.burn);
        let maps = blocks.iter().fold(images, |maps, block| self.run_block(block, &maps));
        layers::read(maps.mean_dim(2).mean_dim(3))
    }

    fn run_block(&self, block: &Block, from: &Tensor<4>) -> Tensor<4> {
        let ends = block.iter().flat_map(|branch| {
            let inner = branch.path.iter().fold(from.clone(), |maps, layer| self.run(layer, maps));
            branch.ends.iter().map(move |layer| self.run(layer, inner.clone()))
        });
        Tensor::cat(ends.collect(), 1)
    }

    fn run(&self, layer: &Layer, maps: Tensor<4>) -> Tensor<4> {
        match layer {
            Layer::Conv { name, window: Window { stride, padding, .. }, .. } => {
                let Convolution { weight, bias } = &self.convolutions[name];
                let options = ConvOptions::new([*stride; 2], *padding, [1, 1], 1);
                relu(conv2d(maps, weight.clone(), Some(bias.clone()), options))
            }
            Layer::Pool(Pooling::Max, Window { size, stride, padding }) => {
                max_pool2d(maps, MaxPoolOptions::new(*size).with_stride([*stride; 2]).with_padding(*padding))
            }
            Layer::Pool(Pooling::Average, Window { size, stride, padding }) => {
                let options = AvgPoolOptions::new(*size).with_stride([*stride; 2]).with_padding(*padding);
                avg_pool2d(maps, options.with_count_include_pad(false))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{INCEPTION_FEATURES, Inception, blocks, each_conv, folded, inception_tensors};
    use super::*;
    use crate::{Array, Device, Params, Purpose, Streams};

    /// Weights that keep the size of what they multiply (He et al. 2015).
    fn weights() -> Params {
        let tensor = |(i, spec): (usize, crate::networks::TensorSpec)| {
            let n: usize = spec.shape.iter().product();
            let values = match spec.name.rsplit_once('.').unwrap().1 {
                "weight" if spec.shape.len() == 4 => {
                    let scale = (2.0 / (n / spec.shape[0]) as f32).sqrt();
                    let normal = Streams::of_run(1).normal(Purpose::Init, i as u64, n);
                    normal.into_iter().map(|value| scale * value).collect()
                }
                "weight" | "running_var" => vec![1.0; n],
                _ => vec![0.1; n],
            };
            (spec.name, Array::new(spec.shape, values))
        };
        inception_tensors().into_iter().enumerate().map(tensor).collect()
    }

    #[test]
    fn the_features_are_those_of_the_kernels() {
        let (params, device) = (weights(), Device::of_tests());
        let mut network = OnBurn::new(device.for_inference());
        each_conv(|name, channels, window| {
            network.insert(name, folded(&params, name, channels, window)?);
            Ok(())
        })
        .unwrap();
        let image = Streams::of_run(2).normal(Purpose::Latent, 0, 3 * INCEPTION_SIDE * INCEPTION_SIDE);
        let ours = network.features(&blocks(), &image).unwrap();
        let theirs = Inception::new(params, Device::cpu().unwrap()).unwrap().features(&image).unwrap();
        assert_eq!((ours.len(), theirs.len()), (INCEPTION_FEATURES, INCEPTION_FEATURES));
        let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let off = ours.iter().zip(&theirs).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
        // f32 sums in another order, through some forty layers; the scores of both must agree to 1e-3.
        assert!(largest > 0.1 && off < 1e-4 * largest, "features up to {largest} are off by {off}");
    }
}
