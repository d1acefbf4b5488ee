//! Convolutions with upsampling before or downsampling after them, as in the blocks of a `ResNet` (Gulrajani et al.
//! 2017, arXiv:1704.00028), computed as a single operation.
//!
//! Nearest-neighbour upsampling by 2 followed by a k × k convolution is a transposed convolution of stride 2 whose
//! taps, (k + 1) × (k + 1) of them, are sums of the k × k ones. A k × k convolution followed by 2 × 2 average pooling
//! is a convolution of stride 2 with such taps. Along an axis, the taps w₀, w₁, w₂ become w₀, w₁ + w₀, w₂ + w₁, w₂; in
//! reverse order for upsampling, and halved for the average. This saves the intermediate map and at least half of the
//! products.

use burn::tensor::{Tensor, TensorData};

use super::{Mode, Order};
use crate::device::{Device, Placement};
use crate::fused::{self, Activation, BLOCK, Convolution, Geometry, MapShape, Side};

/// The resampling of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resample {
    /// None.
    Same,
    /// Nearest-neighbour upsampling by 2, before the convolution.
    Up,
    /// Average pooling over 2 × 2 pixels, after the convolution.
    Down,
}

/// A convolution with an odd kernel, padding that keeps the size, and resampling.
#[derive(Clone, Debug)]
pub(crate) struct Resampled {
    geometry: Geometry,
    from: Side,
    resample: Resample,
    device: Device,
    /// [`sums_of_taps`] where it resamples.
    sums: Option<Tensor<2>>,
}

impl Resampled {
    /// A convolution of maps of shape `input` into `outputs` channels.
    ///
    /// A kernel of one pixel commutes with resampling: convolve where the map is small, and resample by itself.
    pub(crate) fn new(input: MapShape, outputs: usize, kernel: usize, resample: Resample, device: Device) -> Self {
        let padding = kernel / 2;
        // There are kernels for an image of few channels in a geometry's input, which a transposed convolution writes.
        let to_image = resample == Resample::Same && outputs < BLOCK && input.channels >= BLOCK;
        let (geometry, from) = match resample {
            Resample::Same if to_image => {
                (Geometry::of_conv_transpose(input, outputs, kernel, 1, padding), Side::Output)
            }
            Resample::Same => (Geometry::of_conv(input, outputs, kernel, 1, padding), Side::Input),
            Resample::Up => (Geometry::of_conv_transpose(input, outputs, kernel + 1, 2, padding), Side::Output),
            Resample::Down => (Geometry::of_conv(input, outputs, kernel + 1, 2, padding), Side::Input),
        };
        let sums = |backwards| sums_of_taps(kernel, backwards, &device.for_inference());
        let sums = (resample != Resample::Same).then(|| sums(resample == Resample::Up));
        Self { geometry, from, resample, device, sums }
    }

    /// Shape of the resulting maps.
    pub(crate) fn output(&self) -> MapShape {
        *self.geometry.map(self.from.other())
    }

    /// The axis of the weights that the outputs are on.
    pub(crate) fn outputs_axis(&self) -> usize {
        match self.device.order() {
            Order::Kernels => 2,
            Order::ChannelsLast => 0,
        }
    }

    /// act(convolution of `x` + `bias`), where `weights` are a [window](super::layout::Layout::Window) of the channels of `x` and the outputs.
    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        weights: Tensor<3>,
        bias: Tensor<1>,
        activation: Activation,
    ) -> Tensor<4> {
        fused::convolve(x, self.window(weights), bias, self.how(activation))
    }

    /// [`forward`](Self::forward) in a discriminator, whose `mode` may be that of single examples.
    pub(crate) fn forward_in(
        &self,
        mode: Mode,
        x: Tensor<4>,
        weights: Tensor<3>,
        bias: Tensor<1>,
        activation: Activation,
    ) -> Tensor<4> {
        let Mode::PerExample(examples) = mode else { return self.forward(x, weights, bias, activation) };
        examples.convolve(x, &weights, bias, self.how(activation), self.pooled(), |weights| self.window(weights))
    }

    fn how(&self, activation: Activation) -> Convolution {
        Convolution { geometry: self.geometry, from: self.from, activation, device: self.device }
    }

    /// The geometry of the convolution alone, where a mean over pixels follows it.
    fn pooled(&self) -> Option<Geometry> {
        let Geometry { input, output, kernel, padding, .. } = self.geometry;
        let is_pooled = self.resample == Resample::Down;
        is_pooled.then(|| Geometry::of_conv(input, output.channels, kernel - 1, 1, padding))
    }

    /// The window of the geometry's kernel, given the layer's `weights`.
    fn window(&self, weights: Tensor<3>) -> Tensor<3> {
        let order = self.device.order();
        let (taps, [a, b]) = (order.taps_axis(), order.channel_axes());
        match (self.resample, self.from) {
            (Resample::Same, Side::Input) => weights,
            (Resample::Same, Side::Output) => weights.flip([taps]).swap_dims(a, b),
            (Resample::Up, _) => self.widened(weights).swap_dims(a, b),
            (Resample::Down, _) => self.widened(weights) * 0.25,
        }
    }

    /// The window of (k + 1)² taps of the combined operation, but for the factor of the average, given one of k².
    fn widened(&self, weights: Tensor<3>) -> Tensor<3> {
        let sums = self.sums.clone().expect("made for a layer that resamples");
        let records = weights.device() != sums.device();
        let sums = if records { Tensor::from_inner(sums) } else { sums };
        let [wider, taps] = sums.dims();
        match self.device.order() {
            Order::Kernels => {
                let [_, inputs, outputs] = weights.dims();
                sums.matmul(weights.reshape([taps, inputs * outputs])).reshape([wider, inputs, outputs])
            }
            Order::ChannelsLast => sums.unsqueeze().matmul(weights),
        }
    }
}

