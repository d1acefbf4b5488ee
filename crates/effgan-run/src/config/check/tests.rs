//! What a config refuses when it is read: every number beyond its bounds, and what does not go together.

mod documents;

use std::collections::BTreeSet;

use effgan_data::datasets::{MaxMemory, PersonKey, ValueRange};
use effgan_data::partition::{ByLabel, CommonKeys, Dirichlet, Iid, LabelQuantity, PartitionFile, Quantity, Shards};
use effgan_data::{ClientName, DatasetConfig, DatasetName, PartitionConfig};
use effgan_fl::aggregate::Weights;
use effgan_fl::algorithms::{
    CentralConfig, CyclicEffganConfig, EffganConfig, FedGanConfig, FedOptConfig, FedProxConfig, LocalEnsembleConfig,
    MdGanConfig, UaGanConfig,
};
use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{
    AggregationConfig, AggregationKind, AlgorithmConfig, Attack, AttackKind, CheckpointConfig, Decay, Flagged,
    LocalConfig, OnFailure, SimulationConfig, Speed,
};
use effgan_nn::gan::{DiscriminatorSteps, Loss};
use effgan_nn::networks::{DcganConfig, NetworkConfig, NormKind, ResnetConfig};
use effgan_nn::{DeviceName, Precision};
use toml::{Table, Value};

use super::super::tests::QUICKSTART;
use super::super::{Config, EvaluationConfig, FederationConfig, NetworkName, PrivacyConfig, RunConfig};

/// The largest whole number of a TOML file.
const MAX: &str = "9223372036854775807";
/// A number that no bound reaches, and f32 does not hold.
const HUGE: &str = "1e39";
/// What every key of a whole number is tried with.
const OUTSIDE_WHOLE: [&str; 3] = ["-1", "0", MAX];
/// What every other key of a number is tried with.
const OUTSIDE: [&str; 7] = ["-1.0", "0.0", HUGE, "nan", "-nan", "inf", "-inf"];

/// Numbers of these that are valid all the same: key, number, and why. A key `of` a kind is meant in that kind of its table alone.
const VALID: [(&str, &str, &str); 33] = [
    ("seed", "0", "every number is a seed"),
    ("seed", MAX, "every number is a seed"),
    ("dataset.limit", MAX, "at most the number of training images"),
    ("dataset.black", "0", "the value of black, unless another is set"),
    ("partition.clients", MAX, "at most the number of images"),
    ("partition.min_examples", MAX, "at most the number of images"),
    ("partition.held_out", "0.0", "nothing is held out"),
    ("partition.alpha", HUGE, "an even split"),
    ("partition.sigma", "0.0", "an even split"),
    ("partition.sigma", HUGE, "any skew"),
    ("partition.classes_per_client", MAX, "at most the number of classes"),
    ("partition.shards_per_client", MAX, "at most the number of images"),
    ("local.beta1", "0.0", "Adam without momentum"),
    ("local.ema", "0.0", "the raw parameters"),
    ("privacy.insecure_seed", "0", "every number is a seed"),
    ("privacy.insecure_seed", MAX, "every number is a seed"),
    ("algorithm.rounds of effgan", "0", "fine-tuning alone"),
    ("algorithm.mu", "0.0", "fedgan"),
    ("algorithm.server_learning_rate", HUGE, "a state that is not finite stops the run"),
    ("algorithm.beta1", "0.0", "no momentum"),
    ("algorithm.beta2", "0.0", "no memory"),
    ("aggregation.trim", MAX, "below half the number of clients"),
    ("aggregation.clip", HUGE, "no update is clipped"),
    ("aggregation.min_clients", MAX, "at most the number of clients"),
    ("simulation.dropout", "0.0", "nobody drops out"),
    ("simulation.deadline", HUGE, "nobody is late"),
    ("simulation.speed.median", HUGE, "nobody is late"),
    ("simulation.speed.sigma", "0.0", "all clients are equally fast"),
    ("simulation.attack.clients", MAX, "below the number of clients"),
    ("simulation.attack.factor", HUGE, "bounds on updates are for this"),
    ("evaluation.samples", MAX, "at most the number of test images"),
    ("checkpoint.keep", MAX, "all states are kept"),
    ("checkpoint.every_steps", MAX, "no work is saved within a round"),
];

