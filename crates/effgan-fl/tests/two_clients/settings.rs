//! An algorithm does what its settings say about it.

use effgan_fl::policy::Policy;
use effgan_fl::{AggregationKind, ExchangeKind, LocalWork, Roster};

use super::*;

#[test]
fn settings_know_their_name_in_a_config_and_their_number_of_rounds() {
    for config in every_algorithm() {
        let table = toml::Table::try_from(&config).unwrap();
        assert_eq!(table["kind"].as_str(), Some(config.name()));
        assert_eq!(table.try_into::<AlgorithmConfig>().unwrap(), config);
        let longer = config.with_rounds(7);
        assert_eq!(longer.rounds(), config.rounds().map(|_| 7), "{}", config.name());
        assert_eq!(config.rounds().map_or(longer.clone(), |rounds| longer.with_rounds(rounds)), config);
        let work = LocalWork::Epochs(3);
        assert_eq!(config.fine_tuning(work).unwrap().is_some(), config.has_members(), "{}", config.name());
    }
}

#[test]
fn a_policy_may_allow_every_algorithm_of_a_federation() {
    for config in every_algorithm() {
        let policy = Policy::parse(&format!("algorithms = [\"{}\"]", config.name()));
        assert_eq!(policy.is_ok(), !config.pools_data(), "{}: {:?}", config.name(), policy.err());
    }
}

#[test]
fn the_rounds_of_an_algorithm_are_those_of_the_fedgan_that_it_names() {
    for config in every_algorithm() {
        assert_eq!(simulated(&config, 1).0, simulated(&config.rounds_alone(), 1).0, "{}", config.name());
    }
    assert_ne!(effgan(1, 2).rounds_alone(), effgan(1, 2));
}

/// Compares a run of one round that is extended by a second one with a run of two rounds.
#[test]
fn a_run_can_be_extended_where_its_settings_say_so() {
    let run = |config: &AlgorithmConfig, folder: &Path| {
        let algorithm = config.build(model(), local(), &AggregationConfig::default(), device()).unwrap();
        let checkpoints = checkpoints(folder, None);
        let simulation = Simulation {
            algorithm: &*algorithm,
            images: &images(),
            partition: &if config.pools_data() { partition().pooled() } else { partition() },
            participation: &SimulationConfig::default(),
            failures: FailurePolicy::default(),
            seed: SEED,
            jobs: 1,
            checkpoints: &checkpoints,
            on_step: &|_| ControlFlow::Continue(()),
        };
        let from = checkpoints.latest(|_| Ok(())).unwrap();
        let mut members = Members::new();
        let state = simulation.run(from, &mut members, &mut resume::Recording::default()).unwrap();
        (state.params, members)
    };
    for config in every_algorithm().iter().filter(|config| config.rounds().is_some()) {
        let (short, long, folder) = (config.with_rounds(1), config.with_rounds(2), tempfile::tempdir().unwrap());
        run(&short, folder.path());
        if config.has_members() {
            // A longer run has another round in place of the collection.
            std::fs::remove_file(folder.path().join("round_0002.safetensors")).unwrap();
        }
        let is_same = run(&long, folder.path()) == simulated(&long, 1);
        assert_eq!(is_same, long.has_same_prefix(1, 1), "{}", config.name());
    }
}

#[test]
fn training_that_an_algorithm_does_not_support_is_refused_alike_before_it_is_built_and_then() {
    let locals = [
        local(),
        LocalConfig { ema: Some(0.9), ..local() },
        LocalConfig { discriminator_steps: DiscriminatorSteps::Fixed(2), ..local() },
        LocalConfig { loss: Loss::Hinge, ..local() },
    ];
    let networks = [false, true].map(|conditional| {
        let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, conditional, ..DcganConfig::default() };
        Network::of_classes(NetworkConfig::Dcgan(dcgan), [1, 8, 8], 2).unwrap()
    });
    let mut refused = Vec::new();
    for config in every_algorithm() {
        for (local, network) in locals.iter().flat_map(|local| networks.iter().map(move |network| (local, network))) {
            let checked = config.check_training(local, &network.config).map_err(|error| error.to_string());
            let (gan, aggregation) = (Arc::new(local.gan(network.clone())), AggregationConfig::default());
            let built = config.build(gan, local.clone(), &aggregation, device()).map_err(|error| error.to_string());
            assert_eq!(checked, built.map(drop), "{}", config.name());
            refused.extend(checked.err().map(|_| config.name()));
        }
    }
    // All four with a conditional network; without, ema and two updates per step, and for ua-gan the hinge loss.
    assert_eq!(refused, [["md-gan"; 6].as_slice(), &["ua-gan"; 7]].concat());
}

