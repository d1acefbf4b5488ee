//! Each algorithm on two clients, compared with plain steps of a GAN and a plain mean, worked by hand.

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_fl::aggregate::Weights;
use effgan_fl::algorithms::{
    CentralConfig, CyclicEffganConfig, EffganConfig, FedGanConfig, FedOptConfig, FedProxConfig, LocalEnsembleConfig,
    MdGanConfig, UaGanConfig,
};
use effgan_fl::local::LocalTraining;
use effgan_fl::{
    AggregationConfig, Algorithm, AlgorithmConfig, CheckpointConfig, Checkpoints, Decay, FailurePolicy, LocalConfig,
    OnFailure, RoundRecord, RunId, ServerState, Simulation, SimulationConfig,
};
use effgan_nn::Adam;
use effgan_nn::gan::{DiscriminatorSteps, Ema, Gan, GanModel, LocalDiscriminator, Loss, ServerGenerator, TrainConfig};
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, ResnetConfig};
use effgan_nn::{Array, Device, Params, Purpose, Streams, model, pixels};
use rand::seq::SliceRandom;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

#[path = "two_clients/aggregation.rs"]
mod aggregation;
#[path = "two_clients/autoencoder.rs"]
mod autoencoder;
#[path = "two_clients/message_driver.rs"]
mod message_driver;
#[path = "two_clients/resume.rs"]
mod resume;
#[path = "two_clients/second_model.rs"]
mod second_model;
#[path = "two_clients/settings.rs"]
mod settings;

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

fn device() -> Device {
    Device::cpu().unwrap()
}

fn network() -> Network {
    let dcgan = DcganConfig { latent_dim: 3, base_channels: 2, ..DcganConfig::default() };
    Network::new(NetworkConfig::Dcgan(dcgan), [1, 8, 8]).unwrap()
}

/// One epoch per round: 3 steps for `north`, 2 for `south`.
fn local() -> LocalConfig {
    LocalConfig { batch_size: BATCH, learning_rate: 2e-3, beta1: 0.5, epochs: Some(1), ..LocalConfig::default() }
}

fn model() -> Arc<GanModel> {
    Arc::new(local().gan(network()))
}

fn fedgan(rounds: u32) -> AlgorithmConfig {
    AlgorithmConfig::Fedgan(FedGanConfig { rounds, cohort: 1.0, weights: Weights::default() })
}

fn effgan(rounds: u32, fine_tune_epochs: u32) -> AlgorithmConfig {
    let fine_tune_epochs = Some(fine_tune_epochs);
    let weights = Weights::default();
    AlgorithmConfig::Effgan(EffganConfig { rounds, fine_tune_epochs, fine_tune_steps: None, cohort: 1.0, weights })
}

fn cyclic_effgan(rounds: u32, fine_tune_epochs: u32) -> AlgorithmConfig {
    let (fine_tune_epochs, weights) = (Some(fine_tune_epochs), Weights::default());
    AlgorithmConfig::CyclicEffgan(CyclicEffganConfig { rounds, fine_tune_epochs, fine_tune_steps: None, weights })
}

fn fedprox(rounds: u32, mu: f64) -> AlgorithmConfig {
    AlgorithmConfig::Fedprox(FedProxConfig { rounds, mu, cohort: 1.0, weights: Weights::default() })
}

/// With β₁ = 0.5 and β₂ = 0.75.
fn server_optimiser<V: Default>(rounds: u32, server_learning_rate: f64, tau: f64) -> FedOptConfig<V> {
    let (weights, second_moment) = (Weights::default(), V::default());
    FedOptConfig { rounds, server_learning_rate, beta1: 0.5, beta2: 0.75, tau, cohort: 1.0, weights, second_moment }
}

fn md_gan(rounds: u32) -> AlgorithmConfig {
    AlgorithmConfig::MdGan(MdGanConfig { rounds, cohort: 1.0, weights: Weights::default() })
}