/// A config with all keys of all tables. It names each field, so that a key that is added to effgan is added here, too.
fn with_every_key() -> Config {
    Config {
        name: "walk".into(),
        seed: 1,
        dataset: DatasetConfig {
            name: DatasetName::Folder,
            dir: Some("/pictures".into()),
            limit: Some(1000),
            size: Some(32),
            channels: Some(1),
            skip_broken: true,
            black: Some(0),
            white: Some(2),
            // For another name: see `every_kind`.
            range: None,
            person: Some(PersonKey::Folder(2)),
            max_memory: MaxMemory::from_mib(256).unwrap(),
            cache: false,
        },
        partition: PartitionConfig::Iid(Iid { common: common_keys() }),
        network: NetworkConfig::Dcgan(DcganConfig {
            latent_dim: 8,
            base_channels: 4,
            norm: NormKind::Batch,
            conditional: false,
        }),
        local: LocalConfig {
            batch_size: 16,
            loss: Loss::NonSaturating,
            discriminator_steps: DiscriminatorSteps::Fixed(1),
            learning_rate: 1e-3,
            generator_learning_rate: Some(1e-3),
            discriminator_learning_rate: Some(1e-3),
            decay: Decay::Exponential(0.5),
            beta1: 0.5,
            epochs: Some(1),
            steps: None,
            ema: Some(0.5),
            precision: Precision::F32,
        },
        // Not with batch norm: see `every_kind`.
        privacy: None,
        algorithm: AlgorithmConfig::Effgan(EffganConfig {
            rounds: 2,
            fine_tune_epochs: Some(1),
            fine_tune_steps: None,
            cohort: 0.5,
            weights: Weights::Examples,
        }),
        aggregation: AggregationConfig {
            kind: AggregationKind::NormClippedMean,
            trim: None,
            clip: Some(1.0),
            // For another kind: see `every_kind`.
            noise_multiplier: None,
            delta: None,
            max_norm: Some(1.0),
            max_value: Some(1.0),
            max_weight: Some(0.5),
            max_share: Some(0.5),
            flagged: Flagged::LeaveOut,
            on_failure: Some(OnFailure::LeaveOut),
            min_clients: Some(2),
        },
        simulation: SimulationConfig {
            dropout: 0.1,
            deadline: Some(10.0),
            speed: Some(Speed { median: 1.0, sigma: 0.5 }),
            attack: Some(Attack { kind: AttackKind::Scaled, clients: 1, factor: 2.0 }),
        },
        federation: FederationConfig {
            sites: Some(["a", "b"].map(|name| ClientName::new(name).unwrap()).to_vec()),
            deadline: 60.0,
            classes: Some(vec!["cat".into(), "dog".into()]),
            label_counts: true,
            max_examples: Some(100),
            // Its numbers are the arguments of a class of Flower, which checks them.
            strategy: None,
        },
        evaluation: EvaluationConfig {
            every: 1,
            samples: Some(100),
            norm_statistics: NormStatistics::default(),
            features: Some(NetworkName::File("/net.safetensors".into())),
        },
        run: RunConfig { device: DeviceName::Auto },
        checkpoint: CheckpointConfig { keep: 4, every_steps: Some(10) },
    }
}

fn common_keys() -> CommonKeys {
    CommonKeys { clients: 3, min_examples: 16, held_out: 0.1 }
}

