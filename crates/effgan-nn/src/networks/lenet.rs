//! A small classifier, LeNet-5 (LeCun et al. 1998) with ReLU and max pooling, whose 84 penultimate values are the
//! features that scores compare.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;

use super::layers::{Conv, Linear, layer_tensors};
use super::layout::Layout;
use super::spec::{Init, TensorSpec, check, to_memory};
use crate::device::Placement;
use crate::fused::{Activation, Geometry, MapShape, images_of_map, map_of_images};
use crate::{Params, Result};

/// Length of a feature vector.
pub const LENET_FEATURES: usize = 84;
/// Number of classes.
pub const LENET_CLASSES: usize = 10;

/// Tensors of the classifier for 28 × 28 grey images, with He's normal initialisation (He et al. 2015,
/// arXiv:1502.01852).
pub fn lenet_tensors() -> Vec<TensorSpec> {
    let linear = Layout::Linear { inputs: None, outputs: None };
    [
        layer("conv1", vec![6, 1, 5, 5], Layout::Window),
        layer("conv2", vec![16, 6, 5, 5], Layout::Window),
        layer("fc1", vec![120, POOLED.len()], Layout::Linear { inputs: Some(POOLED), outputs: None }),
        layer("fc2", vec![LENET_FEATURES, 120], linear),
        layer("fc3", vec![LENET_CLASSES, LENET_FEATURES], linear),
    ]
    .concat()
}

fn layer(name: &str, shape: Vec<usize>, layout: Layout) -> Vec<TensorSpec> {
    let (outputs, fan_in) = (shape[0], shape[1..].iter().product::<usize>());
    let std = (2.0 / fan_in as f32).sqrt();
    layer_tensors(name, shape, Init::Normal { mean: 0.0, std }, layout, outputs).to_vec()
}

/// The image, and the map after both convolutions and poolings.
const IMAGE: MapShape = MapShape { channels: 1, height: 28, width: 28 };
const POOLED: MapShape = MapShape { channels: 16, height: 5, width: 5 };

#[derive(Module, Debug)]
pub(crate) struct LeNet {
    conv1: Conv,
    conv2: Conv,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl LeNet {
    pub(crate) fn load(params: &Params, on: &Placement) -> Result<Self> {
        check(params, &lenet_tensors())?;
        let params = &to_memory(params, &lenet_tensors(), on.device.order())?;
        let first = Geometry::of_conv(IMAGE, 6, 5, 1, 2);
        let second = Geometry::of_conv(halved(&first.output), 16, 5, 1, 0);
        Ok(Self {
            conv1: Conv::load(first, params, "conv1", on)?,
            conv2: Conv::load(second, params, "conv2", on)?,
            fc1: Linear::load(params, "fc1", on)?,
            fc2: Linear::load(params, "fc2", on)?,
            fc3: Linear::load(params, "fc3", on)?,
        })
    }

    /// Images `[n, 1, 28, 28]` ↦ features `[n, 84]`.
    pub(crate) fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let relu_after = Activation::LeakyRelu { slope: 0.0 };
        let x = self.conv1.conv(map_of_images(images), relu_after);
        let x = pooled(x, &self.conv1.geometry().output);
        let x = self.conv2.conv(x, relu_after);
        let x = pooled(x, &self.conv2.geometry().output);
        let x = relu(self.fc1.forward(x.flatten(1, 3)));
        relu(self.fc2.forward(x))
    }

    /// Features `[n, 84]` ↦ logits `[n, 10]`.
    pub(crate) fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc3.forward(features)
    }
}

fn halved(map: &MapShape) -> MapShape {
    MapShape { channels: map.channels, height: map.height / 2, width: map.width / 2 }
}

/// Max pooling of maps of shape `map` over 2 × 2 pixels.
fn pooled(x: Tensor<4>, map: &MapShape) -> Tensor<4> {
    let [n, blocks, _, block] = x.dims();
    let x = max_pool2d(images_of_map(x, map), MaxPoolOptions::new([2, 2]));
    x.reshape([n, blocks, block, halved(map).pixels()]).permute([0, 1, 3, 2])
}
