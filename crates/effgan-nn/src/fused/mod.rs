//! Layers as one Burn operation each: our [kernels](effgan_kernels) on the CPU, Burn's own operations elsewhere.
//!
//! Feature maps are tensors `[n, channels / b, pixels, b]` on every device (see [`MapShape`]); on a GPU b is all channels
//! ([`Device::block`]). The weights of a
//! convolution and of a transposed one are `[kernel · kernel, input channels, output channels]` (see [`Geometry`]), on a GPU
//! `[output channels, kernel · kernel, input channels]`.
//! Each function checks the device of its tensor: [`portable`] has the bodies for devices without kernels, which are
//! also what the kernels are tested against.

mod autodiff;
mod examples;
mod flex;
#[cfg(all(test, feature = "gpu"))]
mod gpu_tests;
mod kept;
mod maps;
mod portable;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use self::examples::Slot;
use crate::device::{self, Device};
pub(crate) use effgan_kernels::adam::AdamStep;
pub(crate) use effgan_kernels::conv::Activation;
pub(crate) use effgan_kernels::{BLOCK, Geometry, MapShape, Side};
pub(crate) use examples::{ClippedSum, Examples};
#[cfg(test)]
pub(crate) use flex::FORMS;
pub(crate) use maps::{images_of_map, map_of_images, map_of_rows};

/// A convolution or a transposed one, and its activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    pub(crate) geometry: Geometry,
    /// The map that it reads: the geometry's input for a convolution, its output for a transposed one.
    pub(crate) from: Side,
    pub(crate) activation: Activation,
    /// The device of the tensors.
    pub(crate) device: Device,
}

/// A normalisation of a batch of maps, and the leaky ReLU that follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normalisation {
    pub(crate) map: MapShape,
    /// Slope of the leaky ReLU below zero; 1 means no activation.
    pub(crate) slope: f32,
    /// The device of the tensors.
    pub(crate) device: Device,
}

/// Operations of the CPU backend beyond Burn's. With a [`Slot`], the gradients of a layer's parameters are kept there for
/// each example, and not summed.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Kernels: Backend {
    fn convolve(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: Convolution,
        slot: Option<Slot>,
    ) -> FloatTensor<Self>;
    fn linear(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        device: Device,
        slot: Option<Slot>,
    ) -> FloatTensor<Self>;
    /// Returns the output, and mean and biased variance of each batch.
    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        batches: usize,
        how: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    fn group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        how: Normalisation,
        slot: Option<Slot>,
    ) -> FloatTensor<Self>;
    /// For inference: no gradients flow through it.
    fn scale_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        how: Normalisation,
    ) -> FloatTensor<Self>;
    fn relu(x: FloatTensor<Self>, device: Device) -> FloatTensor<Self>;
    fn mean_pixels(x: FloatTensor<Self>, map: MapShape, device: Device) -> FloatTensor<Self>;
    fn add_repeated(x: FloatTensor<Self>, small: FloatTensor<Self>, map: MapShape, device: Device)
    -> FloatTensor<Self>;
    /// Returns the parameters and both moments after the step.
    fn adam(
        params: FloatTensor<Self>,
        grads: FloatTensor<Self>,
        first_moment: FloatTensor<Self>,
        second_moment: FloatTensor<Self>,
        step: AdamStep,
        device: Device,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Whether the kernels can read `x`.
// Checked here and not in Burn's dispatch: `backend_extension` lists only the CPU, so that the portable bodies are ordinary
// differentiable code, which the tests run on the CPU too.
fn has_kernels<const D: usize>(x: &Tensor<D>) -> bool {
    device::runs_kernels(&x.device())
}

/// act(convolution of `x` + bias), transposed where `how` says so: a batch of the geometry's other map.
pub(crate) fn convolve(x: Tensor<4>, w: Tensor<3>, bias: Tensor<1>, how: Convolution) -> Tensor<4> {
    if !has_kernels(&x) {
        return portable::convolve(x, w, bias, how);
    }
    Tensor::from_dispatch(Dispatch::convolve(x.into_dispatch(), w.into_dispatch(), bias.into_dispatch(), how, None))
}

/// x W + b with W `[inputs, outputs]`.
pub(crate) fn linear(x: Tensor<2>, w: Tensor<2>, bias: Tensor<1>, device: Device) -> Tensor<2> {
    if !has_kernels(&x) {
        return portable::linear(x, w, bias, device);
    }
    Tensor::from_dispatch(Dispatch::linear(x.into_dispatch(), w.into_dispatch(), bias.into_dispatch(), device, None))
}

/// The results of batch norm in training.
pub(crate) struct Normed {
    /// act(γ · (x − mean) / √(variance + 1e-5) + β).
    pub(crate) output: Tensor<4>,
    /// Mean of each batch and channel, `[batches, channels]`; carries no gradient.
    pub(crate) mean: Tensor<2>,
    /// Variance of each batch and channel, divided by the number of values; carries no gradient.
    pub(crate) variance: Tensor<2>,
}

/// Batch normalisation and a leaky ReLU. `x` is `batches` equal batches, one after the other, each normalised by its
/// own statistics.
pub(crate) fn batch_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    batches: usize,
    how: Normalisation,
) -> Normed {
    if !has_kernels(&x) {
        return portable::batch_norm(x, gamma, beta, batches, how.slope);
    }
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    let (output, mean, variance) = Dispatch::batch_norm(x, gamma, beta, batches, how);
    Normed {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}

/// Group normalisation and a leaky ReLU.
pub(crate) fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    how: Normalisation,
) -> Tensor<4> {
    if !has_kernels(&x) {
        return portable::group_norm(x, gamma, beta, groups, how.slope);
    }
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(Dispatch::group_norm(x, gamma, beta, groups, how, None))
}

