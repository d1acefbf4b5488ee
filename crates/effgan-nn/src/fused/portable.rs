//! The operations of [`fused`](super) made of Burn's own, for devices without kernels.

use burn::tensor::activation::{relu, tanh};
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{DType, FloatDType, Tensor};

use super::maps::{images_of_map, to_map};
use super::{Activation, AdamStep, Convolution, Geometry, MapShape, Normed, Side};
use crate::networks::Order;
use crate::{Device, Precision};

const EPSILON: f64 = 1e-5;

pub(super) fn convolve(x: Tensor<4>, w: Tensor<3>, bias: Tensor<1>, how: Convolution) -> Tensor<4> {
    let Convolution { geometry, from, activation, device } = how;
    let (stride, padding) = ([geometry.stride; 2], [geometry.padding; 2]);
    let x = narrow(images_of_map(x, geometry.map(from)), device);
    let w = narrow(window(w, &geometry, device), device);
    let bias = narrow(bias, device);
    let out = match from {
        Side::Input => conv2d(x, w, Some(bias), ConvOptions::new(stride, padding, [1, 1], 1)),
        Side::Output => {
            conv_transpose2d(x, w, Some(bias), ConvTransposeOptions::new(stride, padding, [0, 0], [1, 1], 1))
        }
    };
    activated(to_map(wide(out), geometry.map(from.other()), device), activation)
}

/// OIHW for a convolution or IOHW for a transposed one: both begin with the channels of the geometry's output, which the transposed
/// convolution reads.
fn window(w: Tensor<3>, geometry: &Geometry, device: Device) -> Tensor<4> {
    let Geometry { kernel, input, output, .. } = *geometry;
    match device.order() {
        Order::Kernels => w.reshape([kernel, kernel, input.channels, output.channels]).permute([3, 2, 0, 1]),
        Order::ChannelsLast => w.reshape([output.channels, kernel, kernel, input.channels]).permute([0, 3, 1, 2]),
    }
}

/// A factor of a large product in the device's precision.
fn narrow<const D: usize>(x: Tensor<D>, device: Device) -> Tensor<D> {
    match device.precision() {
        Precision::F32 => x,
        Precision::Bf16 => x.cast(FloatDType::BF16),
    }
}

/// A product in the precision of all other operations.
fn wide<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F32 { x } else { x.cast(FloatDType::F32) }
}

fn activated(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::Identity => x,
        Activation::LeakyRelu { slope } => leaky(x, slope),
        Activation::Tanh => tanh(x),
    }
}

/// x where it is positive, `slope` · x elsewhere.
///
/// Composed from `relu`, which has a fast backward pass: that of Burn's `leaky_relu` uses masks.
fn leaky<const D: usize>(x: Tensor<D>, slope: f32) -> Tensor<D> {
    if slope == 1.0 { x } else { relu(x.clone()) * (1.0 - slope) + x * slope }
}

pub(super) fn linear(x: Tensor<2>, w: Tensor<2>, bias: Tensor<1>, device: Device) -> Tensor<2> {
    wide(narrow(x, device).matmul(narrow(w, device))) + bias.unsqueeze()
}

/// `[channels]` as `[1, channels / b, 1, b]`, which broadcasts over the maps `x`.
fn per_channel(values: Tensor<1>, x: &Tensor<4>) -> Tensor<4> {
    let [_, blocks, _, block] = x.dims();
    values.reshape([1, blocks, 1, block])
}

/// Maps as rows `[n · pixels, channels]`: a view where a pixel has all channels side by side.
fn rows_of_pixels(x: Tensor<4>) -> Tensor<2> {
    let [n, blocks, pixels, block] = x.dims();
    x.permute([0, 2, 1, 3]).reshape([n * pixels, blocks * block])
}

/// The maps of shape `dims` with these [rows](rows_of_pixels).
fn maps_of_rows(rows: Tensor<3>, [n, blocks, pixels, block]: [usize; 4]) -> Tensor<4> {
    rows.reshape([n, pixels, blocks, block]).permute([0, 2, 1, 3])
}

pub(super) fn batch_norm(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, batches: usize, slope: f32) -> Normed {
    let (dims, channels) = (x.dims(), gamma.dims()[0]);
    let rows = rows_of_pixels(x);
    let rows = rows.clone().reshape([batches, rows.dims()[0] / batches, channels]);
    let mean = rows.clone().mean_dim(1);
    let centred = rows - mean.clone();
    let variance = centred.clone().square().mean_dim(1);
    let scale = gamma.reshape([1, 1, channels]) / (variance.clone() + EPSILON).sqrt();
    let output = leaky(centred * scale + beta.reshape([1, 1, channels]), slope);
    Normed {
        output: maps_of_rows(output, dims),
        mean: mean.reshape([batches, channels]).detach(),
        variance: variance.reshape([batches, channels]).detach(),
    }
}

pub(super) fn group_norm(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, groups: usize, slope: f32) -> Tensor<4> {
    let dims @ [n, blocks, pixels, block] = x.dims();
    let (gamma, beta) = (per_channel(gamma, &x), per_channel(beta, &x));
    // Channels before pixels, then divided into groups.
    let channels_first = x.permute([0, 1, 3, 2]);
    let x = channels_first.reshape([n, groups, blocks * block / groups * pixels]);
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    let normed = centred / (variance + EPSILON).sqrt();
    let normed = normed.reshape([n, blocks, block, pixels]).permute([0, 1, 3, 2]).reshape(dims);
    leaky(normed * gamma + beta, slope)
}

pub(super) fn scale_shift(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, slope: f32) -> Tensor<4> {
    let (scale, shift) = (per_channel(scale, &x), per_channel(shift, &x));
    leaky(x * scale + shift, slope)
}

pub(super) fn mean_pixels(x: Tensor<4>, map: MapShape) -> Tensor<4> {
    let [n, blocks, _, block] = x.dims();
    let (height, width) = (map.height / 2, map.width / 2);
    let pixels = x.reshape([n * blocks * height, 2, width, 2 * block]).sum_dim(1);
    let halves = pixels.reshape([n * blocks, height * width, 2, block]).sum_dim(2);
    halves.reshape([n, blocks, height * width, block]) * 0.25
}

pub(super) fn add_repeated(x: Tensor<4>, small: Tensor<4>, map: MapShape) -> Tensor<4> {
    let [n, blocks, _, block] = small.dims();
    let columns = small.reshape([n * blocks, map.pixels(), 1, block]).repeat_dim(2, 2);
    let rows = columns.reshape([n * blocks, map.height, 1, 2 * map.width * block]).repeat_dim(2, 2);
    x + rows.reshape([n, blocks, 4 * map.pixels(), block])
}

pub(super) fn adam<const D: usize>(
    params: Tensor<D>,
    grads: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
    step: AdamStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let AdamStep { learning_rate, beta1, beta2, epsilon, step } = step;
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(f64::from(step));
    let first = first * beta1 + grads.clone() * (1.0 - beta1);
    let second = second * beta2 + grads.square() * (1.0 - beta2);
    let size = (second.clone() / correction(beta2)).sqrt() + epsilon;
    let params = params - first.clone() / size * (f64::from(learning_rate) / correction(beta1));
    (params, [first, second])
}