/// A matrix `[(k + 1)², k²]` of zeros and ones that sums taps into those of the wider window.
fn sums_of_taps(kernel: usize, backwards: bool, on: &Placement) -> Tensor<2> {
    let along_axis = |wide: usize, tap: usize| {
        let wide = if backwards { kernel - wide } else { wide };
        wide == tap || wide == tap + 1
    };
    let wider = kernel + 1;
    let taken = |i: usize| {
        let (wide, tap) = (i / (kernel * kernel), i % (kernel * kernel));
        along_axis(wide / wider, tap / kernel) && along_axis(wide % wider, tap % kernel)
    };
    let values: Vec<f32> = (0..wider * wider * kernel * kernel).map(|i| f32::from(u8::from(taken(i)))).collect();
    Tensor::from_data(TensorData::new(values, [wider * wider, kernel * kernel]), &on.burn)
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::{avg_pool2d, conv2d, interpolate};
    use burn::tensor::ops::{AvgPoolOptions, ConvOptions, InterpolateMode, InterpolateOptions};

    use super::*;
    use crate::fused::images_of_map;
    use crate::networks::layers::values;
    use crate::{Purpose, Streams};

    fn noise<const D: usize>(dims: [usize; D], which: u64) -> Tensor<D> {
        let values = Streams::of_run(which).normal(Purpose::Latent, 0, dims.iter().product());
        Tensor::from_data(TensorData::new(values, dims), &Device::cpu().unwrap().for_inference().burn)
    }

    /// Images `[n, c, h, w]` as maps of any number of channels.
    fn maps_of(images: Tensor<4>) -> Tensor<4> {
        let [n, channels, height, width] = images.dims();
        let map = MapShape { channels, height, width };
        images.reshape([n, channels / map.block(), map.block(), height * width]).permute([0, 1, 3, 2])
    }

    /// Upsampling, convolution and average pooling, one after the other, by Burn's own operations.
    fn in_three_steps(x: Tensor<4>, weights: Tensor<3>, bias: Tensor<1>, resample: Resample) -> Tensor<4> {
        let [taps, a, b] = weights.dims();
        let kernel = taps.isqrt();
        let nearest = InterpolateOptions::new(InterpolateMode::Nearest).with_align_corners(false);
        let x = if resample == Resample::Up { interpolate(x, nearest.with_scale_factor([2.0, 2.0])) } else { x };
        let weights = weights.reshape([kernel, kernel, a, b]).permute([3, 2, 0, 1]);
        let x = conv2d(x, weights, Some(bias), ConvOptions::new([1, 1], [kernel / 2; 2], [1, 1], 1));
        if resample == Resample::Down { avg_pool2d(x, AvgPoolOptions::new([2, 2])) } else { x }
    }

    #[test]
    fn the_single_operation_matches_upsampling_convolution_and_pooling() {
        for (resample, kernel, inputs) in [Resample::Same, Resample::Up, Resample::Down]
            .into_iter()
            .flat_map(|resample| [(resample, 1, 3), (resample, 3, 3), (resample, 3, 16)])
        {
            let input = MapShape { channels: inputs, height: 6, width: 4 };
            let layer = Resampled::new(input, 5, kernel, resample, Device::cpu().unwrap());
            let (x, bias) = (noise([2, inputs, 6, 4], 1), noise([5], 3));
            let weights = noise([kernel * kernel, inputs, 5], 2);
            let ours = layer.forward(maps_of(x.clone()), weights.clone(), bias.clone(), Activation::Identity);
            let ours = images_of_map(ours, &layer.output());
            let theirs = in_three_steps(x, weights, bias, resample);
            assert_eq!(ours.dims(), theirs.dims());
            for (ours, theirs) in values(ours).into_iter().zip(values(theirs)) {
                // f32 sums of at most 150 products of about 1, in another order.
                assert!((ours - theirs).abs() < 2e-5, "{resample:?} with {kernel}: {ours} is not {theirs}");
            }
        }
    }
}
