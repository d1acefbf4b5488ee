//! The kernels of a training step at base 64 and batch 64:
//! `cargo bench --locked --profile release --bench kernels`.
//!
//! On one thread. Criterion's throughput counts the multiply-adds of plain loops, so that a faster algorithm has a
//! higher throughput.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use effgan_kernels::adam::{self, AdamStep};
use effgan_kernels::conv::{Activated, Activation, Conv, Input, Wants};
use effgan_kernels::norm::{self, Sizes};
use effgan_kernels::{Geometry, Isa, MapShape, Precision, Side, activation, buffer, im2col};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

const BATCH: usize = 64;
const LEAKY: Activation = Activation::LeakyRelu { slope: 0.2 };
const ALL: Wants = Wants { params: true, input: true };

fn noise(len: usize, which: u64) -> Vec<f32> {
    StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(which)).take(len).collect()
}

fn map(channels: usize, side: usize) -> MapShape {
    MapShape { channels, height: side, width: side }
}

/// The outer and the inner layer of the discriminator for 28 pixels, the widest ones for 64 and 128 pixels, and one of
/// a `ResNet` for 32 pixels.
fn layers() -> [(&'static str, Geometry); 5] {
    [
        ("outer 1x28x28 64x14x14", Geometry::of_conv(map(1, 28), 64, 4, 2, 1)),
        ("inner 64x14x14 128x7x7", Geometry::of_conv(map(64, 14), 128, 4, 2, 1)),
        ("wide 256x8x8 512x4x4", Geometry::of_conv(map(256, 8), 512, 4, 2, 1)),
        ("widest 512x8x8 1024x4x4", Geometry::of_conv(map(512, 8), 1024, 4, 2, 1)),
        ("resnet 64x32x32 64x32x32", Geometry::of_conv(map(64, 32), 64, 3, 1, 1)),
    ]
}

fn convolutions(c: &mut Criterion, isa: Isa) {
    for (name, g) in layers() {
        let precisions = [Precision::F32, Precision::Bf16].into_iter().filter(|precision| precision.is_available(isa));
        for precision in precisions {
            let conv = Conv::new(isa, precision, &g, Side::Input, BATCH);
            let (input, weights, bias) = (noise(BATCH * g.input.len(), 1), noise(g.num_weights(), 2), noise(1024, 3));
            let bias = &bias[..g.output.channels];
            let mut group = c.benchmark_group(format!("{name} {}", precision.name()));
            let products = (BATCH * g.multiply_adds()) as u64;
            group.throughput(Throughput::Elements(products));
            group.bench_function("forward", |b| {
                b.iter(|| buffer::give_back(conv.forward(black_box(&input), &weights, bias, LEAKY)));
            });
            let out = conv.forward(&input, &weights, bias, LEAKY);
            let (signs, grad) = (activation::signs(isa, &out), noise(out.len(), 4));
            group.throughput(Throughput::Elements(2 * products));
            group.bench_function("backward", |b| {
                b.iter(|| {
                    let mut grad = grad.clone();
                    let activated = Activated::LeakyRelu(&signs, 0.2);
                    let grads = conv.backward(Input::Shared(&input), &weights, activated, black_box(&mut grad), ALL);
                    [grads.weights, grads.input].into_iter().flatten().for_each(buffer::give_back);
                });
            });
            group.finish();
        }
        let mut group = c.benchmark_group(format!("{name} im2col"));
        group.throughput(Throughput::Elements((BATCH * g.multiply_adds()) as u64));
        let (input, weights) = (noise(BATCH * g.input.len(), 1), noise(g.num_weights(), 2));
        let mut output = vec![0.0; BATCH * g.output.len()];
        group.bench_function("forward", |b| {
            b.iter(|| im2col::conv(isa, &g, BATCH, black_box(&input), &weights, None, 1.0, &mut output));
        });
        group.finish();
    }
}

fn norms(c: &mut Criterion, isa: Isa) {
    let sizes = Sizes::of(BATCH, &map(128, 7));
    let (x, gamma, beta) = (noise(sizes.len(), 1), noise(128, 2), noise(128, 3));
    let mut out = vec![0.0; x.len()];
    let mut group = c.benchmark_group("batch norm 128x7x7");
    group.throughput(Throughput::Bytes(4 * x.len() as u64));
    group.bench_function("forward", |b| {
        b.iter(|| norm::batch_norm(isa, &sizes, 1, black_box(&x), &gamma, &beta, 0.2, &mut out));
    });
    let statistics = norm::batch_norm(isa, &sizes, 1, &x, &gamma, &beta, 0.2, &mut out);
    let mut grad = noise(x.len(), 4);
    group.bench_function("backward", |b| {
        b.iter(|| norm::batch_norm_backward(isa, &sizes, &x, black_box(&mut grad), &gamma, &beta, &statistics, 0.2));
    });
    group.finish();
}

fn adam(c: &mut Criterion, isa: Isa) {
    const PARAMS: usize = 890_000;
    let step = AdamStep { learning_rate: 2e-4, beta1: 0.5, beta2: 0.999, epsilon: 1e-8, step: 3 };
    let (mut params, grads) = (noise(PARAMS, 1), noise(PARAMS, 2));
    let (mut first, mut second) = (vec![0.0; PARAMS], vec![0.0; PARAMS]);
    let mut group = c.benchmark_group("adam");
    group.throughput(Throughput::Elements(PARAMS as u64));
    group.bench_function("890,000 parameters", |b| {
        b.iter(|| adam::update(isa, &step, black_box(&mut params), &grads, &mut first, &mut second));
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    // The kernels run on the threads of the current pool.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("no pool was built before");
    let isa = Isa::wanted().unwrap_or_else(|error| panic!("{error}"));
    convolutions(c, isa);
    norms(c, isa);
    adam(c, isa);
}

criterion_group!(kernels, all);
criterion_main!(kernels);
