//! Private updates, compared with loops over single images.

mod one_run_audit;

use super::*;
use crate::gan::step::tests::named;
use crate::gan::{DiscriminatorSteps, GanModel, TrainConfig};
use crate::model::{Batch, Model, Part, StepPlan, Trainer, TrainingImages};
use crate::networks::{DcganConfig, Network, NetworkConfig, NormKind, ResnetConfig, init};
use crate::{Adam, Device, Params, Purpose, Streams};

const N: usize = 6;
const CLASSES: usize = 3;

/// At least one network for each kind of layer, and for each method of a convolution's norms.
fn networks() -> Vec<(String, Network)> {
    let dcgan = |norm, base_channels, conditional| {
        NetworkConfig::Dcgan(DcganConfig { latent_dim: 8, base_channels, norm, conditional })
    };
    let resnet = |base_channels, conditional| {
        NetworkConfig::Resnet(ResnetConfig { latent_dim: 8, base_channels, norm: NormKind::Group, conditional })
    };
    let all = [
        (dcgan(NormKind::None, 16, false), [1, 28, 28]),
        (dcgan(NormKind::None, 3, true), [1, 28, 28]),
        (dcgan(NormKind::Group, 16, true), [3, 32, 32]),
        (dcgan(NormKind::Group, 6, false), [1, 8, 8]),
        (resnet(16, false), [3, 16, 16]),
        (resnet(4, true), [1, 16, 16]),
    ];
    let network = |(config, shape): (NetworkConfig, [usize; 3])| {
        (format!("{config:?} of {shape:?}"), Network::of_classes(config, shape, CLASSES).unwrap())
    };
    all.into_iter().map(network).collect()
}

/// Networks whose biases are no longer zero, and whose weights have the size that keeps that of features.
fn gan(network: &Network) -> Gan {
    let streams = Streams::of_run(3);
    let draw = |tensors: &[_], which| init(tensors, &mut streams.at(Purpose::Init, which));
    let generator = draw(&network.generator_tensors(), 0).named_under("generator");
    let discriminator = draw(&network.discriminator_tensors(), 1);
    let moved = discriminator.iter().zip(0..).map(|((name, array), i)| {
        let noise = streams.normal(Purpose::Latent, i, array.values().len());
        let values = array.values().iter().zip(noise).map(|(value, noise)| 2.0 * value + 0.05 * noise);
        (name.clone(), crate::Array::new(array.shape.clone(), values.collect()))
    });
    let discriminator: Params = moved.collect();
    let train = TrainConfig::new(Adam { learning_rate: 1e-3, beta1: 0.5 });
    let params = generator.merged_with(discriminator.named_under("discriminator"));
    let gan = Gan::new(network, &params, train, Device::cpu().unwrap()).unwrap();
    // The vectors of a spectral norm find the largest singular values.
    for _ in 0..20 {
        let RealImages { images, labels } = real(network, 1);
        let labels = network.num_classes.map(|classes| labels_tensor(&labels, 1, classes, &gan.on));
        gan.discriminator.forward(gan.images_on_device(images), labels.as_ref(), Mode::TRAIN);
    }
    gan
}

fn real(network: &Network, n: usize) -> RealImages {
    let len = network.image_shape.iter().product::<usize>();
    let images = Streams::of_run(4).normal(Purpose::Latent, 0, n * len).into_iter().map(f32::tanh).collect();
    RealImages { images, labels: (0..n).map(|i| (i % CLASSES) as u8).collect() }
}

/// Image number `i` alone.
fn one(real: &RealImages, i: usize) -> RealImages {
    let len = real.images.len() / real.labels.len();
    RealImages { images: real.images[i * len..(i + 1) * len].to_vec(), labels: vec![real.labels[i]] }
}

/// The sums of all tensors of parameters, one after the other.
fn sums(gan: &Gan, real: &RealImages, clip: f64) -> Vec<f32> {
    gan.clipped_sums_of_real(real, clip).unwrap().into_iter().flat_map(|of_tensor| of_tensor.sum).collect()
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn assert_close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0, "{what}: there are gradients");
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!(
            (ours - theirs).abs() <= 1e-5 * largest,
            "{what}, value {i}: {ours} is not {theirs} (largest {largest})"
        );
    }
}

/// A clip that no gradient reaches.
const NO_CLIP: f64 = 1e9;

