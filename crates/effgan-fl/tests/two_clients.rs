//! Each algorithm on two clients, worked by hand: plain steps of a GAN and a plain mean, beside what the algorithm does.

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_fl::aggregate::Weights;
use effgan_fl::algorithms::{CentralConfig, EffganConfig, FedGanConfig, LocalEnsembleConfig};
use effgan_fl::local::LocalTraining;
use effgan_fl::{AlgorithmConfig, Decay, LocalConfig, Simulation};
use effgan_nn::gan::{Adam, Ema, Gan, Loss, TrainConfig};
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig};
use effgan_nn::{Array, Params, Purpose, Streams, pixels};
use rand::seq::SliceRandom;
use std::ops::ControlFlow;

const SEED: u64 = 5;
const BATCH: usize = 4;

type Members = Vec<(ClientName, u64, Params)>;

fn images() -> ImageSet {
    let pixels = Streams::of_run(9).normal(Purpose::Init, 0, 20 * 64);
    let labels = (0..20).map(|i| i % 2).collect();
    ImageSet::new([1, 8, 8], pixels.into_iter().map(pixels::to_u8).collect(), labels, 2).unwrap()
}

/// `north` has 12 images, `south` 8.
fn partition() -> Partition {
    let share = |name, train| ClientShare { name: ClientName::new(name).unwrap(), train, held_out: Vec::new() };
    Partition { clients: vec![share("north", (0..12).collect()), share("south", (12..20).collect())] }
}

fn network() -> Network {
    let dcgan = DcganConfig { latent_dim: 3, base_channels: 2, ..DcganConfig::default() };
    Network::new(NetworkConfig::Dcgan(dcgan), [1, 8, 8]).unwrap()
}

/// One epoch a round: 3 steps for `north`, 2 for `south`.
fn local() -> LocalConfig {
    LocalConfig { batch_size: BATCH, learning_rate: 2e-3, beta1: 0.5, epochs: Some(1), ..LocalConfig::default() }
}

fn fedgan(rounds: u32) -> AlgorithmConfig {
    AlgorithmConfig::Fedgan(FedGanConfig { rounds, cohort: 1.0, weights: Weights::default() })
}

fn effgan(rounds: u32, fine_tune_epochs: u32) -> AlgorithmConfig {
    let fine_tune_epochs = Some(fine_tune_epochs);
    let weights = Weights::default();
    AlgorithmConfig::Effgan(EffganConfig { rounds, fine_tune_epochs, fine_tune_steps: None, cohort: 1.0, weights })
}

fn local_ensemble(rounds: u32) -> AlgorithmConfig {
    AlgorithmConfig::LocalEnsemble(LocalEnsembleConfig { rounds, weights: Weights::default() })
}

/// What the simulation makes of it: the server's parameters, and the members.
fn simulated(config: &AlgorithmConfig, jobs: usize) -> (Params, Members) {
    let pooled = matches!(config, AlgorithmConfig::Central(_));
    simulated_with(config, local(), &if pooled { partition().pooled() } else { partition() }, jobs)
}

fn simulated_with(
    config: &AlgorithmConfig,
    local: LocalConfig,
    partition: &Partition,
    jobs: usize,
) -> (Params, Members) {
    simulated_network(&network(), config, local, partition, jobs)
}

fn simulated_network(
    network: &Network,
    config: &AlgorithmConfig,
    local: LocalConfig,
    partition: &Partition,
    jobs: usize,
) -> (Params, Members) {
    let folder = tempfile::tempdir().unwrap();
    let algorithm = config.build(network.clone(), local).unwrap();
    assert_eq!(algorithm.pools_data(), matches!(config, AlgorithmConfig::Central(_)));
    let simulation = Simulation {
        algorithm: &*algorithm,
        images: &images(),
        partition,
        seed: SEED,
        jobs,
        spool: folder.path(),
        watch: &|_| ControlFlow::Continue(()),
    };
    let mut members = Members::new();
    let state = simulation.run(&mut members, |_, _| Ok(())).unwrap();
    (state.params, members)
}

fn first_params() -> Params {
    LocalTraining::new(network(), local()).unwrap().init(SEED)
}

fn by_hand(params: &Params, client: &str, train: &[u32], round: u32, epochs: u64) -> Params {
    train_by_hand(params, client, train, round, epochs, |_| ())
}

