//! The operations on Burn's CPU backend, which pass tensors to the kernels as slices.

use std::borrow::Cow;

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;

use super::{AdamStep, Convolution, Kernels, MapShape, Normalisation, Slot};
use crate::Device;
use effgan_kernels::conv::Conv;
use effgan_kernels::{activation, adam, buffer, linear, norm, resample};

/// The values of a tensor, row-major: borrowed, or copied where the tensor is a view in another order.
pub(super) struct Values<'a>(Cow<'a, FlexTensor>);

impl<'a> Values<'a> {
    pub(super) fn of(tensor: &'a FlexTensor) -> Self {
        let in_rows = tensor.as_slice::<f32>().is_some();
        Self(if in_rows { Cow::Borrowed(tensor) } else { Cow::Owned(tensor.to_contiguous()) })
    }

    pub(super) fn get(&self) -> &[f32] {
        self.0.as_slice().expect("it is row-major, and the CPU computes in f32")
    }
}

/// The values of a tensor, to be modified; copied only when another tensor shares them.
pub(super) fn into_vec(tensor: FlexTensor) -> Vec<f32> {
    if tensor.is_unique() {
        return tensor.into_data().try_into_vec().expect("the CPU computes in f32");
    }
    let shared = Values::of(&tensor);
    let mut values = buffer::take(shared.get().len());
    values.copy_from_slice(shared.get());
    values
}

/// Gives the memory of a tensor back for reuse, unless another tensor shares it.
pub(super) fn give_back(tensor: FlexTensor) {
    if tensor.is_unique() {
        buffer::give_back(into_vec(tensor));
    }
}

pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The tensor shape of a batch of maps.
pub(super) fn map_dims(n: usize, map: &MapShape) -> [usize; 4] {
    [n, map.channels / map.block(), map.pixels(), map.block()]
}

pub(super) fn linear_sizes(x: &FlexTensor, weights: &FlexTensor) -> linear::Sizes {
    let (x, weights) = (x.shape(), weights.shape());
    linear::Sizes { n: x[0], inputs: weights[0], outputs: weights[1] }
}

impl Kernels for Flex {
    fn convolve(x: FlexTensor, w: FlexTensor, bias: FlexTensor, how: Convolution, _: Option<Slot>) -> FlexTensor {
        convolve(&prepared(&x, how), &x, &w, &bias, how)
    }

    fn linear(x: FlexTensor, w: FlexTensor, bias: FlexTensor, device: Device, _: Option<Slot>) -> FlexTensor {
        let sizes = linear_sizes(&x, &w);
        let (x, w, bias) = (Values::of(&x), Values::of(&w), Values::of(&bias));
        let out = linear::forward(device.isa(), &sizes, x.get(), w.get(), bias.get());
        tensor(out, [sizes.n, sizes.outputs])
    }

    fn batch_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        batches: usize,
        how: Normalisation,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (out, statistics) = batch_norm(&x, &gamma, &beta, batches, how);
        let [mean, variance] = mean_and_variance(&statistics, batches);
        (out, mean, variance)
    }

    fn group_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        groups: usize,
        how: Normalisation,
        _: Option<Slot>,
    ) -> FlexTensor {
        group_norm(&x, &gamma, &beta, groups, how).0
    }

    fn scale_shift(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, how: Normalisation) -> FlexTensor {
        let (scale, shift) = (Values::of(&scale), Values::of(&shift));
        affine(&x, scale.get(), shift.get(), how)
    }

    fn relu(x: FlexTensor, device: Device) -> FlexTensor {
        let shape = x.shape();
        let mut out = buffer::take(x.shape().num_elements());
        out.copy_from_slice(Values::of(&x).get());
        activation::leaky(device.isa(), &mut out, 0.0);
        tensor(out, shape)
    }

    fn mean_pixels(x: FlexTensor, map: MapShape, device: Device) -> FlexTensor {
        let means = sum_pixels(&x, map, 0.25, device);
        give_back(x);
        means
    }

    fn add_repeated(x: FlexTensor, small: FlexTensor, map: MapShape, device: Device) -> FlexTensor {
        let shape = x.shape();
        let mut sum = into_vec(x);
        resample::add_repeated_pixels(device.isa(), &map, Values::of(&small).get(), &mut sum);
        give_back(small);
        tensor(sum, shape)
    }

    fn adam(
        params: FlexTensor,
        grads: FlexTensor,
        first_moment: FlexTensor,
        second_moment: FlexTensor,
        step: AdamStep,
        device: Device,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let shape = params.shape();
        let grads = into_vec(grads);
        let [mut params, mut first, mut second] = [params, first_moment, second_moment].map(into_vec);
        adam::update(device.isa(), &step, &mut params, &grads, &mut first, &mut second);
        buffer::give_back(grads);
        (tensor(params, shape.clone()), tensor(first, shape.clone()), tensor(second, shape))
    }
}