fn ua_gan(rounds: u32) -> AlgorithmConfig {
    AlgorithmConfig::UaGan(UaGanConfig { rounds, cohort: 1.0, weights: Weights::default() })
}

fn local_ensemble(rounds: u32) -> AlgorithmConfig {
    AlgorithmConfig::LocalEnsemble(LocalEnsembleConfig { rounds, weights: Weights::default() })
}

/// The result of a simulation: the server's parameters, and the members.
fn simulated(config: &AlgorithmConfig, jobs: usize) -> (Params, Members) {
    simulated_with(config, local(), &if config.pools_data() { partition().pooled() } else { partition() }, jobs)
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
    let model = Arc::new(local.gan(network.clone()));
    let algorithm = config.build(model, local, &AggregationConfig::default(), device()).unwrap();
    assert_eq!((algorithm.pools_data(), algorithm.weights()), (config.pools_data(), config.weights()));
    driven(&*algorithm, &SimulationConfig::default(), partition, jobs)
}

fn driven(
    algorithm: &dyn Algorithm,
    participation: &SimulationConfig,
    partition: &Partition,
    jobs: usize,
) -> (Params, Members) {
    let folder = tempfile::tempdir().unwrap();
    let simulation = Simulation {
        algorithm,
        images: &images(),
        partition,
        participation,
        failures: FailurePolicy::default(),
        seed: SEED,
        jobs,
        checkpoints: &checkpoints(folder.path(), None),
        on_step: &|_| ControlFlow::Continue(()),
    };
    let mut members = Members::new();
    let state = simulation.run(None, &mut members, &mut |_: &RoundRecord, _: &ServerState| Ok(())).unwrap();
    (state.params, members)
}

fn checkpoints(folder: &Path, every_steps: Option<u64>) -> Checkpoints {
    let config = CheckpointConfig { every_steps, ..CheckpointConfig::default() };
    Checkpoints::new(folder.into(), RunId::default(), config, |line| panic!("{line}"))
}

fn first_params() -> Params {
    model::init(&*model(), SEED)
}

fn by_hand(params: &Params, client: &str, train: &[u32], round: u32, epochs: u64) -> Params {
    train_by_hand(gan(params), client, train, round, epochs, |_| ())
}

const ADAM: Adam = Adam { learning_rate: 2e-3, beta1: 0.5 };

fn gan(params: &Params) -> Gan {
    Gan::new(&network(), params, TrainConfig::new(ADAM), device()).unwrap()
}

/// Plain training: shuffle, cut into batches, step; calls `on_step` with the networks after each step.
fn train_by_hand(
    mut gan: Gan,
    client: &str,
    train: &[u32],
    round: u32,
    epochs: u64,
    mut on_step: impl FnMut(&Gan),
) -> Params {
    let (images, streams) = (images(), Streams::of_client(SEED, round, client));
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
    gan.params().unwrap()
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
        (name.clone(), Array::new(a.shape.clone(), a.values().iter().zip(b.values()).map(mean).collect()))
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
fn a_turn_of_each_client_in_cyclic_effgan_and_an_epoch_of_fine_tuning() {
    let (params, members) = simulated(&cyclic_effgan(2, 1), 1);
    let first = first_params();
    let orders = [south(&north(&first, 1, 1), 2, 1), north(&south(&first, 1, 1), 2, 1)];
    assert!(orders.contains(&params));
    assert_eq!(members, [member("north", 12, &north(&params, 3, 1)), member("south", 8, &south(&params, 3, 1))]);
}

#[test]
fn cyclic_effgan_with_one_client_is_effgan() {
    let alone = |config: &AlgorithmConfig| simulated_with(config, local(), &partition().pooled(), 1);
    assert_eq!(alone(&cyclic_effgan(2, 1)), alone(&effgan(2, 1)));
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
        train_by_hand(gan(&averaged), client, &train, 2, 2, |gan| ema.follow(gan));
        (ClientName::new(client).unwrap(), train.len() as u64, ema.params().unwrap())
    };
    let members = vec![slow("north", (0..12).collect()), slow("south", (12..20).collect())];
    let local = LocalConfig { ema: Some(0.9), ..local() };
    assert_eq!(simulated_with(&effgan(1, 2), local, &partition(), 1), (averaged, members));
}

