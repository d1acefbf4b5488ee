//! The steady state of training asks the allocator for nothing but what Burn and `gemm` take for themselves.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use effgan_nn::gan::{Adam, Gan, TrainConfig};
use effgan_nn::kernels::adam::{self, AdamStep};
use effgan_nn::kernels::conv::{Activation, Conv, Forward, Wants};
use effgan_nn::kernels::linear;
use effgan_nn::kernels::norm::{self, NormGrads, Sizes};
use effgan_nn::kernels::per_example::{
    bias_squared_norms, conv_squared_norms, group_norm_squared_norms, linear_squared_norms, weigh_examples,
};
use effgan_nn::kernels::{Geometry, Isa, MapShape, Precision, Side, buffer};
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, init};
use effgan_nn::{Purpose, Streams, on_one_thread};

thread_local! {
    /// Calls of the allocator by this thread, and the bytes that they asked for.
    static ASKED: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    // A thread that ends frees and may allocate when its counter is gone.
    let _ = ASKED.try_with(|asked| {
        let [calls, all] = asked.get();
        asked.set([calls + 1, all + bytes]);
    });
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Calls of the allocator, and bytes, of the third call of `work` on a thread of its own.
fn third_time(mut work: impl FnMut() + Send) -> [usize; 2] {
    on_one_thread(|| {
        work();
        work();
        ASKED.set([0; 2]);
        work();
        ASKED.get()
    })
}

fn assert_silent(what: &str, work: impl FnMut() + Send) {
    assert_eq!(third_time(work), [0; 2], "calls of the allocator and bytes of {what}");
}

/// `gemm` 0.19 offers no memory of the caller's: each product makes one vector of flags, and one of the operands that it
/// packs.
fn assert_only_gemm(what: &str, products: usize, work: impl FnMut() + Send) {
    let [calls, _] = third_time(work);
    assert!(calls <= 2 * products, "{what}: {calls} calls of the allocator, {products} products");
}

const LEAKY: Activation = Activation::LeakyRelu { slope: 0.2 };
const ALL: Wants = Wants { params: true, input: true };

fn noise(len: usize, which: u64) -> Vec<f32> {
    Streams::of_run(which).normal(Purpose::Latent, 0, len)
}

fn map(channels: usize, side: usize) -> MapShape {
    MapShape { channels, height: side, width: side }
}

/// Forward and backward pass of a layer, again and again.
fn both_ways(
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
        let forward = Forward { input: &input, weights: &weights, out: &out, activation };
        let grads = conv.backward(forward, &mut grad, ALL);
        [Some(out), grads.weights, grads.bias, grads.input].into_iter().flatten().for_each(buffer::give_back);
    }
}

const WAYS: [(Side, Activation); 4] =
    [(Side::Big, LEAKY), (Side::Big, Activation::Tanh), (Side::Small, LEAKY), (Side::Small, Activation::Tanh)];

#[test]
fn convolutions_of_a_dcgan_ask_for_nothing() {
    let links = [Geometry::of_conv(map(1, 28), 32, 4, 2, 1), Geometry::of_conv(map(32, 14), 64, 4, 2, 1)];
    for (g, isa) in links.into_iter().flat_map(|g| Isa::available().into_iter().map(move |isa| (g, isa))) {
        for (from, activation) in WAYS {
            // Whole chunks of images and a rest.
            assert_silent(&format!("{g:?} {from:?}"), both_ways(isa, Precision::F32, g, from, activation, 21));
            if Precision::Bf16.is_available() {
                assert_silent(
                    &format!("{g:?} {from:?} bf16"),
                    both_ways(isa, Precision::Bf16, g, from, activation, 21),
                );
            }
        }
    }
}

#[test]
fn convolutions_by_im2col_ask_for_what_gemm_takes() {
    // Two chunks of eight images each way, and a gradient in eight pieces.
    let g = Geometry::of_conv(map(6, 9), 16, 5, 1, 0);
    for (from, activation) in WAYS {
        let layer = both_ways(Isa::in_use(), Precision::F32, g, from, activation, 16);
        assert_only_gemm(&format!("{from:?}"), 2 + 2 + 8, layer);
    }
}

/// Forward and backward pass of a linear layer.
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
fn linear_layers_ask_for_what_gemm_takes() {
    for isa in Isa::available() {
        assert_silent("one output", linear_layer(isa, linear::Sizes { n: 20, inputs: 300, outputs: 1 }));
        assert_only_gemm("many outputs", 3, linear_layer(isa, linear::Sizes { n: 20, inputs: 100, outputs: 300 }));
    }
}

fn give_back(grads: NormGrads) {
    [grads.gamma, grads.beta].into_iter().for_each(buffer::give_back);
}