/// The sums over 2 × 2 pixels of maps of shape `map`, times `factor`.
pub(super) fn sum_pixels(x: &FlexTensor, map: MapShape, factor: f32, device: Device) -> FlexTensor {
    let small = map.halved();
    let sums = resample::sum_pixels(device.isa(), &map, Values::of(x).get(), factor);
    tensor(sums, map_dims(x.shape()[0], &small))
}

/// Each pixel of maps of shape `map` repeated 2 × 2 times, times `factor`.
pub(super) fn repeat_pixels(x: &FlexTensor, map: MapShape, factor: f32, device: Device) -> FlexTensor {
    let big = map.doubled();
    let repeated = resample::repeat_pixels(device.isa(), &map, Values::of(x).get(), factor);
    tensor(repeated, map_dims(x.shape()[0], &big))
}

/// The kernels for a convolution of `x`.
pub(super) fn prepared(x: &FlexTensor, how: Convolution) -> Conv {
    let conv = Conv::new(how.device.isa(), how.device.precision(), &how.geometry, how.from, x.shape()[0]);
    #[cfg(test)]
    FORMS.with_borrow_mut(|forms| forms.insert(conv.form()));
    conv
}

#[cfg(test)]
thread_local! {
    /// The forms of the convolutions that this thread has computed.
    pub(crate) static FORMS: std::cell::RefCell<std::collections::BTreeSet<&'static str>> = const {
        std::cell::RefCell::new(std::collections::BTreeSet::new())
    };
}

pub(super) fn convolve(conv: &Conv, x: &FlexTensor, w: &FlexTensor, bias: &FlexTensor, how: Convolution) -> FlexTensor {
    let n = x.shape()[0];
    let (x, w, bias) = (Values::of(x), Values::of(w), Values::of(bias));
    let out = conv.forward(x.get(), w.get(), bias.get(), how.activation);
    tensor(out, map_dims(n, how.geometry.map(how.from.other())))
}

/// The output of batch norm, and the statistics of each batch.
pub(super) fn batch_norm(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    batches: usize,
    how: Normalisation,
) -> (FlexTensor, norm::Statistics) {
    let n = x.shape()[0];
    let (x, gamma, beta) = (Values::of(x), Values::of(gamma), Values::of(beta));
    let mut out = buffer::take(x.get().len());
    let Normalisation { map, slope, device } = how;
    let sizes = norm::Sizes::of(n, &map);
    let (gamma, beta) = (gamma.get(), beta.get());
    let statistics = norm::batch_norm(device.isa(), &sizes, batches, x.get(), gamma, beta, slope, &mut out);
    (tensor(out, map_dims(n, &map)), statistics)
}

/// Mean and variance of each batch and channel, `[batches, channels]` each.
pub(super) fn mean_and_variance(statistics: &norm::Statistics, batches: usize) -> [FlexTensor; 2] {
    [&statistics.mean, &statistics.variance].map(|values| {
        let channels = values.len() / batches;
        tensor(values.clone().into_vec(), [batches, channels])
    })
}

fn affine(x: &FlexTensor, scale: &[f32], shift: &[f32], how: Normalisation) -> FlexTensor {
    let Normalisation { map, slope, device } = how;
    let n = x.shape()[0];
    let x = Values::of(x);
    let mut out = buffer::take(x.get().len());
    norm::affine_act(device.isa(), &norm::Sizes::of(n, &map), x.get(), scale, shift, slope, &mut out);
    tensor(out, map_dims(n, &map))
}

/// The output and the statistics of group norm.
pub(super) fn group_norm(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    groups: usize,
    how: Normalisation,
) -> (FlexTensor, norm::GroupStatistics) {
    let n = x.shape()[0];
    let (x, gamma, beta) = (Values::of(x), Values::of(gamma), Values::of(beta));
    let mut out = buffer::take(x.get().len());
    let Normalisation { map, slope, device } = how;
    let sizes = norm::Sizes::of(n, &map);
    let (gamma, beta) = (gamma.get(), beta.get());
    let statistics = norm::group_norm(device.isa(), &sizes, groups, x.get(), gamma, beta, slope, &mut out);
    (tensor(out, map_dims(n, &map)), statistics)
}