/// The config with every key, once for each kind of a table, and with the keys that exclude others.
pub(in super::super) fn every_kind() -> Vec<Config> {
    let of = |change: &dyn Fn(&mut Config)| {
        let mut config = with_every_key();
        change(&mut config);
        config
    };
    let mut configs = vec![
        with_every_key(),
        of(&|config| {
            let range = ValueRange::new(0.0, 1.0);
            config.dataset = DatasetConfig { range, ..DatasetConfig::of(DatasetName::Npz) };
        }),
        of(&|config| (config.local.epochs, config.local.steps) = (None, Some(1))),
        of(&|config| private(config, None, Some(1.0))),
        of(&|config| {
            private(config, Some(10.0), None);
            config.local.discriminator_steps = DiscriminatorSteps::Adaptive;
        }),
        of(&|config| {
            let AggregationConfig { kind, trim, clip, max_weight, .. } = &mut config.aggregation;
            (*kind, *trim, *clip, *max_weight) = (AggregationKind::TrimmedMean, Some(1), None, None);
        }),
        of(&|config| {
            private(config, None, Some(1.0));
            config.aggregation = AggregationConfig {
                kind: AggregationKind::PrivateMean,
                clip: Some(1.0),
                noise_multiplier: Some(1.0),
                delta: Some(1e-5),
                ..AggregationConfig::default()
            };
        }),
        of(&|config| {
            let (norm, conditional) = (NormKind::Batch, false);
            let resnet = ResnetConfig { latent_dim: 8, base_channels: 4, norm, conditional };
            config.network = NetworkConfig::Resnet(resnet);
        }),
        of(&|config| {
            let AlgorithmConfig::Effgan(effgan) = &mut config.algorithm else { unreachable!() };
            (effgan.fine_tune_epochs, effgan.fine_tune_steps) = (None, Some(1));
        }),
    ];
    configs.extend(every_partition().into_iter().map(|partition| of(&|config| config.partition = partition.clone())));
    configs.extend(every_algorithm().into_iter().map(|algorithm| {
        of(&|config| {
            config.algorithm = algorithm.clone();
            config.aggregation = AggregationConfig::default();
            config.local.ema = None;
        })
    }));
    configs
}

/// Makes the training of `config` private.
fn private(config: &mut Config, target_epsilon: Option<f64>, noise_multiplier: Option<f64>) {
    let NetworkConfig::Dcgan(dcgan) = &mut config.network else { unreachable!() };
    dcgan.norm = NormKind::Group;
    config.federation.label_counts = false;
    let privacy = PrivacyConfig { target_epsilon, noise_multiplier, delta: 1e-5, clip: 1.0, insecure_seed: Some(1) };
    config.privacy = Some(privacy);
}

fn every_partition() -> Vec<PartitionConfig> {
    let (alpha, sigma, common) = (0.5, 0.5, common_keys());
    vec![
        PartitionConfig::Dirichlet(Dirichlet { alpha, common: common.clone() }),
        PartitionConfig::ByLabel(ByLabel { classes_per_client: 1, common: common.clone() }),
        PartitionConfig::Shards(Shards { shards_per_client: 1, common: common.clone() }),
        PartitionConfig::Quantity(Quantity { sigma: Some(sigma), alpha: None, common: common.clone() }),
        PartitionConfig::Quantity(Quantity { sigma: None, alpha: Some(alpha), common: common.clone() }),
        PartitionConfig::LabelQuantity(LabelQuantity { alpha, sigma, common }),
        PartitionConfig::File(PartitionFile { path: "split.json".into() }),
    ]
}

fn every_algorithm() -> Vec<AlgorithmConfig> {
    let (rounds, cohort, weights) = (2, 0.5, Weights::Examples);
    vec![
        AlgorithmConfig::Fedgan(FedGanConfig { rounds, cohort, weights }),
        AlgorithmConfig::Fedprox(FedProxConfig { rounds, mu: 0.1, cohort, weights }),
        AlgorithmConfig::Fedadam(server_optimiser()),
        AlgorithmConfig::Fedyogi(server_optimiser()),
        AlgorithmConfig::MdGan(MdGanConfig { rounds, cohort, weights }),
        AlgorithmConfig::UaGan(UaGanConfig { rounds, cohort, weights }),
        AlgorithmConfig::CyclicEffgan(CyclicEffganConfig {
            rounds,
            fine_tune_epochs: Some(1),
            fine_tune_steps: None,
            weights,
        }),
        AlgorithmConfig::LocalEnsemble(LocalEnsembleConfig { rounds, weights }),
        AlgorithmConfig::Central(CentralConfig { rounds }),
    ]
}

fn server_optimiser<V: Default>() -> FedOptConfig<V> {
    FedOptConfig {
        rounds: 2,
        server_learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.99,
        tau: 1e-3,
        cohort: 0.5,
        weights: Weights::Examples,
        second_moment: V::default(),
    }
}

/// What may be the value of `key`.
fn kinds(key: &str) -> Vec<String> {
    let line = Config::parse(QUICKSTART, &[format!("{key}=?")]).unwrap_err().line();
    let kinds = expected(&line);
    assert!(kinds.len() > 1, "{line}");
    kinds
}

