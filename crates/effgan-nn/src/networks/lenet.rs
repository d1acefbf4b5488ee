//! A small classifier, LeNet-5 (LeCun et al. 1998) with ReLU and max pooling, whose 84 penultimate values are the features of
//! `fd_small`.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

use super::layers::{Conv, Linear};
use super::spec::{Init, TensorSpec, check};
use crate::{Params, Result};

/// Length of a feature vector.
pub const LENET_FEATURES: usize = 84;
/// Number of classes that it tells apart.
pub const LENET_CLASSES: usize = 10;

/// Tensors of the classifier for 28 × 28 grey images (first values: Kaiming's normal, arXiv:1502.01852).
pub fn lenet_tensors() -> Vec<TensorSpec> {
    [
        layer("conv1", vec![6, 1, 5, 5]),
        layer("conv2", vec![16, 6, 5, 5]),
        layer("fc1", vec![120, 16 * 5 * 5]),
        layer("fc2", vec![LENET_FEATURES, 120]),
        layer("fc3", vec![LENET_CLASSES, LENET_FEATURES]),
    ]
    .concat()
}

fn layer(name: &str, shape: Vec<usize>) -> Vec<TensorSpec> {
    let (outputs, fan_in) = (shape[0], shape[1..].iter().product::<usize>());
    let std = (2.0 / fan_in as f32).sqrt();
    let weight = TensorSpec::new(format!("{name}.weight"), shape, Init::Normal { mean: 0.0, std });
    vec![weight, TensorSpec::new(format!("{name}.bias"), [outputs], Init::Constant(0.0))]
}

#[derive(Module, Debug)]
pub(crate) struct LeNet {
    conv1: Conv,
    conv2: Conv,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl LeNet {
    pub(crate) fn load(params: &Params, device: &Device) -> Result<Self> {
        check(params, &lenet_tensors())?;
        Ok(Self {
            conv1: Conv::load(params, "conv1", device)?,
            conv2: Conv::load(params, "conv2", device)?,
            fc1: Linear::load(params, "fc1", device)?,
            fc2: Linear::load(params, "fc2", device)?,
            fc3: Linear::load(params, "fc3", device)?,
        })
    }

    /// Images `[n, 1, 28, 28]` ↦ features `[n, 84]`.
    pub(crate) fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let x = halved(relu(self.conv1.forward(images, 1, 2)));
        let x = halved(relu(self.conv2.forward(x, 1, 0)));
        let x = relu(self.fc1.forward(x.flatten(1, 3)));
        relu(self.fc2.forward(x))
    }

    /// Features `[n, 84]` ↦ logits `[n, 10]`.
    pub(crate) fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc3.forward(features)
    }
}

fn halved(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([2, 2]))
}
