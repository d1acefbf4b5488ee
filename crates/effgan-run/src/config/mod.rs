//! The config: one TOML file that shows everything, checked once when it is loaded.

mod federation;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::anyhow;
use effgan_data::datasets::MaxMemory;
use effgan_data::{DataError, Dataset, DatasetConfig, DatasetName, Partition, PartitionConfig};

use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{
    AggregationConfig, AggregationKind, AlgorithmConfig, Bounds, CheckpointConfig, FailurePolicy, LocalConfig,
    OnFailure, SimulationConfig,
};
use effgan_nn::networks::{Network, NetworkConfig};
use effgan_nn::{Purpose, Streams, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(crate) use self::federation::MOST_EXAMPLES;
pub use self::federation::{FederationConfig, StrategyConfig};
use crate::failure::{Failure, Result};

/// An experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Names the run folder: 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`.
    pub name: String,
    /// Everything random follows from it; 0..2^63.
    pub seed: u64,
    pub dataset: DatasetConfig,
    pub partition: PartitionConfig,
    pub network: NetworkConfig,
    pub local: LocalConfig,
    pub algorithm: AlgorithmConfig,
    pub aggregation: AggregationConfig,
    pub simulation: SimulationConfig,
    pub federation: FederationConfig,
    pub evaluation: EvaluationConfig,
    pub checkpoint: CheckpointConfig,
}

/// The `[evaluation]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Score the averaged generator after every so many rounds, ≥ 1; it is always scored after the last.
    #[serde(default = "one")]
    pub every: u32,
    /// Images that are scored, against as many reference images, ≥ 2; as many as the test split has when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Whose batch-norm statistics the averaged generator in the model folder has.
    #[serde(default)]
    pub norm_statistics: NormStatistics,
}

fn one() -> u32 {
    1
}

impl Config {
    /// Reads `path`, with `section.key=value` settings on top.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the file and the key.
    pub fn load(path: &Path, settings: &[String]) -> Result<Self> {
        let text = read(path).map_err(|error| Failure::usage(anyhow!("{}: {error}", path.display())))?;
        Self::parse(&text, settings).map_err(|failure| failure.context(path.display().to_string()))
    }

