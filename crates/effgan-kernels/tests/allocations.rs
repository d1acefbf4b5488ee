//! In its steady state a kernel allocates nothing.

mod counting;

use counting::third_time;
use effgan_kernels::activation;
use effgan_kernels::adam::{self, AdamStep};
use effgan_kernels::conv::{Activated, Activation, Conv, Input, Wants};
use effgan_kernels::linear;
use effgan_kernels::norm::{self, NormGrads, Sizes};
use effgan_kernels::per_example::{
    conv_mean_squared_norms, conv_squared_norms, group_norm_squared_norms, linear_squared_norms, weigh_examples,
};
use effgan_kernels::{Geometry, Isa, MapShape, Precision, Side, buffer};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

fn assert_silent(what: &str, work: impl FnMut() + Send) {
    assert_eq!(third_time(work), [0; 2], "calls of the allocator and bytes of {what}");
}

const LEAKY: Activation = Activation::LeakyRelu { slope: 0.2 };
const ALL: Wants = Wants { params: true, input: true };

fn noise(len: usize, which: u64) -> Vec<f32> {
    StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(which)).take(len).collect()
}

fn map(channels: usize, side: usize) -> MapShape {
    MapShape { channels, height: side, width: side }
}

/// A forward and a backward pass of a layer, to be run repeatedly.
fn both_passes(
    isa: Isa,
    precision: Precision,
    g: Geometry,
    from: Side,
    activation: Activation,
    n: usize,
) -> impl FnMut() {
    let (input, out_len) = (noise(n * g.map(from).len(), 1), n * g.map(from.other()).len());
    let (weights, bias) = (noise(g.num_weights(), 2), noise(g.map(from.other()).channels, 3));
    let mut grad = noise(out_len, 4);
    move || {
        let conv = Conv::new(isa, precision, &g, from, n);
        let out = conv.forward(&input, &weights, &bias, activation);
        let signs = activation::signs(isa, &out);
        let activated = match activation {
            Activation::Identity => Activated::Identity,
            Activation::LeakyRelu { slope } => Activated::LeakyRelu(&signs, slope),
            Activation::Tanh => Activated::Tanh(&out),
        };
        let grads = conv.backward(Input::Shared(&input), &weights, activated, &mut grad, ALL);
        [Some(out), grads.weights, grads.bias, grads.input].into_iter().flatten().for_each(buffer::give_back);
    }
}

const LAYERS: [(Side, Activation); 4] =
    [(Side::Input, LEAKY), (Side::Input, Activation::Tanh), (Side::Output, LEAKY), (Side::Output, Activation::Tanh)];

#[test]
fn convolutions_of_a_dcgan_allocate_nothing() {
    let layers = [Geometry::of_conv(map(1, 28), 32, 4, 2, 1), Geometry::of_conv(map(32, 14), 64, 4, 2, 1)];
    for (g, isa) in layers.into_iter().flat_map(|g| Isa::available().into_iter().map(move |isa| (g, isa))) {
        for (from, activation) in LAYERS {
            // 21 images are some whole chunks and a shorter one.
            assert_silent(&format!("{g:?} {from:?}"), both_passes(isa, Precision::F32, g, from, activation, 21));
            if Precision::Bf16.is_available(isa) {
                assert_silent(
                    &format!("{g:?} {from:?} bf16"),
                    both_passes(isa, Precision::Bf16, g, from, activation, 21),
                );
            }
        }
    }
}

#[test]
fn convolutions_by_im2col_allocate_nothing() {
    // Two chunks of eight images in each of two passes, and a gradient in eight pieces.
    let g = Geometry::of_conv(map(6, 9), 16, 5, 1, 0);
    for (from, activation) in LAYERS {
        assert_silent(
            &format!("{from:?}"),
            both_passes(Isa::wanted().unwrap(), Precision::F32, g, from, activation, 16),
        );
    }
}

