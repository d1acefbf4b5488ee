//! Layers as thin modules over the [fused operations](crate::fused), with PyTorch's field names and the kernels'
//! layouts.
//!
//! Not `burn-nn`'s: those would need adapters for PyTorch's names and linear layout, their running variance is biased,
//! and their mode depends on the device instead of an explicit [`Mode`](super::Mode).

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, Transaction};

use super::Mode;
use super::layout::{Layout, Order};
use super::spec::{Init, TensorSpec, is_running_statistic, to_files};
use crate::device::{self, Device, Placement};
use crate::fused::{self, Activation, Convolution, Geometry, Side};
use crate::{Array, Params, Result};

/// x `[n, in]` ↦ x W + b `[n, out]`; weight in × out.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    device: Device,
}

impl Linear {
    pub(crate) fn load(params: &Params, name: &str, on: &Placement) -> Result<Self> {
        Ok(Self {
            weight: param(params, name, "weight", on)?,
            bias: param(params, name, "bias", on)?,
            device: on.device,
        })
    }

    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        fused::linear(x, self.weight.val(), self.bias.val(), self.device)
    }

    /// [`forward`](Self::forward) in a discriminator, whose `mode` may be that of single examples.
    pub(crate) fn forward_in(&self, mode: Mode, x: Tensor<2>) -> Tensor<2> {
        linear(mode, x, self.weight.val(), self.bias.val(), self.device)
    }
}

/// x `weights` + `bias` in a discriminator, whose `mode` may be that of single examples.
pub(crate) fn linear(mode: Mode, x: Tensor<2>, weights: Tensor<2>, bias: Tensor<1>, device: Device) -> Tensor<2> {
    match mode {
        Mode::PerExample(examples) => examples.linear(x, &weights, bias, device),
        _ => fused::linear(x, weights, bias, device),
    }
}

/// A convolution or a transposed convolution, whose weight is a [window](Layout::Window) of the geometry.
#[derive(Module, Debug)]
pub(crate) struct Conv {
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    geometry: Geometry,
    #[module(skip)]
    device: Device,
}

impl Conv {
    pub(crate) fn load(geometry: Geometry, params: &Params, name: &str, on: &Placement) -> Result<Self> {
        Ok(Self {
            weight: param(params, name, "weight", on)?,
            bias: param(params, name, "bias", on)?,
            geometry,
            device: on.device,
        })
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// act(convolution of `x` + bias).
    pub(crate) fn conv(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        fused::convolve(x, self.weight.val(), self.bias.val(), self.how(Side::Input, activation))
    }

    /// [`conv`](Self::conv) in a discriminator, whose `mode` may be that of single examples.
    pub(crate) fn conv_in(&self, mode: Mode, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        let how = self.how(Side::Input, activation);
        match mode {
            Mode::PerExample(examples) => {
                examples.convolve(x, &self.weight.val(), self.bias.val(), how, None, |weights| weights)
            }
            _ => fused::convolve(x, self.weight.val(), self.bias.val(), how),
        }
    }

    /// act(transposed convolution of `x` + bias).
    pub(crate) fn conv_transpose(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        fused::convolve(x, self.weight.val(), self.bias.val(), self.how(Side::Output, activation))
    }

    fn how(&self, from: Side, activation: Activation) -> Convolution {
        Convolution { geometry: self.geometry, from, activation, device: self.device }
    }
}

/// The weight of a layer, with shape, initial values and layout, and its bias, which is zero at first.
pub(crate) fn layer_tensors(
    name: &str,
    shape: Vec<usize>,
    init: Init,
    layout: Layout,
    outputs: usize,
) -> [TensorSpec; 2] {
    let bias = TensorSpec::new(format!("{name}.bias"), [outputs], Init::Constant(0.0));
    let bias = match layout {
        Layout::Linear { outputs: Some(map), .. } => bias.laid_out(Layout::Map(map)),
        _ => bias,
    };
    [TensorSpec::new(format!("{name}.weight"), shape, init).laid_out(layout), bias]
}

/// The values of matrices `[rows, columns]`, one after the other, with rows and columns exchanged.
pub(crate) fn transposed(matrices: Vec<f32>, rows: usize, columns: usize) -> Vec<f32> {
    if rows == 1 || columns == 1 {
        return matrices;
    }
    let mut transposed = Vec::with_capacity(matrices.len());
    for matrix in matrices.chunks_exact(rows * columns) {
        for column in 0..columns {
            transposed.extend(matrix[column..].iter().step_by(columns));
        }
    }
    transposed
}

/// The tensor `layer.field` of `params` as a trainable parameter.
pub(crate) fn param<const D: usize>(
    params: &Params,
    layer: &str,
    field: &str,
    on: &Placement,
) -> Result<Param<Tensor<D>>> {
    Ok(Param::from_tensor(tensor(params.get(&format!("{layer}.{field}"))?, on)))
}

/// An array as a tensor.
pub(crate) fn tensor<const D: usize>(array: &Array, on: &Placement) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.values().to_vec(), array.shape.clone()), &on.burn)
}