/// The gradients of `loss` by the discriminator's tensors.
fn gradients(gan: &Gan, loss: &Tensor<1>) -> Params {
    let grads = GradientsParams::from_grads(loss.backward(), &gan.discriminator);
    named(&grads, &gan.discriminator, &gan.network.discriminator_tensors(), gan.on.device)
}

#[test]
fn what_is_summed_is_what_a_plain_backward_pass_sums() {
    for (name, network) in networks() {
        let (gan, real) = (gan(&network), real(&network, N));
        let ours = gan.clipped_sums_of_real(&real, NO_CLIP).unwrap().into_iter().map(|ClippedSum { params, sum }| {
            let gradient = TensorData::new(sum, params.dims());
            (params * Tensor::from_data(gradient, &gan.on.burn)).sum()
        });
        let ours = gradients(&gan, &ours.reduce(|all, one| all + one).unwrap());
        let labels = gan.network.num_classes.map(|classes| labels_tensor(&real.labels, N, classes, &gan.on));
        let images = gan.images_on_device(real.images.clone());
        let logits = gan.discriminator.forward(images, labels.as_ref(), Mode::Evaluate);
        let theirs = gradients(&gan, &gan.train.loss.of_real(logits).sum());
        for (tensor, theirs) in &theirs {
            let ours = ours.get(tensor).unwrap();
            assert_close(&format!("{name}: {tensor}"), ours.values(), theirs.values());
        }
    }
}

#[test]
fn clipped_gradients_are_those_of_a_loop_over_single_images() {
    for (name, network) in networks() {
        let (gan, real) = (gan(&network), real(&network, N));
        let mut norms: Vec<f64> = (0..N).map(|i| norm(&sums(&gan, &one(&real, i), NO_CLIP))).collect();
        norms.sort_by(f64::total_cmp);
        // Half of the images are clipped.
        let clip = f64::midpoint(norms[N / 2 - 1], norms[N / 2]);
        let mut total = vec![0.0; sums(&gan, &real, clip).len()];
        let mut clipped = 0;
        for i in 0..N {
            let (whole, found) = (sums(&gan, &one(&real, i), NO_CLIP), sums(&gan, &one(&real, i), clip));
            // The bound of all rounding errors, which is added to the norm, is about a thousandth of it.
            let factor = (clip / norm(&whole)).min(1.0);
            assert!(norm(&found) <= clip, "{name}: {} is above {clip}", norm(&found));
            assert!(norm(&found) >= 0.99 * factor * norm(&whole), "{name}: {} of {}", norm(&found), norm(&whole));
            clipped += usize::from(factor < 0.99);
            let factor = norm(&found) / norm(&whole);
            let scaled: Vec<f32> = whole.iter().map(|value| (factor * f64::from(*value)) as f32).collect();
            assert_close(&format!("{name}: image {i}"), &found, &scaled);
            total.iter_mut().zip(found).for_each(|(total, found)| *total += found);
        }
        assert!(clipped > 0, "{name}");
        assert_close(&name, &sums(&gan, &real, clip), &total);
    }
}

#[test]
fn a_sample_of_several_parts_is_the_sum_of_all_its_images() {
    let (_, network) = networks().swap_remove(3);
    let (gan, real) = (gan(&network), real(&network, CHUNK + 3));
    let parts = [0..CHUNK, CHUNK..CHUNK + 3].map(|part| {
        let of_part = part.map(|i| one(&real, i));
        let of_part = of_part.reduce(|mut all, one| {
            all.images.extend(one.images);
            all.labels.extend(one.labels);
            all
        });
        sums(&gan, &of_part.unwrap(), 0.5)
    });
    let expected: Vec<f32> = parts[0].iter().zip(&parts[1]).map(|(a, b)| a + b).collect();
    assert_eq!(sums(&gan, &real, 0.5), expected);
}

#[test]
fn an_empty_sample_adds_nothing_and_is_still_noised() {
    for (name, network) in networks() {
        let gan = gan(&network);
        assert!(sums(&gan, &RealImages::default(), 1.0).iter().all(|&sum| sum == 0.0), "{name}");
        let dp = DpSgd { clip: 1.0, noise_multiplier: 1.0, batch: 4 };
        let noise = dp.noisy_mean(&[0.0; 100], &[0.0; 100], &mut SecretRng::insecure([1; 32]));
        assert!(noise.iter().all(|&value| value != 0.0), "{name}");
    }
}

