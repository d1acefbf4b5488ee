//! Each operation on a GPU, compared with its kernel on the CPU: outputs and gradients, over random shapes.
//!
//! Inputs and results are in the layouts of files, so that the layouts of both memories are tested too.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

use super::*;
use crate::networks::layers::values;
use crate::networks::{Layout, Order};
use crate::{Array, Purpose, Streams};

const SHAPES: u64 = 6;

/// A tensor in a file's layout, and how it lies in memory.
#[derive(Clone)]
struct Value {
    array: Array,
    kind: ValueKind,
}

#[derive(Clone, Copy)]
enum ValueKind {
    /// A batch of maps, `[n, c, h, w]` in files.
    Maps(MapShape),
    /// Anything else.
    Of(Layout),
}

impl Value {
    fn noise(shape: impl Into<Vec<usize>>, kind: ValueKind, which: u64) -> Self {
        let shape = shape.into();
        let noise = Streams::of_run(which).normal(Purpose::Latent, 0, shape.iter().product());
        Self { array: Array::new(shape, noise), kind }
    }

    fn maps(n: usize, map: MapShape, which: u64) -> Self {
        Self::noise([n, map.channels, map.height, map.width], ValueKind::Maps(map), which)
    }

    fn plain(shape: impl Into<Vec<usize>>, which: u64) -> Self {
        Self::noise(shape, ValueKind::Of(Layout::Plain), which)
    }

    fn scaled(mut self, factor: f32) -> Self {
        self.array.values_mut().iter_mut().for_each(|value| *value *= factor);
        self
    }

    fn on<const D: usize>(&self, device: Device) -> Tensor<D> {
        let memory = device.order();
        let array = match self.kind {
            ValueKind::Of(layout) => layout.to_memory(&self.array, memory),
            ValueKind::Maps(map) => {
                let (n, block) = (self.array.shape[0], device.block(&map));
                let images = self.array.values().chunks(map.len());
                let image = |image: &[f32]| {
                    Layout::Map(map).to_memory(&Array::new([map.len()], image.to_vec()), memory).into_values()
                };
                Array::new([n, map.channels / block, map.pixels(), block], images.flat_map(image).collect::<Vec<_>>())
            }
        };
        Tensor::from_data(TensorData::new(array.values().to_vec(), array.shape.clone()), &device.for_training().burn)
    }

    /// The values of a tensor of this kind in the layout of files.
    fn in_file<const D: usize>(&self, tensor: Tensor<D>, memory: Order) -> Vec<f32> {
        let shape = tensor.dims().to_vec();
        let found = values(tensor);
        match self.kind {
            ValueKind::Of(layout) => layout.to_files(&Array::new(shape, found), memory).into_values(),
            ValueKind::Maps(map) => {
                let image = |image: &[f32]| {
                    Layout::Map(map).to_files(&Array::new([map.len()], image.to_vec()), memory).into_values()
                };
                found.chunks(map.len()).flat_map(image).collect()
            }
        }
    }
}

fn gpu() -> Device {
    let device = Device::of_tests();
    assert_eq!(device.order(), Order::ChannelsLast, "EFFGAN_TEST_DEVICE = gpu:0");
    device
}

/// Compares an operation of three inputs on both devices: its output, which is of kind `out`, and the gradients of a weighted sum of it.
fn same<const X: usize, const W: usize, const B: usize, const O: usize>(
    what: &str,
    [x, w, b]: [&Value; 3],
    out: ValueKind,
    op: impl Fn(Tensor<X>, Tensor<W>, Tensor<B>, Device) -> Tensor<O>,
) {
    let run = |device: Device| {
        let memory = device.order();
        let (a, c, d) = (x.on(device).require_grad(), w.on(device).require_grad(), b.on(device).require_grad());
        let output = op(a.clone(), c.clone(), d.clone(), device);
        let dims = match out {
            ValueKind::Maps(map) => vec![output.dims()[0], map.channels, map.height, map.width],
            ValueKind::Of(_) => output.dims().to_vec(),
        };
        let weights = Value::noise(dims, out, 99);
        let grads = (output.clone() * weights.on(device)).sum().backward();
        let found = "every input has a gradient";
        [
            weights.in_file(output.inner(), memory),
            x.in_file(a.grad(&grads).expect(found), memory),
            w.in_file(c.grad(&grads).expect(found), memory),
            b.in_file(d.grad(&grads).expect(found), memory),
        ]
    };
    let parts = ["output", "x", "w", "b"].iter().zip(run(gpu()).into_iter().zip(run(Device::cpu().unwrap())));
    for (part, (ours, theirs)) in parts {
        // A sum over all pixels may cancel to almost nothing.
        let largest = theirs.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
        let off = ours.iter().zip(&theirs).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
        // f32 sums in another order, and Winograd's transforms.
        assert!(ours.len() == theirs.len() && off <= 1e-4 * largest, "{what}: {part} is off by {off} of {largest}");
    }
}

/// A number of `range` for test `which`.
fn draw(which: u64, what: u64, range: std::ops::RangeInclusive<usize>) -> usize {
    Streams::of_run(which).at(Purpose::Shuffle, what).random_range(range)
}