/// The names that an error lists after "expected": `a` or `b`, or one of `a`, `b`, `c`.
fn expected(line: &str) -> Vec<String> {
    let listed = line.split_once("expected").map_or("", |(_, listed)| listed);
    listed.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// The keys of `value`, below `key`, that hold numbers, and whether these are whole.
fn numbers(key: &str, value: &Value) -> Vec<(String, bool)> {
    match value {
        Value::Integer(_) | Value::Float(_) => vec![(key.trim_start_matches('.').to_owned(), value.is_integer())],
        Value::Table(table) => {
            table.iter().flat_map(|(inner, value)| numbers(&format!("{key}.{inner}"), value)).collect()
        }
        _ => Vec::new(),
    }
}

/// `key of kind` where the key's table has a kind.
fn of_kind(table: &Table, key: &str) -> String {
    let kind = key.split_once('.').and_then(|(name, _)| table[name].get("kind")?.as_str());
    kind.map_or_else(|| key.to_owned(), |kind| format!("{key} of {kind}"))
}

/// Whether `line` begins with `key` and its value, and names a bound.
fn names_key_value_and_bound(line: &str, key: &str, number: &str) -> bool {
    let rest = line.strip_prefix(&format!("{key} = {}", number.replace("-nan", "nan")));
    let bounds = ["must be ", "expected a whole number of", "is neither 1 (grey) nor 3"];
    rest.is_some_and(|rest| rest.starts_with([' ', ',']) && bounds.iter().any(|bound| rest.contains(bound)))
}

/// The number after `words`, such as "at least".
fn number_after<'a>(words: &str, line: &'a str) -> Option<&'a str> {
    let number = line.split_once(words)?.1.trim_start().split([' ', ',', ';']).next()?;
    number.parse::<f64>().is_ok().then_some(number)
}

/// The words before a bound, and whether the bound itself is valid.
const BEFORE_A_BOUND: [(&str, bool); 6] = [
    ("at least", true),
    ("must be from", true),
    (" to", true),
    ("and at most", true),
    ("above", false),
    ("below", false),
];

/// Tries `number` for `key` of `table`: the row of [`VALID`] that allows it, or `None` where it is refused as it should be.
fn tried(table: &Table, key: &str, number: &str) -> Option<(&'static str, &'static str)> {
    let Err(failure) = Config::parse(&table.to_string(), &[format!("{key}={number}")]) else {
        let of_kind = of_kind(table, key);
        let row = VALID.iter().find(|(valid, n, _)| (*valid == key || *valid == of_kind) && *n == number);
        let (valid, number, _) =
            row.unwrap_or_else(|| panic!("{of_kind} = {number} is accepted: bound it, or say why in VALID"));
        return Some((*valid, *number));
    };
    let line = failure.line();
    assert!(names_key_value_and_bound(&line, key, number), "{key} = {number}: {line}");
    for (words, is_valid) in BEFORE_A_BOUND {
        let Some(bound) = number_after(words, &line) else { continue };
        let at_bound = Config::parse(&table.to_string(), &[format!("{key}={bound}")]).map_err(|failure| failure.line());
        let is_refused = at_bound.as_ref().is_err_and(|other| other.starts_with(&format!("{key} = ")));
        assert_eq!(is_refused, !is_valid, "{line}: but {at_bound:?}");
    }
    None
}

#[test]
fn every_number_beyond_its_bounds_is_refused_with_its_key_its_value_and_a_bound() {
    let mut valid = BTreeSet::new();
    for config in every_kind() {
        let text = config.to_toml();
        assert_eq!(Config::parse(&text, &[]).unwrap_or_else(|failure| panic!("{}\n{text}", failure.line())), config);
        let table: Table = text.parse().unwrap();
        let mut keys = numbers("", &Value::Table(table.clone()));
        // It is written as a text, and may be a number.
        keys.push(("dataset.max_memory".into(), true));
        for (key, is_whole) in keys {
            let outside = if is_whole { &OUTSIDE_WHOLE[..] } else { &OUTSIDE[..] };
            valid.extend(outside.iter().filter_map(|number| tried(&table, &key, number)));
        }
    }
    assert_eq!(valid, VALID.iter().map(|(key, number, _)| (*key, *number)).collect(), "a row that is no longer needed");
}

