//! Layers as thin modules over Burn's operations, with PyTorch's field names and layouts.
//!
//! Faster kernels come below these `forward` functions; networks above do not change.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::activation::relu;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor, TensorData};

use crate::{Array, Params, Result};

/// x `[n, in]` ↦ x Wᵀ + b `[n, out]`; weight out × in.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    pub(crate) fn load(params: &Params, name: &str, device: &Device) -> Result<Self> {
        Ok(Self { weight: param(params, name, "weight", device)?, bias: param(params, name, "bias", device)? })
    }

    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze()
    }
}

/// Convolution; weight OIHW.
#[derive(Module, Debug)]
pub(crate) struct Conv {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl Conv {
    pub(crate) fn load(params: &Params, name: &str, device: &Device) -> Result<Self> {
        Ok(Self { weight: param(params, name, "weight", device)?, bias: param(params, name, "bias", device)? })
    }

    pub(crate) fn forward(&self, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        conv2d(x, self.weight.val(), Some(self.bias.val()), options)
    }
}

/// Transposed convolution; weight IOHW.
#[derive(Module, Debug)]
pub(crate) struct ConvTranspose {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl ConvTranspose {
    pub(crate) fn load(params: &Params, name: &str, device: &Device) -> Result<Self> {
        Ok(Self { weight: param(params, name, "weight", device)?, bias: param(params, name, "bias", device)? })
    }

    pub(crate) fn forward(&self, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let options = ConvTransposeOptions::new([stride; 2], [padding; 2], [0, 0], [1, 1], 1);
        conv_transpose2d(x, self.weight.val(), Some(self.bias.val()), options)
    }
}

/// x where it is positive, `slope` · x elsewhere.
///
/// Written with `relu`, which has a backward pass of its own: Burn's differentiable `leaky_relu` goes through masks that cost a
/// tenth of a training step.
pub(crate) fn leaky_relu<const D: usize>(x: Tensor<D>, slope: f64) -> Tensor<D> {
    relu(x.clone()) * (1.0 - slope) + x * slope
}

/// The tensor `layer.field` as a trainable parameter.
pub(crate) fn param<const D: usize>(
    params: &Params,
    layer: &str,
    field: &str,
    device: &Device,
) -> Result<Param<Tensor<D>>> {
    Ok(Param::from_tensor(tensor(params.get(&format!("{layer}.{field}"))?, device)))
}

/// An array on `device`.
pub(crate) fn tensor<const D: usize>(array: &Array, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.values.clone(), array.shape.clone()), device)
}

/// A tensor's values, row-major.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("the CPU backend computes in f32")
}

/// All tensors of `module` by dotted name: trainable ones and running statistics.
pub(crate) fn named_tensors<M: Module>(module: &M) -> Params {
    let mut names = Names { path: Vec::new(), params: Params::new() };
    // `valid` also brings running statistics up to date.
    module.valid().visit(&mut names);
    names.params
}

struct Names {
    path: Vec<String>,
    params: Params,
}

impl ModuleVisitor for Names {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        self.params.insert(self.path.join("."), Array::new(tensor.dims(), values(tensor)));
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        if is_named(container) {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        if is_named(container) {
            self.path.pop();
        }
    }
}

/// An enum's variant (which network, which norm) is no part of a tensor's name.
pub(crate) fn is_named(container: &str) -> bool {
    !container.starts_with("Enum:")
}