/// The values of each of `tensors`, in one transfer from the device.
///
/// # Errors
/// When the device fails.
pub(crate) fn read_all(tensors: impl Iterator<Item = Tensor<1>>) -> Result<Vec<Vec<f32>>> {
    let transaction = tensors.fold(Transaction::default(), Transaction::register);
    let data = transaction.try_execute().map_err(|error| device::failure(&error))?;
    Ok(data.into_iter().map(in_f32).collect())
}

/// The value of each of `tensors`, which have one, in one transfer from the device.
///
/// # Errors
/// When the device fails.
pub(crate) fn scalars(tensors: impl Iterator<Item = Tensor<1>>) -> Result<Vec<f32>> {
    Ok(read_all(tensors)?.into_iter().map(|values| values[0]).collect())
}

/// The values of a tensor, row-major.
///
/// # Errors
/// When the device fails.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_data().map_err(|error| device::failure(&error)).map(in_f32)
}

fn in_f32(data: TensorData) -> Vec<f32> {
    data.try_into_vec().expect("networks compute in f32")
}

/// [`read`] in tests, where no device fails.
#[cfg(test)]
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    read(tensor).unwrap()
}

/// All tensors of `module`, parameters and running statistics, by dotted name and in the layouts of files. `tensors` is
/// its table and `memory` that of its device, which they leave in one transfer.
///
/// # Errors
/// When the device fails.
pub(crate) fn named_tensors<M: Module>(module: &M, tensors: &[TensorSpec], memory: Order) -> Result<Params> {
    read_named(tensors_of(module), tensors, memory)
}

/// A tensor of a module on its device, which records nothing about it.
#[derive(Clone, Debug)]
pub(crate) struct NamedTensor {
    /// Dotted name.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Tensor<1>,
}

/// All tensors of `module`, in the order in which it is visited.
pub(crate) fn tensors_of<M: Module>(module: &M) -> Vec<NamedTensor> {
    let mut found = Tensors::default();
    // `valid` also brings running statistics up to date.
    module.valid().visit(&mut found);
    found.tensors
}

/// Reads `found`, the [tensors of a module](tensors_of), in one transfer. `tensors` is the module's table.
///
/// # Errors
/// When the device fails.
pub(crate) fn read_named(found: Vec<NamedTensor>, tensors: &[TensorSpec], memory: Order) -> Result<Params> {
    let values = read_all(found.iter().map(|tensor| tensor.values.clone()))?;
    let array = |(tensor, values): (NamedTensor, _)| (tensor.name, Array::new(tensor.shape, values));
    Ok(to_files(&found.into_iter().zip(values).map(array).collect(), tensors, memory))
}

/// Those of the module's `tensors` that are trained, in the order in which it is visited.
pub(crate) fn trained<'a, M: Module>(module: &M, tensors: &'a [TensorSpec]) -> Vec<&'a TensorSpec> {
    let found = tensors_of(module).into_iter().filter(|found| !is_running_statistic(&found.name));
    found.filter_map(|found| tensors.iter().find(|spec| spec.name == found.name)).collect()
}

/// Collects the tensors of a module.
#[derive(Default)]
struct Tensors {
    path: Path,
    tensors: Vec<NamedTensor>,
}

impl ModuleVisitor for Tensors {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (name, tensor) = (self.path.name(), param.val());
        self.tensors.push(NamedTensor { name, shape: tensor.dims().to_vec(), values: tensor.reshape([-1]) });
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.exit(container);
    }
}

/// The position of a visitor in a module.
#[derive(Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// The variant of an enum (the kind of network or norm) is not part of a tensor's name. An element of a list is
    /// named by the list and its index, such as `conv1`.
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        match container {
            "Vec" => self.0.push(name.to_owned()),
            container if container.starts_with("Enum:") => (),
            _ => self.0.push(format!(".{name}")),
        }
    }

    pub(crate) fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    /// The dotted name of the current position.
    pub(crate) fn name(&self) -> String {
        self.0.concat().trim_start_matches('.').to_owned()
    }
}