#[test]
fn convolutions_match_their_kernels() {
    for which in 0..SHAPES {
        let kernel = [1, 3, 4, 5][draw(which, 0, 0..=3)];
        let (stride, padding) = (draw(which, 1, 1..=2), draw(which, 2, 0..=kernel / 2));
        let channels = |what| [1, 3, 6, 16, 32][draw(which, what, 0..=4)];
        // Sides that a transposed convolution gives back.
        let side = |what| draw(which, what, 2..=7) * stride + kernel - 2 * padding;
        let input = MapShape { channels: channels(3), height: side(4), width: side(5) };
        let geometry = Geometry::of_conv(input, channels(6), kernel, stride, padding);
        let weights = [geometry.output.channels, geometry.input.channels, kernel, kernel];
        let weights = Value::noise(weights, ValueKind::Of(Layout::Window), 2).scaled(0.1);
        for (from, activation) in [
            (Side::Input, Activation::Identity),
            (Side::Input, Activation::LeakyRelu { slope: 0.2 }),
            (Side::Output, Activation::Identity),
            (Side::Output, Activation::Tanh),
        ] {
            let (read, written) = (*geometry.map(from), *geometry.map(from.other()));
            let inputs = [&Value::maps(3, read, 1), &weights, &Value::plain([written.channels], 3)];
            same(
                &format!("{geometry:?} {from:?} {activation:?}"),
                inputs,
                ValueKind::Maps(written),
                |x, w, b, device| convolve(x, w, b, Convolution { geometry, from, activation, device }),
            );
        }
    }
}

#[test]
fn linear_layers_match_their_kernels() {
    for which in 0..SHAPES {
        let (n, outputs) = (draw(which, 0, 1..=9), draw(which, 1, 1..=40));
        let map = MapShape { channels: [3, 16, 48][draw(which, 2, 0..=2)], height: 2, width: 3 };
        let layout = Layout::Linear { inputs: Some(map), outputs: None };
        let weights = Value::noise([outputs, map.len()], ValueKind::Of(layout), 2).scaled(0.1);
        let inputs = [&Value::maps(n, map, 1), &weights, &Value::plain([outputs], 3)];
        same("linear", inputs, ValueKind::Of(Layout::Plain), |x: Tensor<4>, w, b, device| {
            linear(x.flatten(1, 3), w, b, device)
        });
    }
}

#[test]
fn norms_match_their_kernels() {
    for which in 0..SHAPES {
        let channels = [6, 16, 48][draw(which, 0, 0..=2)];
        let map = MapShape { channels, height: draw(which, 1, 1..=6), width: draw(which, 2, 2..=6) };
        let mut gamma = Value::plain([channels], 2).scaled(0.3);
        gamma.array.values_mut().iter_mut().for_each(|value| *value += 1.0);
        let (x, beta) = (Value::maps(4, map, 1), Value::plain([channels], 3));
        let how = |slope, device| Normalisation { map, slope, device };
        for batches in [1, 2] {
            same("batch norm", [&x, &gamma, &beta], ValueKind::Maps(map), |x, g, b, device| {
                batch_norm(x, g, b, batches, how(0.2, device)).output
            });
            let statistics = |device: Device| {
                let normed = batch_norm(x.on(device), gamma.on(device), beta.on(device), batches, how(1.0, device));
                [values(normed.mean), values(normed.variance)]
            };
            for (ours, theirs) in
                statistics(gpu()).iter().flatten().zip(statistics(Device::cpu().unwrap()).iter().flatten())
            {
                assert!((ours - theirs).abs() < 1e-5, "{ours} is not {theirs}");
            }
        }
        same("group norm", [&x, &gamma, &beta], ValueKind::Maps(map), |x, g, b, device| {
            group_norm(x, g, b, 2, how(0.0, device))
        });
        let scaled = |device: Device| {
            let inner = |value: &Value| value.on::<1>(device).inner();
            values(scale_shift(x.on::<4>(device).inner(), inner(&gamma), inner(&beta), how(0.2, device)))
        };
        let cpu = Tensor::<4>::from_data(
            TensorData::new(scaled(Device::cpu().unwrap()), x.on::<4>(Device::cpu().unwrap()).dims()),
            &Device::cpu().unwrap().for_inference().burn,
        );
        let theirs = x.in_file(cpu, Order::Kernels);
        let ours = Tensor::<4>::from_data(
            TensorData::new(scaled(gpu()), x.on::<4>(gpu()).dims()),
            &Device::cpu().unwrap().for_inference().burn,
        );
        for (ours, theirs) in x.in_file(ours, Order::ChannelsLast).iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-5, "{ours} is not {theirs}");
        }
    }
}

#[test]
fn resampling_matches_its_kernels() {
    for which in 0..SHAPES {
        let channels = [6, 16, 32][draw(which, 0, 0..=2)];
        let small = MapShape { channels, height: draw(which, 1, 1..=5), width: draw(which, 2, 1..=5) };
        let big = MapShape { height: 2 * small.height, width: 2 * small.width, ..small };
        let one = |which| Value::plain([1], which);
        same(
            "mean",
            [&Value::maps(2, big, 1), &one(2), &one(3)],
            ValueKind::Maps(small),
            |x, w: Tensor<1>, b: Tensor<1>, device| {
                mean_pixels(x, big, device) * w.reshape([1, 1, 1, 1]) + b.reshape([1, 1, 1, 1])
            },
        );
        let inputs = [&Value::maps(2, big, 1), &Value::maps(2, small, 2), &one(3)];
        same("repeat", inputs, ValueKind::Maps(big), |x, w, b: Tensor<1>, device| {
            add_repeated(x, w, small, device) + b.reshape([1, 1, 1, 1])
        });
        same(
            "relu",
            [&Value::maps(2, big, 1), &one(2), &one(3)],
            ValueKind::Maps(big),
            |x, w: Tensor<1>, b: Tensor<1>, device| relu(x, device) * w.reshape([1, 1, 1, 1]) + b.reshape([1, 1, 1, 1]),
        );
    }
}