/// The server chooses the parameters: it may choose such that an image's gradient overflows, or cancels.
#[test]
fn an_image_never_adds_more_than_the_clip_whatever_the_parameters_are() {
    let clip = 0.25;
    for (name, network) in networks() {
        for scale in [1e-30_f32, 1e-10, 1e4, 1e10, 1e30, f32::MAX] {
            let gan = hostile(&network, scale);
            let real = real(&network, 2);
            let (one, both) = (sums(&gan, &one(&real, 0), clip), sums(&gan, &real, clip));
            assert!(norm(&one) <= clip, "{name}, {scale:e}: one adds {}", norm(&one));
            assert!(norm(&both) <= 2.0 * clip, "{name}, {scale:e}: two add {}", norm(&both));
            let other: Vec<f32> = both.iter().zip(&one).map(|(both, one)| both - one).collect();
            // f32 sums of two.
            assert!(norm(&other) <= clip * (1.0 + 1e-5), "{name}, {scale:e}: the other adds {}", norm(&other));
        }
    }
}

/// Every other weight is `scale` and its neighbour −`scale`, so that sums of equal inputs cancel.
fn hostile(network: &Network, scale: f32) -> Gan {
    let plain = gan(network);
    let params = plain.params().unwrap();
    let changed = params.iter().map(|(name, array)| {
        let value = |i: usize| if i.is_multiple_of(2) { scale } else { -scale };
        let values = if name.starts_with("discriminator") {
            (0..array.values().len()).map(value).collect()
        } else {
            array.values().to_vec()
        };
        (name.clone(), crate::Array::new(array.shape.clone(), values))
    });
    Gan::new(network, &changed.collect(), plain.train, Device::cpu().unwrap()).unwrap()
}

#[test]
fn noise_has_the_standard_deviation_of_sigma_times_the_clip_over_the_batch() {
    let dp = DpSgd { clip: 0.5, noise_multiplier: 3.0, batch: 10 };
    let n = 1_000_000;
    let noise = dp.noisy_mean(&vec![1.5; n], &vec![0.5; n], &mut SecretRng::from_system().unwrap());
    let moment =
        |power: i32| noise.iter().map(|&value| ((f64::from(value) - 0.2) / 0.15).powi(power)).sum::<f64>() / n as f64;
    // Five standard errors of the moments of 10⁶ standard normal numbers: their variances are 1, 2, 15 and 96.
    for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)] {
        let off = (moment(power) - expected).abs();
        assert!(off < 5.0 * (variance / n as f64).sqrt(), "moment {power} is off by {off}");
    }
}

#[test]
fn each_image_is_in_a_sample_with_the_same_probability_and_independently() {
    let (images, rate, turns) = ((0..50).collect::<Vec<u32>>(), 0.1, 20_000);
    let mut rng = SecretRng::from_system().unwrap();
    let (mut times, mut sizes) = (vec![0_u32; images.len()], Vec::new());
    for _ in 0..turns {
        let sample = rng.poisson_sample(&images, rate);
        for &image in &sample {
            times[image as usize] += 1;
        }
        sizes.push(sample.len() as f64);
    }
    // Six standard errors, for 50 images at a time.
    let bound = 6.0 * (rate * (1.0 - rate) / f64::from(turns)).sqrt();
    assert!(times.iter().all(|&times| (f64::from(times) / f64::from(turns) - rate).abs() < bound), "{times:?}");
    let mean = sizes.iter().sum::<f64>() / f64::from(turns);
    let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / f64::from(turns);
    // A binomial of 50: a sample of fixed size would have no variance. Its estimate has a standard error of about 1 %.
    assert!((variance / (50.0 * rate * (1.0 - rate)) - 1.0).abs() < 0.06, "{variance}");
    assert!(sizes.contains(&0.0), "a sample may be empty");
}