#[test]
fn uniform_weights_ignore_numbers_of_images() {
    let config = FedGanConfig { rounds: 1, cohort: 1.0, weights: Weights::Uniform };
    let (north, south) = (north(&first_params(), 1, 1), south(&first_params(), 1, 1));
    let half = |(a, b): (&f32, &f32)| f64::midpoint(f64::from(*a), f64::from(*b)) as f32;
    for (name, array) in &simulated(&AlgorithmConfig::Fedgan(config), 1).0 {
        let pairs = north.get(name).unwrap().values().iter().zip(south.get(name).unwrap().values());
        assert_eq!(array.values(), pairs.map(half).collect::<Vec<f32>>(), "{name}");
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

#[test]
fn two_rounds_of_fedprox() {
    let mut params = first_params();
    for round in 1..=2 {
        let client = |name, train: std::ops::Range<u32>| {
            train_by_hand(gan(&params).with_proximal_term(0.5), name, &train.collect::<Vec<_>>(), round, 1, |_| ())
        };
        params = mean_by_hand(&client("north", 0..12), &client("south", 12..20));
    }
    assert_eq!(simulated(&fedprox(2, 0.5), 1).0, params);
}

#[test]
fn fedprox_without_the_proximal_term_is_fedgan_and_with_it_is_not() {
    let fedgan = simulated(&fedgan(2), 1);
    assert_eq!(simulated(&fedprox(2, 0.0), 1), fedgan);
    assert_ne!(simulated(&fedprox(2, 0.1), 1), fedgan);
}

fn is_running(name: &str) -> bool {
    name.contains("running")
}

/// Server steps of η = 0.1, β₁ = 0.5, β₂ = 0.75, τ = 0.01 by the formulas of the paper, value by value; the second
/// moment is `v` of the old one and Δ².
fn server_steps_by_hand(rounds: u32, second: impl Fn(f64, f64) -> f64) -> Params {
    let first = first_params();
    let constant = |value: f32| -> Params {
        let filled = |(name, array): (&String, &Array)| {
            (name.clone(), Array::new(array.shape.clone(), vec![value; array.values().len()]))
        };
        first.iter().map(filled).collect()
    };
    let (mut x, mut m, mut v) = (first.clone(), constant(0.0), constant(1e-4));
    for round in 1..=rounds {
        let mean = round_by_hand(&x, round);
        for (((name, x), (_, m)), ((_, v), (_, mean))) in x.iter_mut().zip(&mut m).zip(v.iter_mut().zip(&mean)) {
            let (x, m, v, mean) = (x.values_mut(), m.values_mut(), v.values_mut(), mean.values());
            for i in 0..x.len() {
                let delta = f64::from(mean[i]) - f64::from(x[i]);
                let moment = 0.5 * f64::from(m[i]) + 0.5 * delta;
                let second = second(f64::from(v[i]), delta * delta);
                let stepped = f64::from(x[i]) + 0.1 * moment / (second.sqrt() + 0.01);
                (m[i], v[i]) = (moment as f32, second as f32);
                x[i] = if is_running(name) { mean[i] } else { stepped as f32 };
            }
        }
    }
    x
}

fn networks(params: &Params) -> Params {
    let part = |name: &str| params.under(name).named_under(name);
    part("generator").merged_with(part("discriminator"))
}

#[test]
fn two_rounds_of_fedadam() {
    let (params, _) = simulated(&AlgorithmConfig::Fedadam(server_optimiser(2, 0.1, 0.01)), 1);
    assert_eq!(networks(&params), server_steps_by_hand(2, |v, square| 0.75 * v + 0.25 * square));
}

#[test]
fn two_rounds_of_fedyogi() {
    let (params, _) = simulated(&AlgorithmConfig::Fedyogi(server_optimiser(2, 0.1, 0.01)), 1);
    let second = |v: f64, square: f64| if v > square { v - 0.25 * square } else { v + 0.25 * square };
    assert_eq!(networks(&params), server_steps_by_hand(2, second));
}

/// With β₁ = 0 the step is x + η Δ / (√v + τ), which is x + Δ for η = √v + τ and a large τ. For `FedAdam`, β₂ = 0 makes v = Δ²,
/// which is negligible beside τ; for `FedYogi`, v stays at its initial value τ², so η = 2 τ.
#[test]
fn server_optimisers_without_momentum_and_adaptivity_are_fedgan() {
    let tau = 1e9;
    let fedadam = FedOptConfig { beta1: 0.0, beta2: 0.0, ..server_optimiser(1, tau, tau) };
    let fedyogi = FedOptConfig { beta1: 0.0, beta2: 0.0, ..server_optimiser(1, 2.0 * tau, tau) };
    let (fedgan, _) = simulated(&fedgan(1), 1);
    for config in [AlgorithmConfig::Fedadam(fedadam), AlgorithmConfig::Fedyogi(fedyogi)] {
        let params = networks(&simulated(&config, 1).0);
        for ((name, ours), (_, mean)) in params.iter().zip(&fedgan) {
            for (ours, mean) in ours.values().iter().zip(mean.values()) {
                // f32 rounding of the result, and of √τ² relative to an update of at most 0.1.
                assert!((ours - mean).abs() <= 6e-8 * mean.abs() + 1e-9, "{} {name}: {ours} {mean}", config.name());
            }
        }
    }
}

/// Two rounds of a GAN on all images, as in [`two_rounds_of_central`], with z of the server's streams.
fn one_client_of_a_server_by_hand() -> Params {
    let mut params = first_params();
    let images = images();
    for round in 1..=2 {
        let (client, server) = (Streams::of_client(SEED, round, "pooled"), Streams::of_round(SEED, round));
        let mut order: Vec<u32> = (0..20).collect();
        order.shuffle(&mut client.at(Purpose::Shuffle, 0));
        let mut gan = gan(&params);
        for (step, batch) in (0..).zip(order.chunks(BATCH)) {
            let real = batch.iter().flat_map(|&i| images.image(i as usize)).map(|&pixel| pixels::to_f32(pixel));
            (gan, _) = gan.step(real.collect(), server.normal(Purpose::Latent, step, BATCH * 3), &[]);
        }
        params = gan.params().unwrap();
    }
    params
}

#[test]
fn md_gan_of_one_client_is_a_gan_on_its_images() {
    let (params, _) = simulated_with(&md_gan(2), local(), &partition().pooled(), 1);
    assert_eq!(params.under("generator"), one_client_of_a_server_by_hand().under("generator"));
}

#[test]
fn ua_gan_of_one_client_is_md_gan_of_one_client() {
    let pooled = partition().pooled();
    assert_eq!(simulated_with(&ua_gan(2), local(), &pooled, 1), simulated_with(&md_gan(2), local(), &pooled, 1));
    // The same with spectral norm, whose vectors are moved by each pass of a discriminator.
    let resnet = NetworkConfig::Resnet(ResnetConfig { latent_dim: 3, base_channels: 2, ..ResnetConfig::default() });
    let resnet = Network::new(resnet, [1, 8, 8]).unwrap();
    let simulated = |config| simulated_network(&resnet, &config, local(), &pooled, 1);
    assert_eq!(simulated(ua_gan(2)), simulated(md_gan(2)));
}

/// Batches of a client's images, from endless shuffles.
fn batches(client: &str, train: std::ops::Range<u32>, round: u32) -> impl Iterator<Item = Vec<f32>> {
    let streams = Streams::of_client(SEED, round, client);
    let shuffled = move |epoch| {
        let mut order: Vec<u32> = train.clone().collect();
        order.shuffle(&mut streams.at(Purpose::Shuffle, epoch));
        order
    };
    let images = images();
    let mut row = (0..).flat_map(shuffled);
    std::iter::repeat_with(move || {
        let batch: Vec<u32> = row.by_ref().take(BATCH).collect();
        batch.iter().flat_map(|&i| images.image(i as usize)).map(|&pixel| pixels::to_f32(pixel)).collect()
    })
}

/// Rounds of three steps, which is the mean of `north`'s 3 and `south`'s 2, rounded up. In each step both discriminators are
/// trained, then the generator by `gradient` of the discriminators and the images. With `swap`, the discriminators are swapped
/// between rounds.
fn server_by_hand(rounds: u32, swap: bool, gradient: impl Fn(&[LocalDiscriminator; 2], &[f32]) -> Vec<f32>) -> Params {
    let (network, none) = (network(), Params::new());
    let first = first_params();
    let mut generator = first.under("generator");
    let mut discriminators = [first.under("discriminator"), first.under("discriminator")];
    for round in 1..=rounds {
        let z = |step| Streams::of_round(SEED, round).normal(Purpose::Latent, step, BATCH * 3);
        let mut real = [
            Box::new(batches("north", 0..12, round)) as Box<dyn Iterator<Item = _>>,
            Box::new(batches("south", 12..20, round)),
        ];
        let mut server =
            ServerGenerator::new(&network, &generator, &TrainConfig::new(ADAM), 0, &none, device()).unwrap();
        let mut clients = discriminators.each_ref().map(|params| {
            LocalDiscriminator::new(&network, params, &TrainConfig::new(ADAM), 0, &none, device()).unwrap()
        });
        for step in 0..3 {
            let fake = server.images(z(step)).unwrap();
            let mut sides = real.iter_mut();
            let step_of = |client: LocalDiscriminator, real| client.step(real, fake.clone()).unwrap().0;
            clients = clients.map(|client| step_of(client, sides.next().unwrap().next().unwrap()));
            server = server.step(z(step), gradient(&clients, &fake));
        }
        generator = server.params().unwrap();
        discriminators = clients.map(|client| client.params().unwrap());
        if swap {
            discriminators.reverse();
        }
    }
    generator
}

#[test]
fn two_rounds_of_md_gan_with_a_swap() {
    let mean = |clients: &[LocalDiscriminator; 2], fake: &[f32]| {
        let [north, south] = clients.each_ref().map(|client| client.feedback(fake.to_vec()).unwrap().1);
        let mean = |(a, b): (&f32, &f32)| ((12.0 * f64::from(*a) + 8.0 * f64::from(*b)) / 20.0) as f32;
        north.iter().zip(&south).map(mean).collect()
    };
    let (params, members) = simulated(&md_gan(2), 1);
    assert_eq!(params.under("generator"), server_by_hand(2, true, mean));
    assert_ne!(params.under("generator"), server_by_hand(2, false, mean));
    // The server's state has the discriminator with which clients begin, and none of theirs.
    assert_eq!((params.under("discriminator"), members), (first_params().under("discriminator"), Members::new()));
    assert_eq!(networks(&params), params);
}

#[test]
fn two_rounds_of_ua_gan() {
    let chain_rule = |clients: &[LocalDiscriminator; 2], fake: &[f32]| -> Vec<f32> {
        let odds = clients.each_ref().map(|client| client.logits(fake.to_vec()).unwrap());
        let odds = odds.map(|logits| logits.into_iter().map(|logit| f64::from(logit).exp()).collect::<Vec<_>>());
        let all: Vec<f64> = (0..BATCH).map(|i| 0.6 * odds[0][i] + 0.4 * odds[1][i]).collect();
        let of_all = all.iter().map(|odds| odds.ln() as f32).collect();
        let (_, by_logit) = Loss::NonSaturating.of_generator(of_all, device()).unwrap();
        let part = |j: usize, weight: f64| {
            let derivative = |i: usize| (weight * odds[j][i] / all[i] * f64::from(by_logit[i])) as f32;
            clients[j].gradient(fake.to_vec(), (0..BATCH).map(derivative).collect()).unwrap()
        };
        let sum = |(a, b): (&f32, &f32)| (f64::from(*a) + f64::from(*b)) as f32;
        part(0, 0.6).iter().zip(&part(1, 0.4)).map(sum).collect()
    };
    let (params, _) = simulated(&ua_gan(2), 1);
    assert_eq!(params.under("generator"), server_by_hand(2, false, chain_rule));
    assert_eq!(networks(&params), params);
}

/// Two discriminator updates per step take two batches, here all of `south`'s images in one step, with their labels.
#[test]
fn two_rounds_of_a_conditional_network_with_two_updates_per_step_and_a_decaying_step_size() {
    let dcgan = DcganConfig { latent_dim: 3, base_channels: 2, conditional: true, ..DcganConfig::default() };
    let network = Network::of_classes(NetworkConfig::Dcgan(dcgan), [1, 8, 8], 2).unwrap();
    let decay = Decay::Exponential(0.5);
    let local = LocalConfig { discriminator_steps: DiscriminatorSteps::Fixed(2), loss: Loss::Hinge, decay, ..local() };
    let first = model::init(&local.gan(network.clone()), SEED);
    let by_hand = |params: &Params, round, learning_rate| {
        let (images, streams) = (images(), Streams::of_client(SEED, round, "south"));
        let mut order: Vec<u32> = (12..20).collect();
        order.shuffle(&mut streams.at(Purpose::Shuffle, 0));
        let pixels = order.iter().flat_map(|&i| images.image(i as usize)).map(|&pixel| pixels::to_f32(pixel));
        let labels: Vec<u8> = order.iter().map(|&i| images.labels()[i as usize]).collect();
        let adam = Adam { learning_rate, beta1: 0.5 };
        let train = TrainConfig { loss: Loss::Hinge, discriminator_steps: 2, ..TrainConfig::new(adam) };
        let gan = Gan::new(&network, params, train, device()).unwrap();
        gan.step(pixels.collect(), streams.normal(Purpose::Latent, 0, 2 * BATCH * 3), &labels).0.params().unwrap()
    };
    let expected = by_hand(&by_hand(&first, 1, 2e-3), 2, 1e-3);

    let south = Partition { clients: vec![partition().clients.remove(1)] };
    assert_eq!(simulated_network(&network, &fedgan(2), local, &south, 1).0, expected);
}

/// A config of each algorithm, in the order of its variants.
fn every_algorithm() -> Vec<AlgorithmConfig> {
    let all = vec![
        effgan(1, 2),
        cyclic_effgan(2, 1),
        fedgan(2),
        fedprox(2, 0.1),
        AlgorithmConfig::Fedadam(server_optimiser(2, 0.1, 0.01)),
        AlgorithmConfig::Fedyogi(server_optimiser(2, 0.1, 0.01)),
        md_gan(2),
        ua_gan(2),
        local_ensemble(2),
        AlgorithmConfig::Central(CentralConfig { rounds: 1 }),
    ];
    let names: Vec<&str> = all.iter().map(|config| config.name()).collect();
    assert_eq!(names, AlgorithmConfig::one_of_each().map(|config| config.name()), "add it to every_algorithm");
    all
}

#[test]
fn results_do_not_depend_on_the_number_of_jobs() {
    for config in every_algorithm() {
        assert_eq!(simulated(&config, 1), simulated(&config, 2), "{}", config.name());
    }
}
