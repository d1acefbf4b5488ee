//! What the bits of a run depend on, as hashes: whether a run may be resumed, and whether two runs share their rounds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use effgan_data::datasets::MaxMemory;
use effgan_fl::{AggregationConfig, AggregationKind, CheckpointConfig};
use effgan_nn::{DeviceName, params};
use toml::{Table, Value};

use super::typed::shown;
use super::{Config, FederationConfig, NetworkName, RunConfig};

impl Config {
    /// SHA-256, as hex, of everything that the bits of a run's rounds depend on.
    ///
    /// A resumed run may change what is left out: the name, where the images and a feature network lie, the memory to read them and whether they are cached, the number of
    /// rounds (unless the learning rate or the noise depends on it), what happens to clients that fail, send too large values or are
    /// absent and to members that are flagged or too large, which checkpoints are kept, and the device.
    pub fn identity(&self) -> String {
        params::sha256(self.what_is_fixed().to_toml().as_bytes())
    }

    /// The keys in which `other` may not differ from the config of a run that it resumes, but does, each with both values; none where
    /// the [identities](Self::identity) are equal.
    pub fn fixed_keys_that_differ(&self, other: &Self) -> Vec<String> {
        let (fixed, others_fixed) = (keys(&self.what_is_fixed()), keys(&other.what_is_fixed()));
        let (values, others_values) = (keys(self), keys(other));
        let all = values.keys().chain(others_values.keys().filter(|key| !values.contains_key(*key)));
        let said = |value: Option<&Value>| value.map_or_else(|| "absent".into(), shown);
        let differ = all.filter(|key| {
            let is_other = |here: &Keys, there: &Keys| as_toml(here.get(*key)) != as_toml(there.get(*key));
            is_other(&values, &others_values) && is_other(&fixed, &others_fixed)
        });
        differ.map(|key| format!("{key} from {} to {}", said(values.get(key)), said(others_values.get(key)))).collect()
    }

    /// The config with all that a resumed run may change at its default; a key that is not named here counts. All keys that are
    /// written count, so a new key has to be skipped while it has its default: otherwise no earlier run could be resumed.
    fn what_is_fixed(&self) -> Self {
        let mut config = self.clone();
        config.name = String::new();
        config.dataset.dir = None;
        config.dataset.max_memory = MaxMemory::default();
        config.dataset.cache = true;
        if let Some(NetworkName::File(file)) = &mut config.evaluation.features {
            *file = PathBuf::new();
        }
        config.checkpoint = CheckpointConfig::default();
        config.run = RunConfig::default();
        let FederationConfig { sites, deadline, label_counts, .. } = FederationConfig::default();
        config.federation = FederationConfig { sites, deadline, label_counts, ..config.federation };
        let AggregationConfig { max_norm, max_value, max_share, flagged, on_failure, min_clients, .. } =
            AggregationConfig::default();
        config.aggregation = AggregationConfig {
            max_norm,
            max_value,
            max_share,
            flagged,
            on_failure,
            min_clients,
            ..config.aggregation
        };
        if !config.is_of_fixed_length() {
            config.algorithm = config.algorithm.of_any_length();
        }
        config
    }

    /// Whether the first rounds of a longer run would be others: where the learning rate decays over its length, and where the training or
    /// averaging is private. Its noise may follow from the number of its updates, and what it costs is said of all of them: more rounds, and another
    /// fine-tuning after them, would cost more than was said.
    pub(crate) fn is_of_fixed_length(&self) -> bool {
        let is_private = self.privacy.is_some() || self.aggregation.kind == AggregationKind::PrivateMean;
        self.local.decay.depends_on_the_length() || is_private
    }

    /// Like [`identity`](Self::identity), but equal for `effgan` and `fedgan` where their rounds are the same, and another one where the
    /// images or the feature network lie elsewhere, or the device differs: to a sweep they are others, though a single run may have been moved.
    pub fn identity_of_rounds(&self) -> String {
        let algorithm = match &self.algorithm {
            // Their lengths differ.
            algorithm if self.is_of_fixed_length() => algorithm.clone(),
            algorithm => algorithm.rounds_alone(),
        };
        let rounds = Self { algorithm, ..self.clone() }.identity();
        let places = (&self.dataset.dir, &self.evaluation.features);
        let device = Some(self.run.device).filter(|device| *device != DeviceName::default());
        params::sha256(format!("{rounds} {places:?} {device:?}").as_bytes())
    }

    /// Whether the mean of an `effgan` run's members is the generator that FedGAN would have reached with equal work.
    pub fn mean_is_fedgan(&self) -> bool {
        let equal_work = self
            .local
            .work()
            .is_ok_and(|local| self.algorithm.fine_tuning(local).is_ok_and(|work| work == Some(local)));
        let AggregationConfig { kind, max_weight, .. } = self.aggregation;
        let of_means = kind == AggregationKind::Mean && max_weight.is_none() && self.simulation.attack.is_none();
        let averages_all = self.algorithm.as_fedgan().is_some() && self.algorithm.cohort() >= 1.0;
        averages_all && self.algorithm.has_members() && equal_work && of_means && self.local.ema.is_none()
    }
}

/// Keys such as `local.decay`, with their values.
type Keys = BTreeMap<String, Value>;

/// The keys of a config; a table within a table is one value.
fn keys(config: &Config) -> Keys {
    let table: Table = config.to_toml().parse().expect("a config is written as TOML");
    let of = |(key, value): (String, Value)| match value {
        Value::Table(table) => table.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)).collect(),
        value => vec![(key, value)],
    };
    table.into_iter().flat_map(of).collect()
}

