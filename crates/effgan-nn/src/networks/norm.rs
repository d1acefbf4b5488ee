//! Normalisation: batch (Ioffe & Szegedy 2015, arXiv:1502.03167), group (Wu & He 2018, arXiv:1803.08494) or none.

use burn::module::{Module, Param, RunningState};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

use super::layers::{param, tensor};
use super::mode::Mode;
use super::spec::{Init, TensorSpec};
use crate::device::{Device, Placement};
use crate::fused::{self, Activation, MapShape, Normalisation};
use crate::{Params, Result};

const EPSILON: f64 = 1e-5;

/// The normalisation of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Over the batch, with running statistics for inference.
    #[default]
    Batch,
    /// Over groups of channels of each image. Nothing depends on the batch, and there are no running statistics to
    /// average.
    Group,
    /// Nothing.
    None,
}

/// Tensors of a norm called `name` over `channels`, with DCGAN's initial values: γ ~ N(1, 0.02²), β = 0.
pub(crate) fn norm_tensors(kind: NormKind, name: &str, channels: usize) -> Vec<TensorSpec> {
    let spec = |field: &str, init| TensorSpec::new(format!("{name}.{field}"), [channels], init);
    let affine = [spec("weight", Init::Normal { mean: 1.0, std: 0.02 }), spec("bias", Init::Constant(0.0))];
    // No `num_batches_tracked`: the momentum is fixed, and PyTorch fills the counter in when it loads a file without
    // one.
    let running = [spec("running_mean", Init::Constant(0.0)), spec("running_var", Init::Constant(1.0))];
    match kind {
        NormKind::Batch => affine.into_iter().chain(running).collect(),
        NormKind::Group => affine.to_vec(),
        NormKind::None => Vec::new(),
    }
}

/// A normalisation layer.
#[derive(Module, Debug)]
pub(crate) enum Norm {
    Batch(BatchNorm),
    Group(GroupNorm),
}

impl Norm {
    /// The layer for feature maps of shape `map`, or nothing for [`NormKind::None`].
    pub(crate) fn load(
        kind: NormKind,
        params: &Params,
        name: &str,
        map: MapShape,
        on: &Placement,
    ) -> Result<Option<Self>> {
        Ok(match kind {
            NormKind::Batch => Some(Self::Batch(BatchNorm::load(params, name, map, on)?)),
            NormKind::Group => Some(Self::Group(GroupNorm::load(params, name, map, on)?)),
            NormKind::None => None,
        })
    }

    /// Normalises a batch of maps and applies a leaky ReLU of `slope`.
    pub(crate) fn forward(&self, x: Tensor<4>, mode: Mode, slope: f32) -> Tensor<4> {
        match self {
            Self::Batch(norm) => norm.forward(x, mode, slope),
            Self::Group(norm) => norm.forward(x, mode, slope),
        }
    }
}

/// Applies the norm, if any, and a ReLU to `x`.
pub(crate) fn norm_relu(norm: Option<&Norm>, x: Tensor<4>, mode: Mode) -> Tensor<4> {
    match norm {
        Some(norm) => norm.forward(x, mode, 0.0),
        None => relu(x),
    }
}

/// A layer, its norm and a leaky ReLU, which is fused with the norm, or with the layer where there is no norm.
pub(crate) fn normed(
    norm: Option<&Norm>,
    slope: f32,
    mode: Mode,
    layer: impl FnOnce(Activation) -> Tensor<4>,
) -> Tensor<4> {
    match norm {
        Some(norm) => norm.forward(layer(Activation::Identity), mode, slope),
        None => layer(Activation::LeakyRelu { slope }),
    }
}

/// Batch normalisation with PyTorch's running statistics. (Burn's own layer keeps the biased variance.)
#[derive(Module, Debug)]
pub(crate) struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: RunningState<Tensor<1>>,
    running_var: RunningState<Tensor<1>>,
    #[module(skip)]
    map: MapShape,
    #[module(skip)]
    device: Device,
}

impl BatchNorm {
    fn load(params: &Params, name: &str, map: MapShape, on: &Placement) -> Result<Self> {
        let running = |field| Ok(RunningState::new(tensor(params.get(&format!("{name}.{field}"))?, on)));
        Ok(Self {
            weight: param(params, name, "weight", on)?,
            bias: param(params, name, "bias", on)?,
            running_mean: running("running_mean")?,
            running_var: running("running_var")?,
            map,
            device: on.device,
        })
    }

    fn forward(&self, x: Tensor<4>, mode: Mode, slope: f32) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let how = Normalisation { map: self.map, slope, device: self.device };
        match mode {
            Mode::Evaluate => {
                let (mean, var) = (self.running_mean.value_sync(), self.running_var.value_sync());
                let scale = weight / (var + EPSILON).sqrt();
                let shift = bias - mean * scale.clone();
                fused::scale_shift(x, scale, shift, how)
            }
            Mode::Train { momentum, batches } => {
                let values = (x.dims()[0] / batches * self.map.pixels()) as f64;
                let normed = fused::batch_norm(x, weight, bias, batches, how);
                let unbiased = normed.variance * (values / (values - 1.0));
                for batch in 0..batches {
                    let of_batch = |statistics: &Tensor<2>| statistics.clone().slice(batch..=batch).flatten(0, 1);
                    move_towards(&self.running_mean, of_batch(&normed.mean), momentum);
                    move_towards(&self.running_var, of_batch(&unbiased), momentum);
                }
                normed.output
            }
            Mode::PerExample(_) => unreachable!("a private discriminator has no batch norm, which mixes examples"),
        }
    }
}

fn move_towards(running: &RunningState<Tensor<1>>, batch: Tensor<1>, momentum: f64) {
    running.update(running.value_sync() * (1.0 - momentum) + batch * momentum);
}

/// Group normalisation with `gcd(channels, 8)` groups, which divide any number of channels.
#[derive(Module, Debug)]
pub(crate) struct GroupNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    map: MapShape,
    #[module(skip)]
    device: Device,
}

impl GroupNorm {
    fn load(params: &Params, name: &str, map: MapShape, on: &Placement) -> Result<Self> {
        Ok(Self {
            weight: param(params, name, "weight", on)?,
            bias: param(params, name, "bias", on)?,
            map,
            device: on.device,
        })
    }

    fn forward(&self, x: Tensor<4>, mode: Mode, slope: f32) -> Tensor<4> {
        let how = Normalisation { map: self.map, slope, device: self.device };
        let groups = groups(self.map.channels);
        match mode {
            Mode::PerExample(examples) => examples.group_norm(x, &self.weight.val(), self.bias.val(), groups, how),
            _ => fused::group_norm(x, self.weight.val(), self.bias.val(), groups, how),
        }
    }
}

/// The greatest common divisor of `channels` and 8.
fn groups(channels: usize) -> usize {
    1 << channels.trailing_zeros().min(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_divide_the_channels() {
        assert_eq!([1, 4, 6, 8, 24, 64].map(groups), [1, 4, 2, 8, 8, 8]);
    }
}
