//! Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957): layers whose weight, as a matrix, is divided by an
//! estimate of its largest singular value σ, which bounds the Lipschitz constant of a discriminator.
//!
//! σ = vᵀ W u. One power iteration in each training pass moves the unit vectors u and v towards the singular vectors;
//! no gradient flows through them. Names and contents in files are those of `torch.nn.utils.spectral_norm`:
//! `weight_orig`, `weight_u`, `weight_v`.
//!
//! The vectors are running statistics, as those of a batch norm: they are not trained, and are averaged with the
//! parameters. The mean of unit vectors is not a unit vector, but a training pass uses only the direction of u. The
//! directions of all clients are similar, since they start from the same u and an iteration turns it only slightly.

use burn::module::{Module, Param, RunningState};
use burn::tensor::Tensor;

use super::conditional::{Labels, project};
use super::layers::{linear, param, tensor};
use super::layout::Layout;
use super::mode::Mode;
use super::resample::Resampled;
use super::spec::{Init, TensorSpec};
use crate::device::{Device, Placement};
use crate::fused::Activation;
use crate::{Params, Result};

/// Lower bound of the length that a vector is divided by, as in PyTorch.
const EPSILON: f64 = 1e-12;

/// The weight of PyTorch's `shape`, outputs first, and the vectors u and v of the layer `name`.
fn weight_tensors(name: &str, shape: &[usize], init: Init, layout: Layout) -> [TensorSpec; 3] {
    let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
    // Values for a length of about 1.
    let unit = |len: usize| Init::Normal { mean: 0.0, std: 1.0 / (len as f32).sqrt() };
    let of_columns = match layout {
        Layout::Window => Layout::WindowColumn { taps: shape[2] * shape[3] },
        _ => Layout::Plain,
    };
    [
        TensorSpec::new(format!("{name}.weight_orig"), shape, init).laid_out(layout),
        TensorSpec::new(format!("{name}.weight_u"), [rows], unit(rows)),
        TensorSpec::new(format!("{name}.weight_v"), [columns], unit(columns)).laid_out(of_columns),
    ]
}

fn bias_tensor(name: &str, outputs: usize) -> TensorSpec {
    TensorSpec::new(format!("{name}.bias"), [outputs], Init::Constant(0.0))
}

fn running(params: &Params, name: &str, field: &str, on: &Placement) -> Result<RunningState<Tensor<1>>> {
    Ok(RunningState::new(tensor(params.get(&format!("{name}.{field}"))?, on)))
}

/// `weight` divided by its σ. Its outputs are on its first or its last axis.
fn normalised<const D: usize>(
    weight: Tensor<D>,
    outputs_axis: usize,
    u: &RunningState<Tensor<1>>,
    v: &RunningState<Tensor<1>>,
    mode: Mode,
) -> Tensor<D> {
    let dims = weight.dims();
    let (outputs, inputs) = (dims[outputs_axis], dims.iter().product::<usize>() / dims[outputs_axis]);
    // The axes of the matrix.
    let (shape, across, down) = if outputs_axis == 0 { ([outputs, inputs], 0, 1) } else { ([inputs, outputs], 1, 0) };
    let matrix = weight.reshape(shape);
    let of_outputs = |u: Tensor<1>| u.unsqueeze_dim::<2>(down);
    let of_inputs = |v: Tensor<1>| v.unsqueeze_dim::<2>(across);
    if matches!(mode, Mode::Train { .. }) {
        let fixed = matrix.clone().detach();
        let new_v = unit((fixed.clone() * of_outputs(u.value_sync())).sum_dim(across).flatten(0, 1));
        u.update(unit((fixed * of_inputs(new_v.clone())).sum_dim(down).flatten(0, 1)));
        v.update(new_v);
    }
    // Axis by axis: Burn divides the sum over all values of a large tensor by the number of threads, which would change
    // bits.
    let sigma = (matrix.clone() * of_inputs(v.value_sync()) * of_outputs(u.value_sync())).sum_dim(down).sum_dim(across);
    (matrix / sigma).reshape(dims)
}

fn unit(vector: Tensor<1>) -> Tensor<1> {
    let length = vector.clone().square().sum_dim(0).sqrt();
    vector / length.clamp_min(EPSILON)
}

/// A convolution with spectral norm, optionally with resampling.
#[derive(Module, Debug)]
pub(crate) struct SpectralConv {
    weight_orig: Param<Tensor<3>>,
    weight_u: RunningState<Tensor<1>>,
    weight_v: RunningState<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    how: Resampled,
}

