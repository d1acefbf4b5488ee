//! Damaged images are seen without a feature network: each moves the sliced Wasserstein distance, or what neighbours among low-passes tell,
//! by more than five standard errors of what real images have.

use effgan_data::{DatasetConfig, DatasetName};
use effgan_metrics::metric::{Metric, Network};
use effgan_metrics::{Features, METRICS, Patches, Reference, Scores, low_pass};

const SHAPE: [usize; 3] = [1, 28, 28];
const IMAGE_LEN: usize = 28 * 28;
/// Images of a set.
const N: usize = 1000;

/// Low-passes and patches of images.
fn features(images: &[u8]) -> Features {
    let n = images.len() / IMAGE_LEN;
    let mut patches = Patches::none_of(SHAPE);
    patches.add(images, 0..n, n, 2);
    Features { values: low_pass(images, SHAPE, 2), dim: 256, classes: Vec::new(), patches: Some(patches) }
}

fn metric(name: &str) -> &'static Metric {
    METRICS.iter().find(|metric| metric.name == name).unwrap()
}

/// Sets of digits, of which one is the reference, and the scores of the others but the last.
struct Real {
    last: Vec<u8>,
    reference: Reference,
    splits: Vec<Scores>,
}

impl Real {
    fn digits() -> Self {
        let digits = DatasetConfig::of(DatasetName::MnistMini).load().unwrap().train;
        // Digits of one writer follow each other, and MNIST's two sources alternate: 7919 is prime to the number of digits.
        let image = |i: usize| digits.image(i * 7919 % (10 * N));
        let set = |i: usize| (i * N..(i + 1) * N).flat_map(image).copied().collect::<Vec<u8>>();
        let reference = Reference::new(Network::LowPass, features(&set(0)), None).unwrap();
        let splits = (1..9).map(|i| reference.score_round(&features(&set(i)), 2).unwrap()).collect();
        Self { last: set(9), reference, splits }
    }

    fn score(&self, images: &[u8]) -> Scores {
        self.reference.score_round(&features(images), 2).unwrap()
    }

    /// How far the scores of `images` are from the mean of real ones, in standard errors of one split; upwards is positive.
    fn standard_errors(&self, images: &Scores, name: &str) -> f64 {
        let value = |scores: &Scores| scores.get(metric(name)).unwrap();
        let real: Vec<f64> = self.splits.iter().map(value).collect();
        let n = real.len() as f64;
        let mean = real.iter().sum::<f64>() / n;
        let variance = real.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (value(images) - mean) / variance.sqrt()
    }
}

/// Bits of a linear congruential generator.
fn noise(len: usize) -> Vec<u8> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1), next).map(|state| (state >> 56) as u8).take(len).collect()
}

/// The mean of each pixel and its neighbours, up to eight.
fn blurred(images: &[u8]) -> Vec<u8> {
    let of_image = |image: &[u8]| -> Vec<u8> {
        let near = |at: usize| at.saturating_sub(1)..(at + 2).min(28);
        let mean = |at: usize| {
            let square = near(at / 28).flat_map(|y| near(at % 28).map(move |x| y * 28 + x));
            let values: Vec<u32> = square.map(|at| u32::from(image[at])).collect();
            (values.iter().sum::<u32>() / values.len() as u32) as u8
        };
        (0..IMAGE_LEN).map(mean).collect()
    };
    images.chunks_exact(IMAGE_LEN).flat_map(of_image).collect()
}

#[test]
fn noise_one_image_repeated_and_blurred_images_are_seen() {
    let real = Real::digits();
    let other = &real.last;
    // Real images are no damage: 5 standard errors, as below.
    let floor = real.score(other);
    assert!(real.standard_errors(&floor, "swd").abs() < 5.0, "{floor:?} {:?}", real.splits);
    for (name, images) in [
        ("noise", noise(N * IMAGE_LEN)),
        ("one image repeated", other[..IMAGE_LEN].repeat(N)),
        ("blurred", blurred(other)),
    ] {
        let scores = real.score(&images);
        let [swd, coverage] = ["swd", "coverage"].map(|metric| real.standard_errors(&scores, metric));

        assert!(swd > 5.0, "{name}: {swd} standard errors; {scores:?}");
        // Of blurred images, the low-pass is nearly the same.
        assert!(coverage < -5.0 || name == "blurred", "{name}: {coverage} standard errors; {scores:?}");
    }
}