fn gan(params: &Params) -> Gan {
    Gan::new(&network(), params, TrainConfig::new(Adam { learning_rate: 2e-3, beta1: 0.5 })).unwrap()
}

/// Plain training: shuffle, cut into batches, step; shows the networks after each.
fn train_by_hand(
    params: &Params,
    client: &str,
    train: &[u32],
    round: u32,
    epochs: u64,
    mut on_step: impl FnMut(&Gan),
) -> Params {
    let (images, streams) = (images(), Streams::of_client(SEED, round, client));
    let mut gan = gan(params);
    let mut step = 0;
    for epoch in 0..epochs {
        let mut order = train.to_vec();
        order.shuffle(&mut streams.at(Purpose::Shuffle, epoch));
        for batch in order.chunks(BATCH) {
            let real = batch.iter().flat_map(|&i| images.image(i as usize)).map(|&pixel| pixels::to_f32(pixel));
            (gan, _) = gan.step(real.collect(), streams.normal(Purpose::Latent, step, BATCH * 3), &[]);
            step += 1;
            on_step(&gan);
        }
    }
    gan.params()
}

fn north(params: &Params, round: u32, epochs: u64) -> Params {
    by_hand(params, "north", &(0..12).collect::<Vec<_>>(), round, epochs)
}

fn south(params: &Params, round: u32, epochs: u64) -> Params {
    by_hand(params, "south", &(12..20).collect::<Vec<_>>(), round, epochs)
}

/// (12 · north + 8 · south) / 20, in f64.
fn mean_by_hand(north: &Params, south: &Params) -> Params {
    let mean = |(a, b): (&f32, &f32)| ((12.0 * f64::from(*a) + 8.0 * f64::from(*b)) / 20.0) as f32;
    let arrays = north.iter().zip(south).map(|((name, a), (_, b))| {
        (name.clone(), Array::new(a.shape.clone(), a.values.iter().zip(&b.values).map(mean).collect()))
    });
    arrays.collect()
}

fn round_by_hand(params: &Params, round: u32) -> Params {
    mean_by_hand(&north(params, round, 1), &south(params, round, 1))
}

fn member(name: &str, num_examples: u64, params: &Params) -> (ClientName, u64, Params) {
    (ClientName::new(name).unwrap(), num_examples, params.under("generator"))
}

#[test]
fn two_rounds_of_fedgan() {
    let expected = round_by_hand(&round_by_hand(&first_params(), 1), 2);
    assert_eq!(simulated(&fedgan(2), 1), (expected, Members::new()));
}

#[test]
fn a_round_of_effgan_and_two_epochs_of_fine_tuning() {
    let averaged = round_by_hand(&first_params(), 1);
    let members = vec![member("north", 12, &north(&averaged, 2, 2)), member("south", 8, &south(&averaged, 2, 2))];
    assert_eq!(simulated(&effgan(1, 2), 1), (averaged, members));
}

#[test]
fn three_rounds_worth_of_local_ensemble() {
    let first = first_params();
    let members = vec![member("north", 12, &north(&first, 1, 3)), member("south", 8, &south(&first, 1, 3))];
    assert_eq!(simulated(&local_ensemble(3), 1), (first, members));
}

#[test]
fn two_rounds_of_central() {
    let everything: Vec<u32> = (0..20).collect();
    let once = by_hand(&first_params(), "pooled", &everything, 1, 1);
    let expected = by_hand(&once, "pooled", &everything, 2, 1);
    let config = AlgorithmConfig::Central(CentralConfig { rounds: 2 });
    assert_eq!(simulated(&config, 1), (expected, Members::new()));
}

#[test]
fn rounds_average_raw_parameters_and_the_ensemble_collects_their_moving_average() {
    let averaged = round_by_hand(&first_params(), 1);
    let slow = |client: &str, train: Vec<u32>| {
        let mut ema = Ema::new(0.9, &gan(&averaged));
        train_by_hand(&averaged, client, &train, 2, 2, |gan| ema.follow(gan));
        (ClientName::new(client).unwrap(), train.len() as u64, ema.into_params())
    };
    let members = vec![slow("north", (0..12).collect()), slow("south", (12..20).collect())];
    let local = LocalConfig { ema: Some(0.9), ..local() };
    assert_eq!(simulated_with(&effgan(1, 2), local, &partition(), 1), (averaged, members));
}