#[test]
fn norms_ask_for_nothing() {
    for (isa, channels) in Isa::available().into_iter().flat_map(|isa| [6, 32].map(|channels| (isa, channels))) {
        let sizes = Sizes::of(14, &map(channels, 7));
        let (x, gamma, beta) = (noise(sizes.len(), 1), noise(channels, 2), noise(channels, 3));
        let (mut out, mut grad) = (vec![0.0; x.len()], noise(x.len(), 4));
        assert_silent("batch norm", || {
            let statistics = norm::batch_norm(isa, &sizes, 2, &x, &gamma, &beta, 0.2, &mut out);
            give_back(norm::batch_norm_backward(isa, &sizes, &x, &out, &mut grad, &gamma, &statistics, 0.2));
        });
        assert_silent("group norm", || {
            let statistics = norm::group_norm(isa, &sizes, 2, &x, &gamma, &beta, 0.2, &mut out);
            give_back(norm::group_norm_backward(isa, &sizes, 2, &x, &out, &mut grad, &gamma, &statistics, 0.2));
        });
    }
}

#[test]
fn adam_asks_for_nothing() {
    let step = AdamStep { learning_rate: 2e-4, beta1: 0.5, beta2: 0.999, epsilon: 1e-8, step: 3 };
    let [mut params, grads, mut first] = [1, 2, 3].map(|which| noise(100_000, which));
    let mut second = vec![1.0; params.len()];
    for isa in Isa::available() {
        assert_silent("Adam", || adam::update(isa, &step, &mut params, &grads, &mut first, &mut second));
    }
}

#[test]
fn norms_of_examples_ask_for_what_gemm_takes() {
    let (n, shape) = (5, map(32, 7));
    let (x, mut grad, factors) = (noise(n * shape.len(), 1), noise(n * shape.len(), 2), vec![0.5; n]);
    assert_silent("all but convolutions", || {
        buffer::give_back(linear_squared_norms(n, &x, &grad));
        buffer::give_back(bias_squared_norms(n, &shape, &grad));
        buffer::give_back(group_norm_squared_norms(n, &shape, &x, &grad));
        weigh_examples(n, &factors, &mut grad);
    });
    // 49 pixels of 512 x 64 weights: products between positions, two an example.
    let g = Geometry::of_conv(map(32, 14), 64, 4, 2, 1);
    let (big, small) = (noise(n * g.big.len(), 1), noise(n * g.small.len(), 2));
    assert_only_gemm("convolution", 2 * n, || buffer::give_back(conv_squared_norms(&g, n, &big, &small)));
}

/// A DCGAN with batch norm for 28 × 28 grey images, and `steps` of it on batches of 20.
struct Training {
    gan: Option<Gan>,
    batches: Vec<[Vec<f32>; 2]>,
}

impl Training {
    fn new(steps: u64, precision: Precision) -> Self {
        let dcgan = DcganConfig { latent_dim: 16, base_channels: 16, ..DcganConfig::default() };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap();
        let streams = Streams::of_run(3);
        let generator = init(&network.generator_tensors(), &mut streams.at(Purpose::Init, 0));
        let discriminator = init(&network.discriminator_tensors(), &mut streams.at(Purpose::Init, 1));
        let params = generator.named_under("generator").merged_with(discriminator.named_under("discriminator"));
        let train = TrainConfig { precision, ..TrainConfig::new(Adam { learning_rate: 2e-4, beta1: 0.5 }) };
        let batch = |step| {
            let real = streams.normal(Purpose::Shuffle, step, 20 * network.image_len());
            [real, streams.normal(Purpose::Latent, step, 20 * 16)]
        };
        let gan = Gan::new(&network, &params, train).unwrap();
        Self { gan: Some(gan), batches: (0..steps).map(batch).collect() }
    }

    fn step(&mut self) {
        let [real, z] = self.batches.pop().expect("a batch for each step");
        self.gan = Some(self.gan.take().expect("it is put back").step(real, z, &[]).0);
    }
}

/// What is left at this size is 2,670 calls and 436 KB: Burn's tensors (a counter, the owner of the memory and the
/// strides, each boxed), its graph's nodes and hash maps, and its copy of both halves of the discriminator's batch
/// (125 KB); a fifth of the calls are the running statistics' updates. Of memory for numbers, the kernels make ten small
/// vectors anew in the place of those that Burn drops: logits, and the norms' statistics. A feature map that is not given
/// back would be another 160 to 250 KB, and Winograd's plans made anew another 500 calls.
#[test]
fn a_step_asks_for_what_burn_takes() {
    for precision in [Precision::F32, Precision::Bf16].into_iter().filter(|precision| precision.is_available()) {
        let mut training = Training::new(3, precision);
        let [calls, bytes] = third_time(|| training.step());
        assert!(calls <= 2_720 && bytes <= 466_000, "{calls} calls of the allocator, {bytes} bytes");
    }
}