impl SpectralConv {
    /// Tensors of the layer called `name` with a weight of `shape` `[out, in, k, k]`.
    pub(crate) fn tensors(name: &str, shape: [usize; 4], init: Init) -> Vec<TensorSpec> {
        let mut tensors = weight_tensors(name, &shape, init, Layout::Window).to_vec();
        tensors.push(bias_tensor(name, shape[0]));
        tensors
    }

    pub(crate) fn load(how: Resampled, params: &Params, name: &str, on: &Placement) -> Result<Self> {
        Ok(Self {
            weight_orig: param(params, name, "weight_orig", on)?,
            weight_u: running(params, name, "weight_u", on)?,
            weight_v: running(params, name, "weight_v", on)?,
            bias: param(params, name, "bias", on)?,
            how,
        })
    }

    pub(crate) fn forward(&self, x: Tensor<4>, activation: Activation, mode: Mode) -> Tensor<4> {
        let outputs = self.how.outputs_axis();
        let weight = normalised(self.weight_orig.val(), outputs, &self.weight_u, &self.weight_v, mode);
        self.how.forward_in(mode, x, weight, self.bias.val(), activation)
    }
}

/// A linear layer with spectral norm, or, without bias, a [projection](super::conditional::project) onto classes.
#[derive(Module, Debug)]
pub(crate) struct SpectralLinear {
    weight_orig: Param<Tensor<2>>,
    weight_u: RunningState<Tensor<1>>,
    weight_v: RunningState<Tensor<1>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    device: Device,
}

impl SpectralLinear {
    /// Tensors of the layer called `name`.
    pub(crate) fn tensors(name: &str, inputs: usize, outputs: usize, bias: bool, init: Init) -> Vec<TensorSpec> {
        let layout = Layout::Linear { inputs: None, outputs: None };
        let mut tensors = weight_tensors(name, &[outputs, inputs], init, layout).to_vec();
        tensors.extend(bias.then(|| bias_tensor(name, outputs)));
        tensors
    }

    pub(crate) fn load(params: &Params, name: &str, bias: bool, on: &Placement) -> Result<Self> {
        Ok(Self {
            weight_orig: param(params, name, "weight_orig", on)?,
            weight_u: running(params, name, "weight_u", on)?,
            weight_v: running(params, name, "weight_v", on)?,
            bias: bias.then(|| param(params, name, "bias", on)).transpose()?,
            device: on.device,
        })
    }

    /// The normalised weight, `[inputs, outputs]`.
    fn weight(&self, mode: Mode) -> Tensor<2> {
        normalised(self.weight_orig.val(), 1, &self.weight_u, &self.weight_v, mode)
    }

    /// x `[n, inputs]` ↦ x W / σ + b `[n, outputs]`.
    pub(crate) fn forward(&self, x: Tensor<2>, mode: Mode) -> Tensor<2> {
        let weight = self.weight(mode);
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([weight.dims()[1]], &weight.device()),
        };
        linear(mode, x, weight, bias, self.device)
    }

    /// The [projection](project) of `features` `[n, inputs]` onto the classes of `labels`, `[n, 1]`.
    pub(crate) fn project(&self, features: Tensor<2>, labels: Option<&Labels>, mode: Mode) -> Tensor<2> {
        project(features, self.weight(mode), labels, mode, self.device)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::networks::layers::values;

    #[test]
    fn the_largest_singular_value_becomes_1() {
        // A rotation and diag(3, 1): the singular values are 3 and 1.
        let (sin, cos) = 0.3_f32.sin_cos();
        let burn = Device::of_tests().for_inference().burn;
        let matrix = Tensor::<2>::from_data(TensorData::new(vec![3.0 * cos, -sin, 3.0 * sin, cos], [2, 2]), &burn);
        let vector =
            |values: [f32; 2]| RunningState::new(Tensor::<1>::from_data(TensorData::new(values.to_vec(), [2]), &burn));
        let (u, v) = (vector([0.5, 2.0]), vector([0.0, 0.0]));
        let mut normed = Vec::new();
        for _ in 0..10 {
            normed = values(normalised(matrix.clone(), 1, &u, &v, Mode::TRAIN));
        }
        // Ten iterations leave (1/3)²⁰ of the start's error.
        for (ours, expected) in normed.iter().zip([cos, -sin / 3.0, sin, cos / 3.0]) {
            assert!((ours - expected).abs() < 1e-6, "{ours} is not {expected}");
        }
        // Evaluation leaves the vectors as they are.
        assert_eq!(values(normalised(matrix, 1, &u, &v, Mode::Evaluate)), normed);
    }
}