#[test]
fn uniform_weights_count_clients_and_not_images() {
    let config = FedGanConfig { rounds: 1, cohort: 1.0, weights: Weights::Uniform };
    let (north, south) = (north(&first_params(), 1, 1), south(&first_params(), 1, 1));
    let half = |(a, b): (&f32, &f32)| f64::midpoint(f64::from(*a), f64::from(*b)) as f32;
    for (name, array) in &simulated(&AlgorithmConfig::Fedgan(config), 1).0 {
        let pairs = north.get(name).unwrap().values.iter().zip(&south.get(name).unwrap().values);
        assert_eq!(array.values, pairs.map(half).collect::<Vec<f32>>(), "{name}");
    }
}

#[test]
fn central_is_fedgan_of_one_client() {
    let central = AlgorithmConfig::Central(CentralConfig { rounds: 2 });
    assert_eq!(simulated(&central, 1), simulated_with(&fedgan(2), local(), &partition().pooled(), 1));
}

#[test]
fn effgan_without_rounds_is_local_ensemble() {
    assert_eq!(simulated(&effgan(0, 2), 1), simulated(&local_ensemble(2), 1));
}

#[test]
fn the_mean_of_fine_tuned_generators_is_fedgan_one_round_later() {
    let (_, members) = simulated(&effgan(1, 1), 1);
    let mean = mean_by_hand(&members[0].2, &members[1].2);
    assert_eq!(mean, simulated(&fedgan(2), 1).0.under("generator"));
}

/// Two updates a step take two batches, here the whole of `south` in one step; labels go with their images.
#[test]
fn a_round_of_a_conditional_network_with_two_updates_a_step_that_falls() {
    let dcgan = DcganConfig { latent_dim: 3, base_channels: 2, conditional: true, ..DcganConfig::default() };
    let network = Network::of_classes(NetworkConfig::Dcgan(dcgan), [1, 8, 8], 2).unwrap();
    let decay = Decay::Exponential(0.5);
    let local = LocalConfig { discriminator_steps: 2, loss: Loss::Hinge, decay, ..local() };
    let first = LocalTraining::new(network.clone(), local.clone()).unwrap().init(SEED);
    let by_hand = |params: &Params, round, learning_rate| {
        let (images, streams) = (images(), Streams::of_client(SEED, round, "south"));
        let mut order: Vec<u32> = (12..20).collect();
        order.shuffle(&mut streams.at(Purpose::Shuffle, 0));
        let pixels = order.iter().flat_map(|&i| images.image(i as usize)).map(|&pixel| pixels::to_f32(pixel));
        let labels: Vec<u8> = order.iter().map(|&i| images.labels()[i as usize]).collect();
        let adam = Adam { learning_rate, beta1: 0.5 };
        let train = TrainConfig { loss: Loss::Hinge, discriminator_steps: 2, ..TrainConfig::new(adam) };
        let gan = Gan::new(&network, params, train).unwrap();
        gan.step(pixels.collect(), streams.normal(Purpose::Latent, 0, 2 * BATCH * 3), &labels).0.params()
    };
    let expected = by_hand(&by_hand(&first, 1, 2e-3), 2, 1e-3);

    let south = Partition { clients: vec![partition().clients.remove(1)] };
    assert_eq!(simulated_network(&network, &fedgan(2), local, &south, 1).0, expected);
}

/// One of each. A new variant does not compile here until it is added to the row above.
fn every_algorithm() -> [AlgorithmConfig; 4] {
    let all = [fedgan(2), effgan(1, 2), local_ensemble(2), AlgorithmConfig::Central(CentralConfig { rounds: 1 })];
    for config in &all {
        match config {
            AlgorithmConfig::Fedgan(_)
            | AlgorithmConfig::Effgan(_)
            | AlgorithmConfig::LocalEnsemble(_)
            | AlgorithmConfig::Central(_) => (),
        }
    }
    all
}

#[test]
fn jobs_change_no_bit() {
    for config in every_algorithm() {
        assert_eq!(simulated(&config, 1), simulated(&config, 2), "{}", config.name());
    }
}
