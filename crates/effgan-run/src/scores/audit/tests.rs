//! How often the audit finds what is there, and what is not: a slow test, whose figures docs/scores.md has.

use std::ops::ControlFlow;
use std::sync::Arc;

use effgan_data::{ClientName, DatasetConfig, DatasetName, ImageSet};
use effgan_fl::local::{LocalConfig, LocalTraining, LocalWork, Shard};
use effgan_fl::{Broadcast, ExchangeKind, StepRecord};
use effgan_nn::gan::{GENERATOR, GanModel};
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig};
use effgan_nn::{Model, Params, Streams};

use super::*;
use crate::scores::Generator;

const REPETITIONS: usize = 20;
/// Images that train, that are held out, and that have nothing to do with the generator.
const IMAGES: usize = 20;

/// A generator after 2,000 epochs on these images.
fn trained(model: &Arc<GanModel>, images: &ImageSet, train: &[u32], seed: u64) -> Params {
    let config = LocalConfig { batch_size: IMAGES, epochs: Some(1), ..LocalConfig::default() };
    let training = LocalTraining::new(model.clone(), config, Device::cpu().unwrap()).unwrap();
    let params = training.init(seed);
    let broadcast = Broadcast { round: 1, kind: ExchangeKind::Collect, iteration: 0, iterations: 1, params };
    let client = ClientName::new("a").unwrap();
    let shard = Shard { client: &client, images, train };
    let mut observer = |_: &StepRecord| ControlFlow::Continue(());
    let work = LocalWork::Epochs(2000);
    let update = training.update(&broadcast, work, &shard, &Streams::of_client(seed, 1, "a"), &mut observer);
    update.unwrap().params.under(GENERATOR)
}

/// The audit of a generator by so many samples, as if it had been trained on the images `train`.
fn audited(
    generator: (&dyn Model, &Params),
    images: &ImageSet,
    [train, held_out]: [&[u32]; 2],
    samples: usize,
) -> Vec<Attacked> {
    static NEVER: AtomicBool = AtomicBool::new(false);
    let ((model, tensors), device) = (generator, Device::cpu().unwrap());
    let subset = |indices: &[u32]| Images::Subset(images.pixels(), images.shape(), indices.to_vec());
    let drawn = Images::Generator(Generator { model, tensors: tensors.clone(), without: &[], seed: 1 });
    let share = Share { name: "a".into(), train: subset(train), held_out: subset(held_out), samples: Some(drawn) };
    let network = &FeatureNet::of_dataset(DatasetName::MnistMini, device).unwrap();
    let (name, shares, progress) = ("a".into(), vec![share], &|_, _| {});
    let auditor = Auditor { name, shares, reference: None, network, samples, device, jobs: 2, stop: &NEVER, progress };
    auditor.audit().unwrap().members.remove(0).attacks
}

#[test]
#[ignore = "minutes: trains twenty generators for 2,000 epochs each"]
fn a_generator_that_is_over_trained_is_caught_and_one_that_never_saw_the_images_is_not() {
    let images = DatasetConfig::of(DatasetName::MnistMini).load().unwrap().train;
    let dcgan = DcganConfig { base_channels: 32, ..DcganConfig::default() };
    let model = Arc::new(GanModel::new(Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap()));
    let parts = |repetition: usize| {
        [0, 1, 2].map(|part| {
            let first = (3 * repetition + part) * IMAGES;
            (first..first + IMAGES).map(|image| image as u32).collect::<Vec<u32>>()
        })
    };
    let generators: Vec<Params> =
        (0..REPETITIONS).map(|repetition| trained(&model, &images, &parts(repetition)[0], repetition as u64)).collect();
    for samples in [1_000, 10_000] {
        let (mut caught, mut by_any, mut holds) = ([0; 4], 0, [0; 4]);
        for (repetition, tensors) in generators.iter().enumerate() {
            let [train, held_out, others] = parts(repetition);
            let attacks = |of: [&[u32]; 2]| audited((&*model, tensors), &images, of, samples).into_iter().enumerate();
            let mut is_caught = false;
            for (i, Attacked { membership, .. }) in attacks([&train, &held_out]) {
                caught[i] += usize::from(membership.auc_low > 0.5);
                is_caught |= membership.auc_low > 0.5;
            }
            by_any += usize::from(is_caught);
            for (i, Attacked { membership, .. }) in attacks([&held_out, &others]) {
                holds[i] += usize::from(membership.auc_low <= 0.5 && membership.auc_high >= 0.5);
            }
        }
        println!(
            "{samples} samples, of {REPETITIONS}: {by_any} caught; nearest-sample and monte-carlo on features, on pixels: {caught:?}"
        );
        println!("intervals for images that it never saw that hold 0.5: {holds:?}");
        // A right interval leaves 0.5 out in one of twenty: 17 and more hold it in 98 of a hundred.
        assert!(holds.iter().all(|&holds| holds >= 17), "{holds:?}");
        assert!(by_any + 1 >= REPETITIONS, "{caught:?}");
    }
}