    /// As [`load`](Self::load), from the text of a file.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn parse(text: &str, settings: &[String]) -> Result<Self> {
        let mut table: Table = text.parse().map_err(|error| syntax_error(text, &error))?;
        settings.iter().try_for_each(|setting| set(&mut table, setting))?;
        table.iter().try_for_each(|(key, value)| check_finite(key, value))?;
        check_complete(&table)?;
        let config = Self {
            name: take(&mut table, "name")?,
            seed: take(&mut table, "seed")?,
            dataset: take(&mut table, "dataset")?,
            partition: take(&mut table, "partition")?,
            network: take(&mut table, "network")?,
            local: take(&mut table, "local")?,
            algorithm: take(&mut table, "algorithm")?,
            aggregation: take_or_empty(&mut table, "aggregation")?,
            simulation: take_or_empty(&mut table, "simulation")?,
            federation: take_or_empty(&mut table, "federation")?,
            evaluation: take_or_empty(&mut table, "evaluation")?,
            checkpoint: take_or_empty(&mut table, "checkpoint")?,
        };
        if let Some(key) = table.keys().next() {
            return Err(usage(format!("unknown key `{key}`, expected one of {KEYS}")));
        }
        config.check()
    }

    fn check(self) -> Result<Self> {
        check_name(&self.name)?;
        if self.evaluation.every == 0 {
            return Err(usage("evaluation.every = 0 must be at least 1".into()));
        }
        self.partition.check()?;
        self.aggregation.check()?;
        self.checkpoint.check()?;
        self.simulation.check()?;
        self.federation.check()?;
        Ok(self)
    }

    /// Checks the bounds that hang on how many clients there are.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_clients(&self, clients: usize) -> Result<()> {
        self.aggregation.check_clients(clients)?;
        Ok(self.simulation.check_clients(clients)?)
    }

    /// Who gets which images of the data set that it names.
    ///
    /// # Errors
    /// When the partition cannot be dealt.
    pub fn deal(&self, dataset: &Dataset) -> Result<Partition> {
        let mut rng = Streams::of_run(self.seed).at(Purpose::Partition, 0);
        Ok(self.partition.deal(&dataset.train, dataset.num_dealt(), &mut rng)?)
    }

    /// What is done about clients that fail, `otherwise` where it does not say, and how much of an answer is believed.
    pub fn failures(&self, otherwise: OnFailure) -> FailurePolicy {
        let policy = self.aggregation.failures(otherwise);
        let bounds = Bounds { max_examples: self.federation.max_examples, ..policy.bounds };
        FailurePolicy { bounds, ..policy }
    }

    /// The images of the data set that it names, with labels by `federation.classes` where there are some.
    ///
    /// # Errors
    /// As [`DatasetConfig::load_named`].
    pub fn load_dataset(&self) -> std::result::Result<Dataset, DataError> {
        self.dataset.load_named(self.federation.classes.as_deref())
    }

    /// Checks that a label means the same class at all sites.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_classes(&self) -> Result<()> {
        let named = self.dataset.name == DatasetName::Folder;
        if self.network.is_conditional() && named && self.federation.classes.is_none() {
            let line = "network.conditional = true with dataset.name = \"folder\" needs federation.classes, the names of the folders in the \
                        order of their labels, such as [\"cat\", \"dog\"]: each site would number its own folders";
            return Err(usage(line.into()));
        }
        Ok(())
    }

    /// Whether it wants all images at one client, as no federation can.
    pub fn pools_data(&self) -> bool {
        matches!(self.algorithm, AlgorithmConfig::Central(_))
    }

    /// As sites are sent it: where the server's files lie, and who else is in the federation, is not their business.
    #[must_use]
    pub fn for_sites(&self) -> Self {
        let mut config = self.clone();
        config.dataset.dir = None;
        config.federation.sites = None;
        config
    }

    /// Checks that the experiment can be one of many machines.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_federated(&self) -> Result<()> {
        if self.pools_data() {
            let line = "algorithm.kind = \"central\" trains on all images in one place, and in a federation they stay where they \
                        are; take another algorithm, or effgan run";
            return Err(usage(line.into()));
        }
        self.check_classes()?;
        if let (Some(size), Some(channels)) = (self.dataset.size, self.dataset.channels) {
            // Each site would find out by itself, after somebody there said yes.
            let num_classes = self.federation.classes.as_ref().map_or(2, Vec::len);
            Network::of_classes(self.network.clone(), [channels, size, size], num_classes)?;
        }
        if self.simulation != SimulationConfig::default() {
            let line =
                "[simulation] says who is missing and who attacks, and real sites do so by themselves; leave it out";
            return Err(usage(line.into()));
        }
        let averages = matches!(
            self.algorithm,
            AlgorithmConfig::Fedgan(_) | AlgorithmConfig::Fedprox(_) | AlgorithmConfig::Effgan(_)
        );
        if self.federation.strategy.is_some() && !(averages && self.aggregation.kind == AggregationKind::Mean) {
            let line = "federation.strategy takes the place of the mean of fedgan, fedprox and effgan; leave it out, or take one of \
                        these with aggregation.kind = \"mean\"";
            return Err(usage(line.into()));
        }
        Ok(())
    }

    /// Checks that the experiment can be one of this machine.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_simulated(&self) -> Result<()> {
        if self.federation.strategy.is_some() {
            let line = "federation.strategy is Flower's, and a simulation has none; leave it out, or take algorithm.kind = \
                        \"fedadam\" or aggregation.kind = \"median\"";
            return Err(usage(line.into()));
        }
        Ok(())
    }

    /// Whether the mean of the members is what FedGAN, with its mean, would have made of the same work.
    pub fn mean_is_fedgan(&self) -> bool {
        let AlgorithmConfig::Effgan(effgan) = &self.algorithm else { return false };
        let equal_work = (effgan.fine_tune_epochs, effgan.fine_tune_steps) == (self.local.epochs, self.local.steps);
        let AggregationConfig { kind, max_weight, .. } = self.aggregation;
        let of_means = kind == AggregationKind::Mean && max_weight.is_none() && self.simulation.attack.is_none();
        equal_work && of_means && effgan.cohort >= 1.0 && self.local.ema.is_none()
    }

    /// SHA-256, as hex, of all that the bits of a run's rounds depend on. What is left out may change when the run is
    /// resumed: its name, where the images lie and what reading them may take, the number of rounds (where the rounds before do not depend on it),
    /// what is done about clients that fail, send too large values or are away, and about members that are flagged or too large, and what is
    /// kept.
    pub fn identity(&self) -> String {
        let mut config = self.clone();
        config.name = String::new();
        config.dataset.dir = None;
        config.dataset.max_memory = MaxMemory::default();
        config.checkpoint = CheckpointConfig::default();
        let FederationConfig { strategy, classes, max_examples, .. } = config.federation;
        config.federation = FederationConfig { classes, max_examples, strategy, ..FederationConfig::default() };
        let AggregationConfig { kind, trim, clip, max_weight, .. } = config.aggregation;
        config.aggregation = AggregationConfig { kind, trim, clip, max_weight, ..AggregationConfig::default() };
        if !config.local.decay.depends_on_the_length() {
            config.algorithm = config.algorithm.of_any_length();
        }
        params::sha256(config.to_toml().as_bytes())
    }

    /// As [`identity`](Self::identity), and equal for `effgan` and `fedgan` too where their rounds are the same.
    pub fn identity_of_rounds(&self) -> String {
        let algorithm = match &self.algorithm {
            // A learning rate that falls over the run's length does not fall alike in both.
            algorithm if self.local.decay.depends_on_the_length() => algorithm.clone(),
            algorithm => algorithm.rounds_alone(),
        };
        Self { algorithm, ..self.clone() }.identity()
    }

    /// The TOML text that gives this config back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config is plain data")
    }
}

