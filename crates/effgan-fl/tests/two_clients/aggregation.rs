//! Aggregation rules other than the mean, and an attacker, with every algorithm that they apply to.

use effgan_fl::{AggregationKind, Attack, AttackKind};

use super::*;

/// The result of two rounds of `config` with this kind of aggregation.
fn aggregated(config: &AlgorithmConfig, kind: AggregationKind, clip: Option<f64>) -> (Params, Members) {
    let aggregation = AggregationConfig { kind, clip, ..AggregationConfig::default() };
    let algorithm = config.build(model(), local(), &aggregation, device()).unwrap();
    driven(&*algorithm, &SimulationConfig::default(), &partition(), 1)
}

/// Every algorithm whose server averages, with these `weights`.
fn every_average(weights: Weights) -> Vec<AlgorithmConfig> {
    let weighted = |config: AlgorithmConfig| -> AlgorithmConfig {
        let mut table = toml::Table::try_from(config).unwrap();
        table.insert("weights".into(), toml::Value::try_from(weights).unwrap());
        table.try_into().unwrap()
    };
    every_algorithm().into_iter().filter(|config| config.why_only_mean().is_none()).map(weighted).collect()
}

#[test]
fn the_median_of_two_clients_is_their_mean_with_uniform_weights() {
    for (by_images, uniform) in every_average(Weights::Examples).iter().zip(&every_average(Weights::Uniform)) {
        let (median, _) = aggregated(by_images, AggregationKind::Median, None);
        assert_eq!(median, simulated(uniform, 1).0, "{}", uniform.name());
        assert_ne!(median, simulated(by_images, 1).0, "{}", uniform.name());
    }
}

#[test]
fn a_clip_that_no_update_reaches_changes_nothing_and_a_small_one_does() {
    for config in every_average(Weights::Examples) {
        let clipped = |clip| aggregated(&config, AggregationKind::NormClippedMean, Some(clip));
        assert_eq!(clipped(1e9), simulated(&config, 1), "{}", config.name());
        assert_ne!(clipped(1e-3).0, simulated(&config, 1).0, "{}", config.name());
    }
}

#[test]
fn algorithms_that_average_nothing_refuse_other_rules_and_say_why() {
    let median = AggregationConfig { kind: AggregationKind::Median, ..AggregationConfig::default() };
    let capped = AggregationConfig { max_share: Some(0.5), ..AggregationConfig::default() };
    let error = |config: AlgorithmConfig, aggregation: &AggregationConfig| {
        config.build(model(), local(), aggregation, device()).err().unwrap().to_string()
    };
    let central = AlgorithmConfig::Central(CentralConfig { rounds: 1 });
    for (config, why) in [
        (ua_gan(2), "ua-gan, which adds up what clients send, by the chain rule"),
        (local_ensemble(1), "local-ensemble, which averages nothing"),
        (cyclic_effgan(1, 1), "cyclic-effgan, which averages nothing"),
        (central, "central, which has one client"),
    ] {
        let line = format!("aggregation.kind = \"median\" is not for {why}; use mean");
        assert_eq!(error(config, &median), line);
    }
    let at_least_two = AggregationConfig { min_clients: Some(2), ..AggregationConfig::default() };
    assert_eq!(
        error(cyclic_effgan(1, 1), &at_least_two),
        "aggregation.min_clients = 2 must be at most 1, as cyclic-effgan asks one client in each round; remove it"
    );
    assert_eq!(
        error(fedgan(1), &capped),
        "aggregation.max_share is for the members of an ensemble, and fedgan has none; remove it"
    );
    assert!(local_ensemble(1).build(model(), local(), &capped, device()).is_ok());
}

/// `south`, which the seed draws as the attacker, sends x₀ − 2 (x − x₀) in place of x.
#[test]
fn an_attacker_poisons_its_updates_and_the_generator_that_is_collected() {
    let turned = |sent: &Params, honest: Params| -> Params {
        let turn =
            |(sent, honest): (&f32, &f32)| (f64::from(*sent) + -2.0 * (f64::from(*honest) - f64::from(*sent))) as f32;
        let tensors = honest.iter().filter(|(name, _)| !is_running(name)).map(|(name, honest)| {
            let values = sent.get(name).unwrap().values().iter().zip(honest.values()).map(turn).collect();
            (name.clone(), Array::new(honest.shape.clone(), values))
        });
        let turned = tensors.collect();
        honest.merged_with(turned)
    };
    let first = first_params();
    let averaged = mean_by_hand(&north(&first, 1, 1), &turned(&first, south(&first, 1, 1)));
    let members = vec![
        member("north", 12, &north(&averaged, 2, 2)),
        member("south", 8, &turned(&averaged, south(&averaged, 2, 2))),
    ];
    let attack = Some(Attack { kind: AttackKind::SignFlipped, clients: 1, factor: 2.0 });
    let participation = SimulationConfig { attack, ..SimulationConfig::default() };
    let roster: Vec<ClientName> = partition().clients.into_iter().map(|share| share.name).collect();
    assert_eq!(participation.attackers(SEED, &roster), roster[1..]);
    let algorithm = effgan(1, 2).build(model(), local(), &AggregationConfig::default(), device()).unwrap();
    for jobs in [1, 2] {
        assert_eq!(driven(&*algorithm, &participation, &partition(), jobs), (averaged.clone(), members.clone()));
    }
}
