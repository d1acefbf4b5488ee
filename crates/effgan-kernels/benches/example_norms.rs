//! The norms of all gradients of single examples against a plain step of the same discriminator:
//! `cargo bench --locked --profile release --bench example_norms`.
//!
//! Networks of base 64, unless a row says otherwise, on 64 real and 64 generated images, on one thread. The plain step counts only the forward and
//! the backward kernels of the layers, the norms all layers and all 128 images. Both are measured in turns; times are
//! medians of the thread's CPU time, so that other programs matter little.

#![allow(clippy::print_stdout, reason = "the result of the benchmark")]

use std::hint::black_box;

use effgan_kernels::conv::{Activated, Activation, Conv, Input, Wants};
use effgan_kernels::linear;
use effgan_kernels::norm::{self, Sizes};
use effgan_kernels::per_example::{
    conv_mean_squared_norms, conv_squared_norms, group_norm_squared_norms, linear_squared_norms,
};
use effgan_kernels::{Geometry, Isa, MapShape, Precision, Side, activation, buffer};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// Real and generated images.
const N: usize = 128;
/// Group norm's groups: those of a DCGAN whose channels are a multiple of 8.
const GROUPS: usize = 8;
const TURNS: usize = 9;

fn noise(len: usize) -> Vec<f32> {
    StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(len as u64)).take(len).collect()
}

fn map(channels: usize, side: usize) -> MapShape {
    MapShape { channels, height: side, width: side }
}

/// A layer with random inputs and gradients.
struct Layer {
    kind: Kind,
    /// Whether it reads images, whose gradient is not needed.
    is_first: bool,
    input: Vec<f32>,
    grad: Vec<f32>,
}

enum Kind {
    Conv(Geometry, Activation),
    /// A convolution and the mean over 2 × 2 pixels after it, which a step computes as one of a wider window.
    ConvMean {
        conv: Geometry,
        both: Geometry,
    },
    GroupNorm(MapShape),
    Linear(usize),
}

impl Layer {
    fn new(kind: Kind, is_first: bool) -> Self {
        let [input, output] = match &kind {
            Kind::Conv(g, _) | Kind::ConvMean { both: g, .. } => [g.input.len(), g.output.len()],
            Kind::GroupNorm(map) => [map.len(); 2],
            Kind::Linear(inputs) => [*inputs, 1],
        };
        Self { kind, is_first, input: noise(N * input), grad: noise(N * output) }
    }