#[test]
fn the_error_about_an_unknown_key_of_a_partition_lists_the_keys_of_its_kind() {
    for partition in every_partition() {
        let text = Config { partition, ..with_every_key() }.to_toml();
        let Value::Table(keys) = text.parse::<Table>().unwrap()["partition"].clone() else { unreachable!() };
        let line = Config::parse(&text, &["partition.?=1".into()]).unwrap_err().line();
        let listed = expected(&line);
        assert!(keys.keys().filter(|key| *key != "kind").all(|key| listed.contains(key)), "{line} lacks one of {keys}");
    }
}

#[test]
fn the_walk_over_the_numbers_has_every_kind() {
    let configs: Vec<Table> = every_kind().iter().map(|config| config.to_toml().parse().unwrap()).collect();
    for table in ["partition", "network", "algorithm"] {
        for kind in kinds(&format!("{table}.kind")) {
            let is_tried = configs.iter().any(|config| config[table]["kind"].as_str() == Some(&kind));
            assert!(is_tried, "{table}.kind = \"{kind}\" is not in every_kind: add it to every_{table} or beside it");
        }
    }
}

/// Values of every type.
const OF_EVERY_TYPE: [&str; 11] =
    ["true", "1", "1.5", "\"?\"", "1979-05-27", "[]", "[1]", "[\"?\"]", "[{}]", "{}", "{ a = 1 }"];
/// Values of another type than the key's that are accepted all the same: key, value, and why.
const ACCEPTED: [(&str, &str, &str); 2] = [
    ("dataset.max_memory", "1", "a number of MiB"),
    ("local.discriminator_steps", "1", "a number of updates, where it is adaptive"),
];
/// What only a programmer of effgan understands.
const WORDS_OF_RUST: [&str; 12] = [
    "invalid type",
    "invalid value",
    "variant",
    "struct",
    "enum",
    "sequence",
    "map",
    "element",
    "string",
    "usize",
    "u64",
    "f64",
];

/// Parts of the refusals that are about more than one key.
const ABOUT_SEVERAL_KEYS: [&str; 2] = ["set exactly one of local.epochs and local.steps", " do not fit a "];

/// Whether `value` has the type of the one that `key` has in `table`, or is among those accepted all the same.
fn is_of_its_type(table: &Table, key: &str, value: &str) -> bool {
    let own = key.split('.').try_fold(&Value::Table(table.clone()), |table, key| table.get(key)).map(Value::type_str);
    let new = format!("x = {value}").parse::<Table>().unwrap()["x"].type_str();
    let is_row = ACCEPTED.iter().any(|(accepted, number, _)| (*accepted, *number) == (key, value));
    own == Some(new) || (own, new) == (Some("float"), "integer") || is_row
}

/// All keys below `key`, tables included.
fn all_keys(key: &str, value: &Value) -> Vec<String> {
    let inner = value.as_table().into_iter().flatten();
    let inner = inner.flat_map(|(name, value)| all_keys(format!("{key}.{name}").trim_start_matches('.'), value));
    [key.to_owned()].into_iter().filter(|key| !key.is_empty()).chain(inner).collect()
}

#[test]
fn every_value_of_a_wrong_type_is_refused_with_its_key_and_the_value_and_without_words_of_rust() {
    for config in every_kind() {
        let table: Table = config.to_toml().parse().unwrap();
        for key in all_keys("", &Value::Table(table.clone())) {
            for value in OF_EVERY_TYPE {
                let Err(failure) = Config::parse(&table.to_string(), &[format!("{key}={value}")]) else {
                    assert!(
                        is_of_its_type(&table, &key, value),
                        "{key} = {value} is accepted: refuse it, or add it to ACCEPTED"
                    );
                    continue;
                };
                let line = failure.line();
                let is_named = line.starts_with(&format!("{key} = {value}"))
                    || line.starts_with(&format!("[{key}] missing key"))
                    || line.starts_with(&format!("[{key}] unknown key"))
                    || line.starts_with(&format!("config lacks `{key}."))
                    || ABOUT_SEVERAL_KEYS.iter().any(|part| line.contains(part));
                assert!(is_named, "{key} = {value}: {line}");
                let word = WORDS_OF_RUST.iter().find(|word| line.contains(*word));
                assert_eq!(word, None, "{key} = {value}: {line}");
            }
        }
    }
}
