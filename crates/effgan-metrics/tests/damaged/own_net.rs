//! By a network that was trained on the images: `fd_own`.

use std::ops::ControlFlow;

use effgan_data::{DatasetConfig, DatasetName, ImageSet};
use effgan_metrics::metric::Network;
use effgan_metrics::{ClassHistogram, Features, Labelled, OwnNet, Recipe, Reference, main_metric};
use effgan_nn::Device;
use effgan_nn::networks::ResnetShape;

use crate::noise;

const JOBS: usize = 2;
const N: usize = 500;

/// Digits of 16 × 16, on which the network is trained in seconds.
fn digits() -> [ImageSet; 2] {
    let config = DatasetConfig { size: Some(16), ..DatasetConfig::of(DatasetName::MnistMini) };
    let dataset = config.load().unwrap();
    [dataset.train, dataset.test]
}

fn of(set: &ImageSet) -> Labelled<'_> {
    Labelled { images: set.pixels(), labels: set.labels() }
}

#[test]
fn noise_one_image_and_a_missing_class_are_five_standard_errors_beyond_real_images() {
    let ([train, test], device) = (digits(), Device::cpu().unwrap());
    let shape = ResnetShape { images: train.shape(), num_classes: 10 };
    let (unseen, seen): (Vec<u32>, Vec<u32>) = (0..train.len() as u32).partition(|i| i % 5 == 4);
    let go_on = |_| ControlFlow::Continue(());
    let params = OwnNet::train(shape, of(&train), &seen, Recipe::default(), device, JOBS, go_on).unwrap().unwrap();
    let quality = OwnNet::test(shape, &params, of(&test), device, JOBS).unwrap();
    let net = OwnNet::new(shape, &params, quality, device).unwrap();

    let features = |images: &[u8]| {
        let found = net.classify(images, train.shape(), JOBS).unwrap();
        Features { values: found.features, dim: OwnNet::FEATURES, classes: found.classes, patches: None }
    };
    let compared = test.first(N);
    let classes = ClassHistogram::of_reference(compared.labels(), 10).unwrap();
    let reference = Reference::new(Network::Own, features(compared.pixels()), Some(classes)).unwrap();
    let fd = |images: &[u8]| {
        let scores = reference.score_round(&features(images), JOBS).unwrap();
        scores.get(main_metric(Network::Own)).unwrap()
    };
    let pixels =
        |indices: &[u32]| -> Vec<u8> { indices.iter().flat_map(|&i| train.image(i as usize)).copied().collect() };

    let real: Vec<f64> = unseen.chunks_exact(N).map(|split| fd(&pixels(split))).collect();
    let mean = real.iter().sum::<f64>() / real.len() as f64;
    let variance = real.iter().map(|fd| (fd - mean).powi(2)).sum::<f64>() / (real.len() - 1) as f64;
    let bound = mean + 5.0 * variance.sqrt();

    let without_a_one: Vec<u32> = unseen.iter().copied().filter(|&i| train.labels()[i as usize] != 1).take(N).collect();
    let damaged = [
        ("noise", fd(&noise(N * 256))),
        ("one image", fd(&train.image(0).repeat(N))),
        ("a missing class", fd(&pixels(&without_a_one))),
    ];
    for (damage, fd) in damaged {
        assert!(fd > bound, "{damage}: {fd}, and real images {real:?}");
    }
}