#[test]
fn keys_out_of_their_bounds_are_named_before_anything_is_built() {
    let fedadam = || server_optimiser(2, 0.1, 0.01);
    let cohort = FedGanConfig { rounds: 1, cohort: 0.0, weights: Weights::default() };
    let both = EffganConfig {
        rounds: 1,
        fine_tune_epochs: Some(1),
        fine_tune_steps: Some(1),
        cohort: 1.0,
        weights: Weights::default(),
    };
    for (config, line) in [
        (fedgan(0), "algorithm.rounds = 0 must be from 1 to 1000000"),
        (effgan(1_000_001, 1), "algorithm.rounds = 1000001 must be from 0 to 1000000"),
        (
            AlgorithmConfig::Fedgan(cohort),
            "algorithm.cohort = 0.0 must be above 0 and at most 1, which is every client",
        ),
        (AlgorithmConfig::Effgan(both), "set exactly one of algorithm.fine_tune_epochs and algorithm.fine_tune_steps"),
        (fedprox(1, -1.0), "algorithm.mu = -1.0 must be from 0 to 3e38 (computed in 32 bits)"),
        (fedprox(1, 3.2e38), "algorithm.mu = 3.2e38 must be from 0 to 3e38 (computed in 32 bits)"),
        (fedprox(1, 1e39), "algorithm.mu = 1e39 must be from 0 to 3e38 (computed in 32 bits)"),
        (
            AlgorithmConfig::Fedadam(FedOptConfig { server_learning_rate: 0.0, ..fedadam() }),
            "algorithm.server_learning_rate = 0.0 must be above 0 and finite",
        ),
        (
            AlgorithmConfig::Fedadam(FedOptConfig { tau: 1e-20, ..fedadam() }),
            "algorithm.tau = 1e-20 must be from 1e-18 to 1e19 (its square is computed in 32 bits)",
        ),
        (
            AlgorithmConfig::Fedadam(FedOptConfig { beta2: 1.0, ..fedadam() }),
            "algorithm.beta2 = 1.0 must be at least 0 and below 1",
        ),
    ] {
        assert_eq!(config.check().unwrap_err().to_string(), line);
    }
    let median = AggregationConfig { kind: AggregationKind::Median, ..AggregationConfig::default() };
    for config in every_algorithm() {
        config.check().unwrap();
        assert_eq!(config.check_aggregation(&median).is_ok(), config.why_only_mean().is_none(), "{}", config.name());
    }
}

#[test]
fn settings_say_who_takes_part_and_how_much_the_fine_tuning_is() {
    for config in every_algorithm() {
        let mut table = toml::Table::try_from(&config).unwrap();
        if let Some(cohort) = table.get_mut("cohort") {
            *cohort = 0.25.into();
        }
        let config: AlgorithmConfig = table.try_into().unwrap();
        let training = LocalTraining::new(model(), local(), device()).unwrap();
        let algorithm = config.build(model(), local(), &AggregationConfig::default(), device()).unwrap();
        let clients = (0..20).map(|i| (ClientName::new(format!("client-{i:02}")).unwrap(), 12)).collect();
        let roster = Roster::new(clients);
        let ctx = roster.context(SEED);
        let mut state = algorithm.init(&ctx).unwrap();
        let first = algorithm.next(&state, &ctx).unwrap();
        if first.kind != ExchangeKind::Collect {
            let expected = if config.takes_turns() { 1.0 } else { 20.0 * config.cohort() };
            assert_eq!(first.cohort.len() as f64, expected, "{}", config.name());
            assert_eq!(config.num_in_round(20), first.cohort.len(), "{}", config.name());
        }
        state.round = config.rounds().unwrap_or_default();
        let last = algorithm.next(&state, &ctx).map(|exchange| algorithm.local_steps(&exchange, 12));
        let fine_tuning = config.fine_tuning(training.work()).unwrap();
        assert_eq!(last, fine_tuning.map(|work| training.steps(work, 12)), "{}", config.name());
    }
}