/// The text that a hash is made of: 0.0 and -0.0 differ in it.
fn as_toml(value: Option<&Value>) -> Option<String> {
    value.map(Value::to_string)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::check::tests::every_kind;
    use super::super::tests::quickstart;
    use super::*;

    /// The keys that a resumed run may change: docs/reliability.md has this list, too.
    const MAY_CHANGE: [&str; 18] = [
        "aggregation.flagged",
        "aggregation.max_norm",
        "aggregation.max_share",
        "aggregation.max_value",
        "aggregation.min_clients",
        "aggregation.on_failure",
        "algorithm.rounds",
        "checkpoint.every_steps",
        "checkpoint.keep",
        "dataset.cache",
        "dataset.dir",
        "dataset.max_memory",
        "evaluation.features",
        "federation.deadline",
        "federation.label_counts",
        "federation.sites",
        "name",
        "run.device",
    ];

    #[test]
    fn to_a_sweep_images_networks_and_devices_elsewhere_are_others_and_to_a_run_that_moved_they_are_not() {
        for (key, places) in
            [("dataset.dir", ["a", "b"]), ("evaluation.features", ["a", "b"]), ("run.device", ["cpu", "gpu:0"])]
        {
            let at = |place| quickstart(&["dataset.name=mnist", "dataset.dir=mnist", &format!("{key}={place}")]);
            let [one, other] = places.map(|place| at(place).unwrap());
            assert_eq!(one.identity(), other.identity(), "{key}");
            assert_ne!(one.identity_of_rounds(), other.identity_of_rounds(), "{key}");
        }
    }

    #[test]
    fn a_key_counts_unless_it_is_among_those_that_a_resumed_run_may_change() {
        let mut reset = BTreeSet::new();
        for config in every_kind() {
            let fixed = keys(&config.what_is_fixed());
            reset.extend(
                keys(&config).into_iter().filter(|(key, value)| fixed.get(key) != Some(value)).map(|(key, _)| key),
            );
        }
        assert_eq!(reset, MAY_CHANGE.iter().map(ToString::to_string).collect());
    }

    /// What a private run costs is said before it begins.
    #[test]
    fn a_private_run_is_not_extended_and_shares_no_rounds_with_another() {
        let private = |more: &[&str]| {
            let settings = ["network.norm=group", "privacy={ target_epsilon = 10.0 }"];
            quickstart(&[&settings, more].concat()).unwrap()
        };
        let longer = private(&["algorithm.rounds=9"]);
        assert_eq!(private(&[]).fixed_keys_that_differ(&longer), ["algorithm.rounds from 2 to 9"]);
        assert_ne!(private(&[]).identity(), longer.identity());
        let fedgan = private(&[r#"algorithm={ kind = "fedgan", rounds = 2 }"#]);
        assert_ne!(private(&[]).identity_of_rounds(), fedgan.identity_of_rounds());
        assert_eq!(private(&[]).identity(), private(&["checkpoint.keep=7"]).identity());
    }

    #[test]
    fn earlier_runs_keep_their_identities() {
        let quantity =
            r#"partition={ kind = "quantity", sigma = 1.0, clients = 10, min_examples = 20, held_out = 0.1 }"#;
        let fedadam = r#"algorithm={ kind = "fedadam", rounds = 4, server_learning_rate = 0.01 }"#;
        // The division of the epochs that the quick start had then.
        let then = ["algorithm.rounds=3", "algorithm.fine_tune_epochs=10", "local.epochs=10"];
        let identity = |settings: &[&str]| {
            let config = quickstart(&[&then, settings].concat());
            config.unwrap_or_else(|failure| panic!("{}", failure.line())).identity()
        };
        let identities = [&[][..], &["network.kind=resnet"], &[quantity], &[fedadam]].map(identity);
        // Of version 0.1. If this fails after a key was added: skip it in `Serialize` while it has its default.
        assert_eq!(
            identities.map(|hash| hash[..16].to_owned()),
            ["56f3d17fe3cf649e", "4082df1490a22671", "e21d7b093022b04d", "21a31931d72d3e91"]
        );
    }

    #[test]
    fn keys_that_may_not_change_are_named_with_both_values() {
        let differ =
            |settings: &[&str]| quickstart(&[]).unwrap().fixed_keys_that_differ(&quickstart(settings).unwrap());
        assert!(differ(&["algorithm.rounds=9", "aggregation.max_norm=2.0", "name=other"]).is_empty());
        assert_eq!(
            differ(&["seed=9", "local.ema=0.5", "local.decay=linear"]),
            [r#"local.decay from "none" to "linear""#, "seed from 1 to 9", "local.ema from absent to 0.5"]
        );
        assert_eq!(
            differ(&["local.decay={ exponential = 0.5 }", "simulation.dropout=1e-320"]),
            [r#"local.decay from "none" to { exponential = 0.5 }"#, "simulation.dropout from 0.0 to 1e-320",]
        );
        let classes: Vec<String> = (0..256).map(|i| format!("\"class-{i}\"")).collect();
        let line = differ(&[&format!("federation.classes=[{}]", classes.join(", "))]).concat();
        assert!(line.chars().count() < 150, "{line}");
    }

    #[test]
    fn the_mean_of_members_is_fedgan_only_at_equal_work() {
        let equal = "algorithm.fine_tune_epochs=4";
        let is_fedgan = |settings: &[&str]| quickstart(&[&[equal], settings].concat()).unwrap().mean_is_fedgan();
        assert!(is_fedgan(&[]));
        for setting in
            ["algorithm.fine_tune_epochs=20", "algorithm.cohort=0.5", "local.ema=0.9", "aggregation.kind=median"]
        {
            assert!(!is_fedgan(&[setting]), "{setting}");
        }
    }
}