    /// A forward and a backward pass of a batch, to be run repeatedly.
    fn step(&self, isa: Isa) -> Box<dyn FnMut() + '_> {
        let wants = Wants { params: true, input: !self.is_first };
        match &self.kind {
            Kind::Conv(g, activation) => self.conv_step(isa, g, *activation, wants),
            Kind::ConvMean { both, .. } => self.conv_step(isa, both, Activation::Identity, wants),
            Kind::GroupNorm(map) => {
                let (sizes, ones) = (Sizes::of(N, map), vec![1.0; map.channels]);
                let (mut out, mut grad) = (vec![0.0; self.input.len()], self.grad.clone());
                Box::new(move || {
                    let x = black_box(&self.input);
                    let statistics = norm::group_norm(isa, &sizes, GROUPS, x, &ones, &ones, 0.2, &mut out);
                    black_box(norm::group_norm_backward(
                        isa,
                        &sizes,
                        GROUPS,
                        x,
                        &mut grad,
                        &ones,
                        &ones,
                        &statistics,
                        0.2,
                    ));
                })
            }
            Kind::Linear(inputs) => {
                let (sizes, weights) = (linear::Sizes { n: N, inputs: *inputs, outputs: 1 }, noise(*inputs));
                Box::new(move || {
                    buffer::give_back(linear::forward(isa, &sizes, black_box(&self.input), &weights, &[0.0]));
                    buffer::give_back(linear::weight_grad(isa, &sizes, &self.input, &self.grad));
                    buffer::give_back(linear::input_grad(isa, &sizes, &weights, &self.grad));
                })
            }
        }
    }

    fn conv_step(&self, isa: Isa, g: &Geometry, activation: Activation, wants: Wants) -> Box<dyn FnMut() + '_> {
        let conv = Conv::new(isa, Precision::F32, g, Side::Input, N);
        let (weights, bias) = (noise(g.num_weights()), noise(g.output.channels));
        let mut grad = self.grad.clone();
        Box::new(move || {
            let input = black_box(&self.input);
            let out = conv.forward(input, &weights, &bias, activation);
            let signs = activation::signs(isa, &out);
            let activated = match activation {
                Activation::LeakyRelu { slope } => Activated::LeakyRelu(&signs, slope),
                Activation::Identity | Activation::Tanh => Activated::Identity,
            };
            let grads = conv.backward(Input::Shared(input), &weights, activated, &mut grad, wants);
            [Some(out), grads.weights, grads.bias, grads.input].into_iter().flatten().for_each(buffer::give_back);
        })
    }

    /// The norms of all parameters, to be run repeatedly.
    fn norms(&self, isa: Isa) -> Box<dyn FnMut() + '_> {
        let (input, grad) = (&self.input, &self.grad);
        match &self.kind {
            Kind::Conv(g, _) => Box::new(move || {
                buffer::give_back(conv_squared_norms(isa, g, N, black_box(input), grad));
            }),
            Kind::ConvMean { conv, .. } => Box::new(move || {
                buffer::give_back(conv_mean_squared_norms(isa, conv, N, black_box(input), grad));
            }),
            Kind::GroupNorm(map) => {
                let (sizes, ones) = (Sizes::of(N, map), vec![1.0; map.channels]);
                let mut out = vec![0.0; input.len()];
                let statistics = norm::group_norm(isa, &sizes, GROUPS, input, &ones, &ones, 0.2, &mut out);
                Box::new(move || {
                    let norms = group_norm_squared_norms(isa, &sizes, black_box(input), &statistics, grad);
                    buffer::give_back(norms);
                })
            }
            Kind::Linear(_) => Box::new(move || {
                buffer::give_back(linear_squared_norms(isa, N, black_box(input), grad));
            }),
        }
    }
}

/// The discriminator of a DCGAN with group norm, whose stages halve the map while its sides are at least 8.
fn dcgan(channels: usize, side: usize, base: usize) -> Vec<Layer> {
    let (mut layers, mut input) = (Vec::new(), map(channels, side));
    for stage in 0..=(side / 8).ilog2() as usize {
        let g = Geometry::of_conv(input, base << stage, 4, 2, 1);
        let activation = if stage == 0 { Activation::LeakyRelu { slope: 0.2 } } else { Activation::Identity };
        layers.push(Layer::new(Kind::Conv(g, activation), stage == 0));
        layers.extend((stage > 0).then(|| Layer::new(Kind::GroupNorm(g.output), false)));
        input = g.output;
    }
    layers.push(Layer::new(Kind::Linear(input.len()), false));
    layers
}

/// The discriminator of a `ResNet`, without the division of its weights by their σ: blocks that halve the map to 8 × 8,
/// and two more.
fn resnet(side: usize, base: usize) -> Vec<Layer> {
    let (mut layers, mut input) = (Vec::new(), map(3, side));
    let relu = Activation::LeakyRelu { slope: 0.0 };
    let halvings = (side / 8).ilog2() as usize;
    for block in 0..halvings + 2 {
        let middle = map(base, input.height);
        let conv = Geometry::of_conv(middle, base, 3, 1, 1);
        layers.push(Layer::new(Kind::Conv(Geometry::of_conv(input, base, 3, 1, 1), relu), block == 0));
        if block >= halvings {
            layers.push(Layer::new(Kind::Conv(conv, Activation::Identity), false));
            continue;
        }
        let both = Geometry::of_conv(middle, base, 4, 2, 1);
        layers.push(Layer::new(Kind::ConvMean { conv, both }, false));
        // After the mean of its input.
        let shortcut = Geometry::of_conv(map(input.channels, input.height / 2), base, 1, 1, 0);
        layers.push(Layer::new(Kind::Conv(shortcut, Activation::Identity), block == 0));
        input = both.output;
    }
    layers.push(Layer::new(Kind::Linear(base), false));
    layers
}