/// A forward and a backward pass of a linear layer.
fn linear_layer(isa: Isa, sizes: linear::Sizes) -> impl FnMut() {
    let (x, weights) = (noise(sizes.n * sizes.inputs, 1), noise(sizes.inputs * sizes.outputs, 2));
    let (bias, grad) = (noise(sizes.outputs, 3), noise(sizes.n * sizes.outputs, 4));
    move || {
        buffer::give_back(linear::forward(isa, &sizes, &x, &weights, &bias));
        buffer::give_back(linear::bias_grad(isa, &sizes, &grad));
        buffer::give_back(linear::weight_grad(isa, &sizes, &x, &grad));
        buffer::give_back(linear::input_grad(isa, &sizes, &weights, &grad));
    }
}

#[test]
fn linear_layers_allocate_nothing() {
    for isa in Isa::available() {
        assert_silent("one output", linear_layer(isa, linear::Sizes { n: 20, inputs: 300, outputs: 1 }));
        assert_silent("many outputs", linear_layer(isa, linear::Sizes { n: 20, inputs: 100, outputs: 300 }));
    }
}

fn give_back(grads: NormGrads) {
    [grads.gamma, grads.beta].into_iter().for_each(buffer::give_back);
}

#[test]
fn norms_allocate_nothing() {
    for (isa, channels) in Isa::available().into_iter().flat_map(|isa| [6, 32].map(|channels| (isa, channels))) {
        let sizes = Sizes::of(14, &map(channels, 7));
        let (x, gamma, beta) = (noise(sizes.len(), 1), noise(channels, 2), noise(channels, 3));
        let (mut out, mut grad) = (vec![0.0; x.len()], noise(x.len(), 4));
        assert_silent("batch norm", || {
            let statistics = norm::batch_norm(isa, &sizes, 2, &x, &gamma, &beta, 0.2, &mut out);
            give_back(norm::batch_norm_backward(isa, &sizes, &x, &mut grad, &gamma, &beta, &statistics, 0.2));
        });
        assert_silent("group norm", || {
            let statistics = norm::group_norm(isa, &sizes, 2, &x, &gamma, &beta, 0.2, &mut out);
            give_back(norm::group_norm_backward(isa, &sizes, 2, &x, &mut grad, &gamma, &beta, &statistics, 0.2));
        });
    }
}

#[test]
fn adam_allocates_nothing() {
    let step = AdamStep { learning_rate: 2e-4, beta1: 0.5, beta2: 0.999, epsilon: 1e-8, step: 3 };
    let [mut params, grads, mut first] = [1, 2, 3].map(|which| noise(100_000, which));
    let mut second = vec![1.0; params.len()];
    for isa in Isa::available() {
        assert_silent("Adam", || adam::update(isa, &step, &mut params, &grads, &mut first, &mut second));
    }
}

#[test]
fn norms_of_examples_allocate_nothing() {
    let (isa, n, shape) = (Isa::wanted().unwrap(), 5, map(32, 8));
    let (x, mut grad, factors) = (noise(n * shape.len(), 1), noise(n * shape.len(), 2), vec![0.5; n]);
    let sizes = Sizes::of(n, &shape);
    let (ones, mut out) = (vec![1.0; shape.channels], vec![0.0; x.len()]);
    let statistics = norm::group_norm(isa, &sizes, 2, &x, &ones, &ones, 1.0, &mut out);
    let conv = |map, kernel, stride| Geometry::of_conv(map, 32, kernel, stride, 1);
    let colour = conv(map(3, 16), 4, 2);
    assert_silent("norms", || {
        buffer::give_back(conv_squared_norms(isa, &conv(map(32, 8), 3, 1), n, &x, &grad));
        buffer::give_back(conv_squared_norms(isa, &colour, n, &x[..n * colour.input.len()], &grad));
        buffer::give_back(conv_mean_squared_norms(isa, &conv(map(32, 8), 3, 1), n, &x, &grad[..n * 32 * 16]));
        buffer::give_back(linear_squared_norms(isa, n, &x, &grad));
        buffer::give_back(group_norm_squared_norms(isa, &sizes, &x, &statistics, &grad));
        weigh_examples(n, &factors, &mut grad);
    });
}