#[test]
fn a_private_step_without_noise_and_clipping_is_a_plain_step() {
    for (name, network) in networks() {
        let real = real(&network, 4);
        let z = Streams::of_run(6).normal(Purpose::Latent, 0, 4 * network.latent_dim());
        let dp = DpSgd { clip: NO_CLIP, noise_multiplier: 0.0, batch: 4 };
        let mut rng = SecretRng::from_system().unwrap();
        let samples = [real.clone()];
        let (private, _) = gan(&network).private_step(&samples, z.clone(), &real.labels, &dp, &mut rng).unwrap();
        let (plain, _) = gan(&network).step(real.images, z, &real.labels);
        let (ours, theirs) = (private.params().unwrap(), plain.params().unwrap());
        let first = gan(&network).params().unwrap();
        let distance = |a: &Params, b: &Params| {
            let values =
                |params: &Params| params.iter().flat_map(|(_, array)| array.values().to_vec()).collect::<Vec<_>>();
            norm(&values(a).iter().zip(values(b)).map(|(a, b)| a - b).collect::<Vec<f32>>())
        };
        // Adam's first step is as long for a gradient of 1e-9 as for one of 1, so rounding may turn single values around.
        let (apart, moved) = (distance(&ours, &theirs), distance(&theirs, &first));
        assert!(apart < 0.02 * moved, "{name}: {apart} apart after a way of {moved}");
    }
}

/// A client's trainer whose generator follows by [`AdaptiveSteps`](crate::gan::adaptive_steps::AdaptiveSteps).
fn adaptive_trainer(network: &Network, start: &Params) -> Box<dyn Trainer> {
    let discriminator_steps = DiscriminatorSteps::Adaptive;
    let model =
        GanModel { privacy: Some(privacy(1.0, 1.0, Some(5))), discriminator_steps, ..GanModel::new(network.clone()) };
    let adam = |learning_rate| Adam { learning_rate, beta1: 0.5 };
    // A discriminator that hardly learns, and soon recognises nothing.
    let adam = [("generator", adam(1e-2)), ("discriminator", adam(1e-6))].into();
    let plan = StepPlan { adam, ema: Some(0.5), ..StepPlan::default() };
    model.trainer(start, &plan, Device::cpu().unwrap()).unwrap()
}

#[test]
fn the_generator_of_a_weak_discriminator_follows_less_often_also_after_an_interruption() {
    let (_, network) = networks().swap_remove(3);
    let len = network.image_shape.iter().product::<usize>();
    let (pixels, labels, indices) = (vec![200; 6 * len], [0; 6], [0, 1, 2, 3, 4, 5]);
    let from = || TrainingImages { pixels: &pixels, labels: &labels, indices: &indices, persons: None };
    let streams = Streams::of_client(1, 1, "north");
    let start = gan(&network).params().unwrap();
    let mut trainer = adaptive_trainer(&network, &start);
    let step = |trainer: &mut Box<dyn Trainer>| {
        trainer.step(Batch { from: from(), indices: &indices[..2] }, &streams).unwrap();
        trainer.state().unwrap().under("generator")
    };
    let mut moved = Vec::new();
    let mut before = start.under("generator");
    for _ in 0..260 {
        let after = step(&mut trainer);
        moved.push(after != before);
        before = after;
    }
    assert!(moved[..190].iter().all(|moved| *moved), "it follows each update at first");
    assert!(moved[220..].iter().filter(|moved| **moved).count() == 20, "then every other one: {moved:?}");
    let losses = trainer.drain_losses().unwrap();
    assert!(losses.len() == 260 && losses.iter().flatten().all(|loss| loss.is_finite()));
    let mut resumed = adaptive_trainer(&network, &start);
    resumed.restore(&trainer.state().unwrap(), 260).unwrap();
    for _ in 0..5 {
        assert_eq!(step(&mut trainer), step(&mut resumed));
    }
    let collected = [trainer, resumed].map(|trainer| trainer.into_params(Part::Collected).unwrap());
    assert_eq!(collected[0], collected[1]);
}

/// The parameters after two steps of a client on `images` of classes `labels`, with secret numbers from a seed.
fn trained(network: &Network, privacy: &Privacy, images: &[u8], labels: &[u8]) -> Params {
    let model = GanModel { privacy: Some(privacy.clone()), ..GanModel::new(network.clone()) };
    let adam = Adam { learning_rate: 1e-3, beta1: 0.5 };
    let plan = StepPlan { adam: [("generator", adam), ("discriminator", adam)].into(), ..StepPlan::default() };
    let start = gan(network).params().unwrap();
    let mut trainer = model.trainer(&start, &plan, Device::cpu().unwrap()).unwrap();
    let indices: Vec<u32> = (0..labels.len() as u32).collect();
    let from = TrainingImages { pixels: images, labels, indices: &indices, persons: None };
    for _ in 0..2 {
        trainer.step(Batch { from, indices: &indices[..2] }, &Streams::of_client(1, 1, "north")).unwrap();
    }
    trainer.into_params(Part::Averaged).unwrap()
}