/// Most bytes of a config; the longest of ours has 2,000.
const MOST_BYTES: u64 = 1 << 20;
/// Most keys of one table among which the wrong one is looked for; no part of a config has as many.
const MOST_KEYS: usize = 64;

/// The keys without defaults.
const REQUIRED: [&str; 7] = ["name", "seed", "dataset", "partition", "network", "local", "algorithm"];

const KEYS: &str = "name, seed, dataset, partition, network, local, algorithm, aggregation, simulation, federation, evaluation, checkpoint";

/// The text of a config, which may come through a pipe.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("has more than the {MOST_BYTES} bytes of a config; is it another file?")));
    }
    Ok(text)
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

/// The name becomes a folder, so it must not lead out of one.
pub fn check_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(fine) && !name.starts_with('.') {
        return Ok(());
    }
    Err(usage(format!("name = {name:?} is not 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.` with no `.` at the start")))
}

/// Reports all missing keys at once.
fn check_complete(table: &Table) -> Result<()> {
    let missing: Vec<String> =
        REQUIRED.iter().filter(|key| !table.contains_key(**key)).map(|key| format!("`{key}`")).collect();
    let listed = match &missing[..] {
        [] => return Ok(()),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    Err(usage(format!("config lacks {listed}; see configs/quickstart.toml")))
}

/// Refuses what TOML calls `nan` and `inf`: no key means anything by them, and comparisons with a bound let them through.
fn check_finite(key: &str, value: &Value) -> Result<()> {
    match value {
        Value::Float(number) if !number.is_finite() => Err(usage(format!("{key} = {number} is not a finite number"))),
        Value::Table(table) => {
            table.iter().try_for_each(|(inner, value)| check_finite(&format!("{key}.{inner}"), value))
        }
        Value::Array(values) => values.iter().try_for_each(|value| check_finite(key, value)),
        _ => Ok(()),
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> Failure {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..before].split(|&byte| byte == b'\n').count();
    usage(format!("line {line}: {}", error.message()))
}

/// Moves one part of the config out of the table, so that what is left over is unknown.
fn take<T: DeserializeOwned>(table: &mut Table, key: &str) -> Result<T> {
    let value = table.remove(key).expect("required keys were checked, and optional tables inserted");
    let parsed: std::result::Result<T, _> = value.clone().try_into();
    parsed.map_err(|error: toml::de::Error| {
        let at = culprit::<T>(&value, error.message()).unwrap_or_default();
        usage(format!("[{key}] {at}{}", error.message()))
    })
}

/// The key that an error is about, where its message does not say: the message quotes its value, and without it there would be another
/// error, or none.
fn culprit<T: DeserializeOwned>(value: &Value, message: &str) -> Option<String> {
    let table = value.as_table().filter(|table| table.len() <= MOST_KEYS)?;
    let explains = |key: &&String| {
        let without: Table =
            table.iter().filter(|(other, _)| other != key).map(|(k, v)| (k.clone(), v.clone())).collect();
        let parsed: std::result::Result<T, _> = without.try_into();
        parsed.err().is_none_or(|error: toml::de::Error| error.message() != message)
    };
    let quoted = |key: &&String| message.contains(table[*key].to_string().trim_matches('"'));
    let named = table.keys().any(|key| message.contains(&format!("`{key}`")));
    table.keys().filter(quoted).find(explains).filter(|_| !named).map(|key| format!("{key}: "))
}

fn take_or_empty<T: DeserializeOwned>(table: &mut Table, key: &str) -> Result<T> {
    table.entry(key).or_insert_with(|| Value::Table(Table::new()));
    take(table, key)
}

/// Applies `section.key=value`; a value that is no TOML is a string.
fn set(table: &mut Table, setting: &str) -> Result<()> {
    let malformed = || usage(format!("--set {setting}: expected section.key=value"));
    let (path, value) = setting.split_once('=').ok_or_else(malformed)?;
    let value = value_of(value.trim());
    let (sections, key) = path.trim().rsplit_once('.').map_or((None, path.trim()), |(a, b)| (Some(a), b));
    let mut inner = table;
    for section in sections.into_iter().flat_map(|sections| sections.split('.')) {
        let entry = inner.entry(section).or_insert_with(|| Value::Table(Table::new()));
        inner = entry.as_table_mut().ok_or_else(malformed)?;
    }
    inner.insert(key.into(), value);
    Ok(())
}

fn value_of(text: &str) -> Value {
    let parsed: std::result::Result<Table, _> = format!("x = {text}").parse();
    parsed.ok().and_then(|mut table| table.remove("x")).unwrap_or_else(|| Value::String(text.into()))
}

#[cfg(test)]
pub mod tests {
    use effgan_nn::networks::Network;

    use super::*;

    const QUICKSTART: &str = include_str!("../../../../configs/quickstart.toml");

    fn error(text: &str, settings: &[&str]) -> String {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        Config::parse(text, &settings).unwrap_err().line()
    }

    /// The quick start's network.
    pub fn network() -> Network {
        Network::new(Config::parse(QUICKSTART, &[]).unwrap().network, [1, 28, 28]).unwrap()
    }

    #[test]
    fn every_config_of_the_repository_is_sound_and_read_back_as_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let files = walk(&folder);
        assert!(files.len() > 3);
        for file in files {
            if file.to_string_lossy().ends_with(".sweep.toml") {
                let sweep =
                    crate::sweep::Sweep::load(&file, &[]).unwrap_or_else(|failure| panic!("{}", failure.line()));
                assert!(sweep.cells.len() > 1, "{}", file.display());
                continue;
            }
            let config = Config::load(&file, &[]).unwrap_or_else(|failure| panic!("{}", failure.line()));
            assert_eq!(Config::parse(&config.to_toml(), &[]).unwrap(), config);
            // Images of a folder may be of any size; the config says which.
            let (channels, side) = (config.dataset.channels.unwrap_or(1), config.dataset.size.unwrap_or(28));
            let network = Network::of_classes(config.network, [channels, side, side], 10).unwrap();
            assert!(config.algorithm.build(network, config.local, &config.aggregation).is_ok(), "{}", file.display());
        }
    }

    #[test]
    fn the_mean_of_members_is_fedgan_only_at_equal_work() {
        let is_fedgan = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
            Config::parse(QUICKSTART, &settings).unwrap().mean_is_fedgan()
        };
        assert!(is_fedgan(&[]));
        for setting in
            ["algorithm.fine_tune_epochs=20", "algorithm.cohort=0.5", "local.ema=0.9", "aggregation.kind=median"]
        {
            assert!(!is_fedgan(&[setting]), "{setting}");
        }
    }

    fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn settings_replace_and_add_keys() {
        let settings = ["seed=7", "local.epochs = 2", "network.norm=group", "evaluation.samples=100"];
        let config = Config::parse(QUICKSTART, &settings.map(String::from)).unwrap();
        assert_eq!((config.seed, config.local.epochs, config.evaluation.samples), (7, Some(2), Some(100)));
    }

    #[test]
    fn missing_keys_are_named_all_at_once() {
        assert_eq!(
            error("name = 'x'\nseed = 1\ndataset.name = 'mnist-mini'\npartition.kind = 'iid'", &[]),
            "config lacks `network`, `local` and `algorithm`; see configs/quickstart.toml"
        );
        assert_eq!(error(&QUICKSTART.replace("seed", "#"), &[]), "config lacks `seed`; see configs/quickstart.toml");
    }

    #[test]
    fn mistakes_are_named_with_their_section() {
        assert_eq!(error("name = ", &[]).split(':').next(), Some("line 1"));
        assert_eq!(error(QUICKSTART, &["sead=1"]), format!("unknown key `sead`, expected one of {KEYS}"));
        assert!(error(QUICKSTART, &["local.epoch=1"]).starts_with("[local] unknown field `epoch`, expected one of"));
        assert!(error(QUICKSTART, &["algorithm.mu=1"]).starts_with("[algorithm] unknown field `mu`"));
        assert!(error(QUICKSTART, &["algorithm.kind=fedavg"]).contains("unknown variant `fedavg`, expected one of"));
        assert_eq!(
            error(QUICKSTART, &["local.batch_size=x"]),
            "[local] batch_size: invalid type: string \"x\", expected usize"
        );
        assert!(
            error(QUICKSTART, &["partition.clients=-1"])
                .starts_with("[partition] clients: invalid value: integer `-1`")
        );
        assert_eq!(error(QUICKSTART, &["simulation.dropout=2"]), "simulation.dropout = 2 is outside 0..1");
        assert!(error(QUICKSTART, &["simulation.drop=2"]).starts_with("[simulation] unknown field `drop`"));
        assert!(error(QUICKSTART, &["name=../x"]).starts_with("name = \"../x\" is not"));
        assert!(error(QUICKSTART, &["local"]).contains("expected section.key=value"));
    }

    #[test]
    fn no_key_takes_a_number_that_is_not_finite() {
        let settings = [
            "partition.kind=dirichlet",
            "partition.alpha=0.5",
            "partition.held_out=0.1",
            "local.ema=0.9",
            "algorithm.cohort=0.5",
            "aggregation.kind=norm-clipped-mean",
            "aggregation.clip=3.0",
            "aggregation.max_share=0.5",
            "simulation.dropout=0.1",
            "simulation.deadline=10.0",
            "simulation.slowdown_sigma=0.5",
            "federation.deadline=60.0",
            "federation.strategy={ name = 'FedAdam', eta = 0.1 }",
        ];
        let known = |setting: &&&str| Config::parse(QUICKSTART, &[(**setting).to_owned()]).is_ok();
        let settings: Vec<String> = settings.iter().filter(known).map(ToString::to_string).collect();
        let config = Config::parse(QUICKSTART, &settings).unwrap();
        let table: Table = config.to_toml().parse().unwrap();
        let mut keys = Vec::new();
        floats("", &Value::Table(table), &mut keys);
        assert!(keys.len() > 8 && keys.iter().any(|key| key == "federation.deadline"), "{keys:?}");
        for key in &keys {
            for number in ["nan", "-nan", "inf", "-inf"] {
                let line = error(&config.to_toml(), &[&format!("{key}={number}")]);
                assert!(line.starts_with(&format!("{key} = ")) && line.ends_with("is not a finite number"), "{line}");
            }
        }
    }

    /// Names of the keys that hold numbers with a point.
    fn floats(key: &str, value: &Value, keys: &mut Vec<String>) {
        match value {
            Value::Float(_) => keys.push(key.trim_start_matches('.').to_owned()),
            Value::Table(table) => {
                table.iter().for_each(|(inner, value)| floats(&format!("{key}.{inner}"), value, keys));
            }
            _ => {}
        }
    }

    #[test]
    fn a_file_that_is_too_long_for_a_config_is_not_read() {
        let zeros = Path::new("/dev/zero");
        let long = tempfile::NamedTempFile::new().unwrap();
        long.as_file().set_len(MOST_BYTES + 1).unwrap();
        for path in [long.path(), zeros].into_iter().filter(|path| path.exists()) {
            let error = Config::load(path, &[]).unwrap_err().line();
            assert!(error.ends_with("has more than the 1048576 bytes of a config; is it another file?"), "{error}");
        }
    }

    #[test]
    fn a_table_of_many_keys_is_refused_at_once() {
        // All values are the one that the message quotes: leaving out each of 50,000 keys in turn would take minutes.
        let keys: String = (0..50_000).map(|i| format!("a{i} = 5\n")).collect();
        let config = QUICKSTART.replace("kind = \"dcgan\"", &format!("kind = 5\n{keys}"));
        assert!(error(&config, &[]).starts_with("[network] "));
    }
}
