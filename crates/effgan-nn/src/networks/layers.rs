//! Layers as thin modules over the [fused operations](crate::fused), with PyTorch's field names and the kernels'
//! layouts.
//!
//! Not `burn-nn`'s: those would need adapters for PyTorch's names and linear layout, their running variance is biased,
//! and their mode depends on the device instead of an explicit [`Mode`](super::Mode).

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use super::layout::Layout;
use super::spec::{Init, TensorSpec, to_files};
use crate::device::{Device, Placement};
use crate::fused::{self, Activation, Convolution, Geometry, MapShape, Side};
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
}

/// A convolution or a transposed convolution, with weight window × input channels × output channels of the geometry.
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
        self.convolve(x, Side::Input, activation)
    }

    /// act(transposed convolution of `x` + bias).
    pub(crate) fn conv_transpose(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        self.convolve(x, Side::Output, activation)
    }

    fn convolve(&self, x: Tensor<4>, from: Side, activation: Activation) -> Tensor<4> {
        let how = Convolution { geometry: self.geometry, from, activation, device: self.device };
        fused::convolve(x, self.weight.val(), self.bias.val(), how)
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

/// Images `[n, c, h, w]` as feature maps. Images have fewer channels than a block, so that the channels of a pixel
/// become contiguous.
pub(crate) fn map_of_images(images: Tensor<4>) -> Tensor<4> {
    let [n, channels, height, width] = images.dims();
    images.reshape([n, channels, 1, height * width]).permute([0, 2, 3, 1])
}

/// Feature maps of shape `map` as `[n, c, h, w]`.
pub(crate) fn images_of_map(maps: Tensor<4>, map: &MapShape) -> Tensor<4> {
    let n = maps.dims()[0];
    maps.permute([0, 1, 3, 2]).reshape([n, map.channels, map.height, map.width])
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

/// The values of a tensor, row-major.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("the CPU backend computes in f32")
}

/// All tensors of `module`, parameters and running statistics, by dotted name and in the layouts of files. `tensors` is
/// its table.
pub(crate) fn named_tensors<M: Module>(module: &M, tensors: &[TensorSpec]) -> Params {
    to_files(&raw_tensors(module), tensors)
}

/// All tensors of `module` by dotted name, in the layouts of the kernels.
pub(crate) fn raw_tensors<M: Module>(module: &M) -> Params {
    let mut names = Names { path: Path::default(), params: Params::new() };
    // `valid` also brings running statistics up to date.
    module.valid().visit(&mut names);
    names.params
}

/// Collects the tensors of a module by name.
struct Names {
    path: Path,
    params: Params,
}

impl ModuleVisitor for Names {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        self.params.insert(self.path.name(), Array::new(tensor.dims(), values(tensor)));
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