/// CPU milliseconds of this thread.
fn milliseconds() -> f64 {
    // Brings the system's account up to date.
    std::thread::yield_now();
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this benchmark needs Linux");
    let nanoseconds = statistics.split(' ').next().and_then(|field| field.parse::<f64>().ok());
    1e-6 * nanoseconds.expect("the first field is a number of nanoseconds")
}

fn time(work: &mut [Box<dyn FnMut() + '_>]) -> Vec<f64> {
    let time = |work: &mut Box<dyn FnMut() + '_>| {
        let started = milliseconds();
        work();
        milliseconds() - started
    };
    work.iter_mut().map(time).collect()
}

/// The median of each layer's times.
fn medians(turns: &[Vec<f64>]) -> Vec<f64> {
    let median = |layer: usize| {
        let mut times: Vec<f64> = turns.iter().map(|turn| turn[layer]).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    (0..turns[0].len()).map(median).collect()
}

fn name(kind: &Kind) -> String {
    match kind {
        Kind::Conv(g, _) => {
            format!("{0}x{0}, {1} to {2}, kernel {3}", g.input.height, g.input.channels, g.output.channels, g.kernel)
        }
        Kind::ConvMean { conv, .. } => {
            format!("{0}x{0}, {1} to {2}, kernel 3, mean", conv.input.height, conv.input.channels, conv.output.channels)
        }
        Kind::GroupNorm(map) => format!("group norm of {} channels", map.channels),
        Kind::Linear(inputs) => format!("linear, {inputs} to 1"),
    }
}

fn measure(network: &str, layers: &[Layer]) {
    let isa = Isa::wanted().unwrap_or_else(|error| panic!("{error}"));
    let mut steps: Vec<_> = layers.iter().map(|layer| layer.step(isa)).collect();
    let mut norms: Vec<_> = layers.iter().map(|layer| layer.norms(isa)).collect();
    let (mut of_step, mut of_norms) = (Vec::new(), Vec::new());
    for i in 0..=TURNS {
        let times = (time(&mut steps), time(&mut norms));
        // The first turn is a warm-up.
        if i > 0 {
            of_step.push(times.0);
            of_norms.push(times.1);
        }
    }
    let (of_step, of_norms) = (medians(&of_step), medians(&of_norms));
    let (step, norms) = (of_step.iter().sum::<f64>(), of_norms.iter().sum::<f64>());
    println!("{network:<20} plain step {step:8.1} ms, norms {norms:7.1} ms, ratio {:.2}", norms / step);
    for ((layer, step), norms) in layers.iter().zip(of_step).zip(of_norms) {
        println!("    {:<36} {step:8.2} ms, norms {norms:7.2} ms, ratio {:.2}", name(&layer.kind), norms / step);
    }
}

fn main() {
    // The kernels run on the threads of the current pool: all work is in its only one, whose time is measured.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    pool.install(|| {
        for (name, layers) in [
            ("dcgan 28", dcgan(1, 28, 64)),
            ("dcgan 32", dcgan(3, 32, 64)),
            ("dcgan 64", dcgan(3, 64, 64)),
            ("dcgan 128", dcgan(3, 128, 64)),
            ("resnet 32", resnet(32, 64)),
            ("resnet 32, base 128", resnet(32, 128)),
            ("resnet 64", resnet(64, 64)),
        ] {
            measure(name, &layers);
        }
    });
}