/// act(x · scale + shift) per channel, for inference; no gradients flow through it.
pub(crate) fn scale_shift(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, how: Normalisation) -> Tensor<4> {
    if !has_kernels(&x) {
        return portable::scale_shift(x, scale, shift, how.slope);
    }
    let (x, scale, shift) = (x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(Dispatch::scale_shift(x, scale, shift, how))
}

/// x where it is above zero, 0 elsewhere.
pub(crate) fn relu(x: Tensor<4>, device: Device) -> Tensor<4> {
    if !has_kernels(&x) {
        return burn::tensor::activation::relu(x);
    }
    Tensor::from_dispatch(Dispatch::relu(x.into_dispatch(), device))
}

/// The means over 2 × 2 pixels of maps of shape `map`.
pub(crate) fn mean_pixels(x: Tensor<4>, map: MapShape, device: Device) -> Tensor<4> {
    if !has_kernels(&x) {
        return portable::mean_pixels(x, map);
    }
    Tensor::from_dispatch(Dispatch::mean_pixels(x.into_dispatch(), map, device))
}

/// `x` plus the maps `small` of shape `map`, each pixel of which is repeated 2 × 2 times.
pub(crate) fn add_repeated(x: Tensor<4>, small: Tensor<4>, map: MapShape, device: Device) -> Tensor<4> {
    if !has_kernels(&x) {
        return portable::add_repeated(x, small, map);
    }
    Tensor::from_dispatch(Dispatch::add_repeated(x.into_dispatch(), small.into_dispatch(), map, device))
}

/// Parameters and both moments after one step of Adam; none carries a gradient.
pub(crate) fn adam<const D: usize>(
    params: Tensor<D>,
    grads: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
    step: AdamStep,
    device: Device,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    if !has_kernels(&params) {
        return portable::adam(params, grads, [first, second], step);
    }
    let (params, grads) = (params.into_dispatch(), grads.into_dispatch());
    let (first, second) = (first.into_dispatch(), second.into_dispatch());
    let (params, first, second) = Dispatch::adam(params, grads, first, second, step, device);
    (Tensor::from_dispatch(params), [Tensor::from_dispatch(first), Tensor::from_dispatch(second)])
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::networks::layers::values;
    use crate::{Purpose, Streams};

    fn device() -> Device {
        Device::cpu().unwrap()
    }

    fn noise<const D: usize>(dims: [usize; D], which: u64) -> Tensor<D> {
        let values = Streams::of_run(which).normal(Purpose::Latent, 0, dims.iter().product());
        Tensor::from_data(TensorData::new(values, dims), &device().for_training().burn)
    }

    fn maps(n: usize, map: MapShape, which: u64) -> Tensor<4> {
        noise([n, map.channels / map.block(), map.pixels(), map.block()], which)
    }

    fn assert_close(what: &str, ours: Vec<f32>, theirs: &[f32], tolerance: f32) {
        let largest = theirs.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            assert!((ours - theirs).abs() <= tolerance * largest, "{what}: {ours} is not {theirs} (largest {largest})");
        }
    }

    /// Compares an operation of three inputs with its portable body: the output, and the gradients of a weighted sum of
    /// it.
    fn same<const W: usize, const X: usize, const O: usize>(
        what: &str,
        (x, w, b): (Tensor<X>, Tensor<W>, Tensor<1>),
        ours: impl Fn(Tensor<X>, Tensor<W>, Tensor<1>) -> Tensor<O>,
        theirs: impl Fn(Tensor<X>, Tensor<W>, Tensor<1>) -> Tensor<O>,
    ) {
        let run = |op: &dyn Fn(Tensor<X>, Tensor<W>, Tensor<1>) -> Tensor<O>| {
            let (x, w, b) = (x.clone().require_grad(), w.clone().require_grad(), b.clone().require_grad());
            let out = op(x.clone(), w.clone(), b.clone());
            let grads = (out.clone() * noise(out.dims(), 99)).sum().backward();
            let grad = |found: Option<Vec<f32>>| found.expect("every input has a gradient");
            [
                values(out.inner()),
                grad(x.grad(&grads).map(values)),
                grad(w.grad(&grads).map(values)),
                grad(b.grad(&grads).map(values)),
            ]
        };
        // f32 sums in another order, and Winograd's transforms.
        for (part, (ours, theirs)) in ["output", "x", "w", "b"].iter().zip(run(&ours).into_iter().zip(run(&theirs))) {
            assert_close(&format!("{what}: {part}"), ours, &theirs, 5e-5);
        }
    }

    const ACTIVATIONS: [Activation; 3] = [Activation::Identity, Activation::LeakyRelu { slope: 0.2 }, Activation::Tanh];

    /// An outer and an inner layer of a DCGAN, and a layer of a LeNet: one for each of the three algorithms.
    fn geometries() -> [Geometry; 3] {
        let map = |channels, side| MapShape { channels, height: side, width: side };
        [
            Geometry::of_conv(map(3, 16), 16, 4, 2, 1),
            Geometry::of_conv(map(16, 14), 32, 4, 2, 1),
            Geometry::of_conv(map(6, 9), 16, 5, 1, 0),
        ]
    }

    #[test]
    fn convolutions_match_burn() {
        for (geometry, activation) in
            geometries().into_iter().flat_map(|geometry| ACTIVATIONS.map(|activation| (geometry, activation)))
        {
            for from in [Side::Input, Side::Output] {
                let how = Convolution { geometry, from, activation, device: device() };
                let weights =
                    noise([geometry.kernel * geometry.kernel, geometry.input.channels, geometry.output.channels], 2)
                        * 0.1;
                let bias = noise([geometry.map(from.other()).channels], 3);
                same(
                    &format!("{how:?}"),
                    (maps(3, *geometry.map(from), 1), weights, bias),
                    |x, w, b| convolve(x, w, b, how),
                    |x, w, b| portable::convolve(x, w, b, how),
                );
            }
        }
    }

    #[test]
    fn linear_layers_match_burn() {
        for outputs in [1, 7] {
            let inputs = (noise([5, 30], 1), noise([30, outputs], 2), noise([outputs], 3));
            same("linear", inputs, |x, w, b| linear(x, w, b, device()), |x, w, b| portable::linear(x, w, b, device()));
        }
    }

    #[test]
    fn the_rectifier_matches_burn() {
        let map = MapShape { channels: 3, height: 5, width: 7 };
        same(
            "relu",
            (maps(2, map, 1), noise([1], 2), noise([1], 3)),
            |x, w, b| relu(x, device()) * w.reshape([1, 1, 1, 1]) + b.reshape([1, 1, 1, 1]),
            |x, w, b| burn::tensor::activation::relu(x) * w.reshape([1, 1, 1, 1]) + b.reshape([1, 1, 1, 1]),
        );
    }

    #[test]
    fn resampling_matches_burn() {
        for channels in [6, 32] {
            let [big, small] = [(4, 6), (2, 3)].map(|(height, width)| MapShape { channels, height, width });
            let unused = || noise([1], 3);
            same(
                "mean",
                (maps(2, big, 1), noise([1], 2), unused()),
                |x, w, b| mean_pixels(x, big, device()) * w.reshape([1, 1, 1, 1]) + b.reshape([1, 1, 1, 1]),
                |x, w, b| portable::mean_pixels(x, big) * w.reshape([1, 1, 1, 1]) + b.reshape([1, 1, 1, 1]),
            );
            same(
                "repeat",
                (maps(2, big, 1), maps(2, small, 2), unused()),
                |x, w, b| add_repeated(x, w, small, device()) + b.reshape([1, 1, 1, 1]),
                |x, w, b| portable::add_repeated(x, w, small) + b.reshape([1, 1, 1, 1]),
            );
        }
    }

    #[test]
    fn norms_match_burn() {
        for channels in [6, 16, 48] {
            let map = MapShape { channels, height: 3, width: 4 };
            let how = |slope| Normalisation { map, slope, device: device() };
            let inputs = || (maps(4, map, 1), noise([channels], 2) + 1.0, noise([channels], 3));
            for batches in [1, 2] {
                same(
                    "batch norm",
                    inputs(),
                    |x, g, b| batch_norm(x, g, b, batches, how(0.2)).output,
                    |x, g, b| portable::batch_norm(x, g, b, batches, 0.2).output,
                );
                let (x, g, b) = inputs();
                let ours = batch_norm(x.clone(), g.clone(), b.clone(), batches, how(1.0));
                let theirs = portable::batch_norm(x, g, b, batches, 1.0);
                assert_eq!(ours.mean.dims(), [batches, channels]);
                assert_close("mean", values(ours.mean), &values(theirs.mean), 1e-5);
                assert_close("variance", values(ours.variance), &values(theirs.variance), 1e-5);
            }
            same(
                "group norm",
                inputs(),
                |x, g, b| group_norm(x, g, b, 2, how(0.0)),
                |x, g, b| portable::group_norm(x, g, b, 2, 0.0),
            );
            let (x, scale, shift) = inputs();
            let ours = scale_shift(x.clone(), scale.clone(), shift.clone(), how(0.2));
            assert_close("scale", values(ours), &values(portable::scale_shift(x, scale, shift, 0.2)), 1e-6);
        }
    }

    /// Σ noise · op(inputs), and its derivative in a random direction of all inputs: by the backward pass, and by
    /// central differences.
    fn slopes(op: impl Fn([Tensor<1>; 3]) -> Tensor<4>, lens: [usize; 3]) -> [f64; 2] {
        let start = [0, 1, 2].map(|i| noise([lens[i]], 10 + i as u64));
        let direction = [0, 1, 2].map(|i| noise([lens[i]], 20 + i as u64));
        let value = |inputs: [Tensor<1>; 3]| {
            let out = op(inputs);
            (out.clone() * noise(out.dims(), 99)).sum()
        };
        let inputs = start.clone().map(Tensor::require_grad);
        let grads = value(inputs.clone()).backward();
        let dot = |a: Tensor<1>, b: Tensor<1>| -> f64 {
            values(a).into_iter().zip(values(b)).map(|(a, b)| f64::from(a) * f64::from(b)).sum()
        };
        let by_grads = (0..3).map(|i| dot(inputs[i].grad(&grads).unwrap(), direction[i].clone().inner())).sum();
        let at = |h: f32| {
            let moved = [0, 1, 2].map(|i| start[i].clone() + direction[i].clone() * h);
            f64::from(values(value(moved))[0])
        };
        [by_grads, (at(1e-2) - at(-1e-2)) / 2e-2]
    }

    #[test]
    fn gradients_match_finite_differences() {
        let [_, geometry, _] = geometries();
        let lens =
            |from: Side| [2 * geometry.map(from).len(), geometry.num_weights(), geometry.map(from.other()).channels];
        let of_map =
            |x: Tensor<1>, map: MapShape| x.reshape([2, map.channels / map.block(), map.pixels(), map.block()]);
        let window = |w: Tensor<1>| w.reshape([16, geometry.input.channels, geometry.output.channels]) * 0.05;
        let map = geometry.output;
        let norm = Normalisation { map, slope: 1.0, device: device() };
        let norm_lens = [2 * map.len(), map.channels, map.channels];
        let conv = |from| {
            let how = Convolution { geometry, from, activation: Activation::Tanh, device: device() };
            slopes(|[x, w, b]| convolve(of_map(x, *geometry.map(from)), window(w), b, how), lens(from))
        };
        for (what, [by_grads, by_differences]) in [
            ("conv", conv(Side::Input)),
            ("transposed", conv(Side::Output)),
            ("batch norm", slopes(|[x, g, b]| batch_norm(of_map(x, map), g, b, 1, norm).output, norm_lens)),
            ("group norm", slopes(|[x, g, b]| group_norm(of_map(x, map), g, b, 8, norm), norm_lens)),
        ] {
            // 2e-2: the third derivative over steps of 1e-2, and the rounding of sums of thousands.
            let off = (by_grads - by_differences).abs() / by_differences.abs();
            assert!(off < 2e-2, "{what}: {by_grads} by the backward pass, {by_differences} by differences");
        }
    }

    type AdamOp = fn(Tensor<1>, Tensor<1>, [Tensor<1>; 2], AdamStep) -> (Tensor<1>, [Tensor<1>; 2]);

    #[test]
    fn adam_is_the_same_with_and_without_kernels() {
        let start = |which| noise([100], which).inner();
        let run = |adam: AdamOp| {
            let (mut params, mut moments) = (start(1), [start(2).zeros_like(), start(2).zeros_like()]);
            for step in 1..=5 {
                let settings = AdamStep { learning_rate: 1e-2, beta1: 0.5, beta2: 0.999, epsilon: 1e-8, step };
                (params, moments) = adam(params, start(10 + u64::from(step)), moments, settings);
            }
            values(params)
        };
        let ours = run(|params, grads, moments, step| adam(params, grads, moments, step, device()));
        assert_close("adam", ours, &run(portable::adam), 1e-6);
    }
}