fn privacy(clip: f64, noise_multiplier: f64, insecure_seed: Option<u64>) -> Privacy {
    Privacy {
        clip,
        batch: 4,
        noise_multipliers: [([6, 6], noise_multiplier), ([12, 6], noise_multiplier)].into(),
        insecure_seed,
    }
}

/// With a clip that lets nothing of an image through, two clients of different images and classes train the same networks: labels, sizes of
/// batches and the like tell nothing either.
#[test]
fn nothing_but_clipped_gradients_depends_on_a_clients_images() {
    for (name, network) in networks() {
        let len = network.image_shape.iter().product::<usize>();
        let train = |clip, seed: u8, labels| {
            let images: Vec<u8> = (0..6 * len).map(|i| (i as u8).wrapping_mul(seed)).collect();
            trained(&network, &privacy(clip, 1.0, Some(5)), &images, labels)
        };
        let both = |clip| [train(clip, 3, &[0, 0, 0, 1, 1, 1]), train(clip, 7, &[2, 1, 2, 2, 2, 2])];
        // Below any factor of a gradient that a discriminator has here.
        let [one, other] = both(1e-15);
        assert_eq!(one, other, "{name}");
        let [one, other] = both(1.0);
        assert_ne!(one, other, "{name}: a client's images are learned from");
    }
}

#[test]
fn secret_numbers_differ_between_runs_and_those_of_a_seed_do_not() {
    let (_, network) = networks().swap_remove(3);
    let len = network.image_shape.iter().product::<usize>();
    let train = |seed| trained(&network, &privacy(1.0, 1.0, seed), &vec![100; 6 * len], &[0; 6]);
    assert_ne!(train(None), train(None));
    assert_eq!(train(Some(1)), train(Some(1)));
    assert_ne!(train(Some(1)), train(Some(2)));
}

/// Generated images cost nothing, but they must not outweigh real ones. (The gradient of a spectral norm's weight is a clipped one times a
/// matrix: it is tested where there is none.)
#[test]
fn generated_images_are_clipped_too() {
    for (name, network) in networks().into_iter().take(4) {
        let gan = gan(&network);
        let images = gan.images_on_device(real(&network, 4).images);
        let labels = network.num_classes.map(|classes| labels_tensor(&[0, 1, 2, 0], 4, classes, &gan.on));
        let sum = |clip| {
            let sample = Sample { images: images.clone(), labels: labels.clone(), counts: true };
            let (_, sums) = gan.clipped_sums(&sample, |logits| gan.train.loss.of_fake(logits), clip).unwrap();
            norm(&sums.into_iter().flat_map(|of_tensor| of_tensor.sum).collect::<Vec<f32>>())
        };
        assert!(sum(NO_CLIP) > 0.04 && sum(0.01) <= 0.04, "{name}: {} {}", sum(NO_CLIP), sum(0.01));
        // Without real images and noise, an update is the mean of B generated images, each of norm at most C.
        let dp = DpSgd { clip: 0.01, noise_multiplier: 0.0, batch: 4 };
        let rng = &mut SecretRng::from_system().unwrap();
        let (_, grads) = gan.private_pass(&RealImages::default(), images, labels.as_ref(), &dp, rng).unwrap();
        let found = named(&grads, &gan.discriminator, &network.discriminator_tensors(), gan.on.device);
        let values: Vec<f32> = found.iter().flat_map(|(_, array)| array.values().to_vec()).collect();
        assert!(norm(&values) <= 0.01, "{name}: {}", norm(&values));
    }
}

/// With the same images and numbers, an update differs from one without noise by noise of σC/B in every value, whether its sample is empty
/// or not. (The gradient of a spectral norm's weight is the noise times a matrix: it is tested where there is none.)
#[test]
fn every_update_has_its_noise() {
    let clip = 0.5;
    for (name, network) in networks().into_iter().take(4) {
        let gan = gan(&network);
        let fake = Tensor::zeros_like(&gan.images_on_device(real(&network, 4).images));
        let labels = network.num_classes.map(|classes| labels_tensor(&[0; 4], 4, classes, &gan.on));
        for sample in [RealImages::default(), real(&network, 3)] {
            let update = |noise_multiplier| {
                let dp = DpSgd { clip, noise_multiplier, batch: 4 };
                let rng = &mut SecretRng::from_system().unwrap();
                let (_, grads) = gan.private_pass(&sample, fake.clone(), labels.as_ref(), &dp, rng).unwrap();
                let found = named(&grads, &gan.discriminator, &network.discriminator_tensors(), gan.on.device);
                found.iter().flat_map(|(_, array)| array.values().to_vec()).collect::<Vec<f32>>()
            };
            let (noisy, without) = (update(3.0), update(0.0));
            let noise: Vec<f32> = noisy.iter().zip(&without).map(|(a, b)| a - b).collect();
            let deviation = norm(&noise) / (noise.len() as f64).sqrt();
            // Six standard errors of a standard deviation.
            let bound = 6.0 / (2.0 * noise.len() as f64).sqrt();
            assert!((deviation / (3.0 * clip / 4.0) - 1.0).abs() < bound, "{name}: {deviation}");
        }
    }
}

#[test]
fn a_trainer_draws_samples_of_varying_size_whose_mean_is_the_batch() {
    let (pixels, labels) = (vec![9; 6], vec![0; 6]);
    let indices: Vec<u32> = (0..6).collect();
    let from = TrainingImages { pixels: &pixels, labels: &labels, indices: &indices, persons: None };
    let mut rng = SecretRng::from_system().unwrap();
    let samples = privacy(1.0, 1.0, None).samples(&from, 10_000, &mut rng).unwrap();
    let sizes: Vec<f64> = samples.iter().map(|sample| sample.labels.len() as f64).collect();
    let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
    let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / sizes.len() as f64;
    // A binomial of 6 with the probability 4/6; six standard errors of its mean, and some of its variance.
    assert!((mean - 4.0).abs() < 6.0 * (4.0_f64 / 3.0 / 10_000.0).sqrt(), "{mean}");
    assert!((variance / (4.0 / 3.0) - 1.0).abs() < 0.1, "{variance}");
    assert!(samples.iter().all(|sample| sample.images.len() == sample.labels.len()));
}

/// However many images a person has, one of them is in an update at most; each person is as likely to be there, and each of its images.
#[test]
fn a_person_is_drawn_as_a_whole_with_one_image() {
    let pixels: Vec<u8> = (0..12).collect();
    let indices: Vec<u32> = (0..12).collect();
    // One person with seven images, five with one each.
    let persons: Vec<Vec<u32>> = std::iter::once((0..7).collect()).chain((7..12).map(|image| vec![image])).collect();
    let from = TrainingImages { pixels: &pixels, labels: &[0; 12], indices: &indices, persons: Some(&persons) };
    let mut rng = SecretRng::from_system().unwrap();
    let updates = 30_000;
    let samples = privacy(1.0, 1.0, None).samples(&from, updates, &mut rng).unwrap();
    let mut counts = [0.0; 12];
    for sample in samples {
        let images: Vec<usize> = sample.images.iter().map(|value| ((value + 1.0) * 127.5).round() as usize).collect();
        assert!(images.iter().filter(|image| **image < 7).count() <= 1, "{images:?}");
        for image in images {
            counts[image] += 1.0;
        }
    }
    // Six standard errors of binomials with the probabilities q = 4/6, and q/7 for each of the seven.
    let q = 4.0 / 6.0;
    let near = |count: f64, p: f64| (count - updates as f64 * p).abs() < 6.0 * (updates as f64 * p * (1.0 - p)).sqrt();
    assert!(near(counts[..7].iter().sum(), q), "{counts:?}");
    assert!(counts[..7].iter().all(|&count| near(count, q / 7.0)), "{counts:?}");
    assert!(counts[7..].iter().all(|&count| near(count, q)), "{counts:?}");
}

#[test]
fn noise_that_was_not_planned_for_a_client_is_an_error() {
    let persons = vec![vec![0]; 5];
    let error = |num_examples: usize, persons| {
        let indices: Vec<u32> = (0..num_examples as u32).collect();
        let from = TrainingImages { pixels: &[], labels: &[], indices: &indices, persons };
        privacy(1.0, 1.0, None).of_client(&from).unwrap_err().to_string()
    };
    assert_eq!(error(7, None), "no noise is planned for a client with 7 images");
    assert_eq!(error(6, Some(&persons[..])), "no noise is planned for a client with 6 images of 5 persons");
}
