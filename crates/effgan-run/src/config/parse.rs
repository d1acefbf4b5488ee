//! From TOML text to a [`Config`], with errors that name the line, the table and the key.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::missing::check_complete;
use super::typed::{Mistake, number_at, short, shown, typed};
use super::{Config, overrides, total_epochs};
use crate::failure::{Failure, Result};

/// Maximum number of bytes of a config; the longest in this repository has 2,000.
const MAX_BYTES: u64 = 1 << 20;

const KEYS: &str = "name, seed, dataset, partition, network, local, privacy, algorithm, aggregation, simulation, federation, evaluation, checkpoint, run";

/// Reads a text file of at most 1 MiB, as configs and certificates are; a pipe will do.
///
/// # Errors
/// When the file cannot be read, is longer, or is not UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => io::Error::other("is not UTF-8 text; save it as UTF-8"),
        _ => error,
    })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("has more than the {MAX_BYTES} bytes of a config; is it another file?")));
    }
    Ok(text)
}

impl Config {
    /// Reads and checks the file at `path`, after replacing values by `settings`, each `section.key=value`.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the file and the key.
    pub fn load(path: &Path, settings: &[String]) -> Result<Self> {
        let text = read(path).map_err(|error| Failure::usage(anyhow!("{}: {error}", path.display())))?;
        Self::parse(&text, settings).map_err(|failure| failure.context(path.display().to_string()))
    }

    /// Like [`load`](Self::load), with a further `check`, whose errors name the file, too.
    ///
    /// # Errors
    /// Those of [`load`](Self::load) and of `check`.
    pub fn load_for(path: &Path, settings: &[String], check: impl Fn(&Self) -> Result<()>) -> Result<Self> {
        let config = Self::load(path, settings)?;
        check(&config).map_err(|failure| failure.context(path.display().to_string()))?;
        Ok(config)
    }

    /// Like [`load`](Self::load), from the text of a file.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the line or the key.
    pub fn parse(text: &str, settings: &[String]) -> Result<Self> {
        let mut table = table_of(text)?;
        settings.iter().try_for_each(|setting| overrides::apply(&mut table, setting))?;
        table.iter().try_for_each(|(key, value)| check_values(key, value))?;
        total_epochs::resolve(&mut table)?;
        check_complete(&table)?;
        let config = Self::checked(&table)?;
        let (dataset, evaluation) = (config.dataset.with_absolute_dir(), config.evaluation.with_absolute_features());
        Ok(Self { dataset, evaluation, ..config })
    }

    /// Reads and checks a table that has all keys without defaults.
    fn checked(table: &Table) -> Result<Self> {
        let mistake = match Self::of(table.clone()) {
            Ok(config) => return config.check().map_err(|failure| as_written(&failure, table)),
            Err(mistake) => mistake,
        };
        // A number that does not fit its type is judged like the nearest that does: the checks know its true bounds.
        let nearest = mistake.nearest.and_then(|(path, number)| with(table, &path, number.into()));
        match nearest.map(|table| Self::checked(&table)) {
            Some(Err(failure)) => Err(as_written(&failure, table)),
            _ => Err(usage(mistake.line)),
        }
    }

    /// Reads a table that has all keys without defaults.
    fn of(mut table: Table) -> std::result::Result<Self, Mistake> {
        let config = Self {
            name: take(&mut table, "name")?,
            seed: take(&mut table, "seed")?,
            dataset: take(&mut table, "dataset")?,
            partition: take(&mut table, "partition")?,
            network: take(&mut table, "network")?,
            local: take(&mut table, "local")?,
            privacy: take_optional(&mut table, "privacy")?,
            algorithm: take(&mut table, "algorithm").map_err(with_keys_that_are_replaced)?,
            aggregation: take_or_empty(&mut table, "aggregation")?,
            simulation: take_or_empty(&mut table, "simulation")?,
            federation: take_or_empty(&mut table, "federation")?,
            evaluation: take_or_empty(&mut table, "evaluation")?,
            checkpoint: take_or_empty(&mut table, "checkpoint")?,
            run: take_or_empty(&mut table, "run")?,
        };
        match table.keys().next() {
            Some(key) => {
                let line = format!("unknown key `{}`, expected one of {KEYS}", short(key));
                Err(Mistake { line, nearest: None })
            }
            None => Ok(config),
        }
    }
}

/// Parses the text of a file.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage), naming the line.
pub(crate) fn table_of(text: &str) -> Result<Table> {
    text.parse().map_err(|error| syntax_error(text, &error))
}

/// Refuses what has no meaning for any key: `nan` and `inf`, with which a comparison may pass a bound, and dates, which serde reads as texts.
fn check_values(key: &str, value: &Value) -> Result<()> {
    match value {
        Value::Float(number) if !number.is_finite() => Err(usage(format!("{key} = {} must be finite", shown(value)))),
        Value::Datetime(date) => {
            Err(usage(format!("{key} = {date} is a date, which no key takes; put a text between quotes")))
        }
        Value::Table(table) => {
            table.iter().try_for_each(|(inner, value)| check_values(&format!("{key}.{inner}"), value))
        }
        Value::Array(values) => values.iter().try_for_each(|value| check_values(key, value)),
        _ => Ok(()),
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> Failure {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..before].split(|&byte| byte == b'\n').count();
    if error.message().starts_with("carriage return") {
        return usage(format!("line {line}: has a carriage return without a line feed; save the file with line feeds"));
    }
    usage(format!("line {line}: {}", error.message()))
}

/// Moves one value out of the table; what remains at the end is unknown.
fn take<T: DeserializeOwned>(table: &mut Table, key: &str) -> std::result::Result<T, Mistake> {
    typed(key, &table.remove(key).expect("required keys were checked, and optional tables inserted"))
}

/// The list of the keys of `[algorithm]` with those that are replaced before it is read.
fn with_keys_that_are_replaced(mistake: Mistake) -> Mistake {
    let keys = total_epochs::KEYS.map(|key| format!(", `{key}`")).concat();
    let is_list = mistake.line.starts_with("[algorithm] unknown key");
    Mistake { line: if is_list { mistake.line + &keys } else { mistake.line }, ..mistake }
}

fn take_optional<T: DeserializeOwned>(table: &mut Table, key: &str) -> std::result::Result<Option<T>, Mistake> {
    table.remove(key).map(|value| typed(key, &value)).transpose()
}

fn take_or_empty<T: DeserializeOwned>(table: &mut Table, key: &str) -> std::result::Result<T, Mistake> {
    table.entry(key).or_insert_with(|| Value::Table(Table::new()));
    take(table, key)
}

/// `table` with `number` at `path`.
fn with(table: &Table, path: &[String], number: Value) -> Option<Table> {
    let mut table = table.clone();
    let (first, rest) = path.split_first()?;
    *rest.iter().try_fold(table.get_mut(first)?, |value, key| value.get_mut(key))? = number;
    Some(table)
}

/// A failure that begins with a key and its number, with the number as `table` has it: it may have been rounded since.
fn as_written(failure: &Failure, table: &Table) -> Failure {
    let line = failure.line();
    let with_number = || {
        let (key, rest) = line.split_once(" = ")?;
        let end = rest.find([' ', ',', ';'])?;
        Some(format!("{key} = {}{}", shown(number_at(table, key)?), &rest[end..]))
    };
    usage(with_number().unwrap_or(line))
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{QUICKSTART, quickstart};
    use super::*;

    fn error(text: &str, settings: &[&str]) -> String {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        Config::parse(text, &settings).unwrap_err().line()
    }

    #[test]
    fn mistakes_are_named_with_their_section() {
        assert_eq!(error("name = ", &[]).split(':').next(), Some("line 1"));
        assert_eq!(error(QUICKSTART, &["sead=1"]), format!("unknown key `sead`, expected one of {KEYS}"));
        assert!(error(QUICKSTART, &["local.epoch=1"]).starts_with("[local] unknown key `epoch`, expected one of"));
        assert_eq!(
            error(QUICKSTART, &["partition.zzz=1"]),
            "[partition] unknown key `zzz`, expected one of `classes_per_client`, `clients`, `min_examples`, `held_out`"
        );
        assert!(error(QUICKSTART, &["algorithm.mu=1"]).starts_with("[algorithm] unknown key `mu`"));
        assert!(
            error(QUICKSTART, &["algorithm.kind=fedavg"])
                .starts_with("algorithm.kind = \"fedavg\", expected one of `effgan`, ")
        );
        assert_eq!(error(QUICKSTART, &["local.batch_size=x"]), "local.batch_size = \"x\", expected a whole number");
        assert_eq!(error(QUICKSTART, &["seed=-1"]), "seed = -1, expected a whole number of at least 0");
        let attack = "simulation.attack={ kind = \"scaled\", clients = -1, factor = 1.0 }";
        assert_eq!(error(QUICKSTART, &[attack]), "simulation.attack.clients = -1 must be at least 1");
        assert_eq!(
            error(QUICKSTART, &["simulation.dropout=2"]),
            "simulation.dropout = 2 must be at least 0 and below 1"
        );
        assert!(
            error(QUICKSTART, &["simulation.attack={ kind = \"scaled\" }"])
                .starts_with("[simulation.attack] missing key")
        );
        assert!(error(QUICKSTART, &["simulation.drop=2"]).starts_with("[simulation] unknown key `drop`"));
        assert!(error(QUICKSTART, &["name=../x"]).starts_with("name = \"../x\" is not"));
        assert!(error(QUICKSTART, &["local"]).contains("expected section.key=value"));
    }

    #[test]
    fn a_number_that_its_type_does_not_hold_is_refused_with_the_bounds_of_its_key() {
        for (setting, said) in [
            ("partition.clients=-1", "partition.clients = -1 must be at least 1"),
            ("local.batch_size=-1", "local.batch_size = -1 must be from 2 to 65536"),
            ("algorithm.rounds=4294967296", "algorithm.rounds = 4294967296 must be from 0 to 1000000"),
            (
                "evaluation.every=4294967296",
                "evaluation.every = 4294967296, expected a whole number of at most 4294967295",
            ),
        ] {
            assert_eq!(error(QUICKSTART, &[setting]), said);
        }
    }

    #[test]
    fn a_number_is_repeated_as_it_was_written() {
        for (setting, said) in [
            ("local.ema=0.99999999", "local.ema = 0.99999999 must be at least 0 and below 1 (computed in 32 bits)"),
            ("local.ema=4294967296", "local.ema = 4294967296 must be at least 0 and below 1 (computed in 32 bits)"),
            ("local.beta1=1e300", "local.beta1 = 1e300 must be at least 0 and below 1 (computed in 32 bits)"),
            (
                "local.learning_rate=1e-320",
                "local.learning_rate = 1e-320 must be above 0 and at most 3e38 (computed in 32 bits)",
            ),
            ("local.decay={ exponential = -2 }", "local.decay.exponential = -2 must be above 0 and at most 1"),
        ] {
            let line = error(QUICKSTART, &[setting]);
            assert!(line.starts_with(said), "{line}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_key_and_what_is_expected() {
        for (setting, said) in [
            ("seed=[]", "seed = [], expected a whole number"),
            ("algorithm=1", "algorithm = 1, expected a table"),
            ("local.loss=true", "local.loss = true, expected one of `non-saturating`, `least-squares`, `hinge`"),
            ("local.learning_rate=[]", "local.learning_rate = [], expected a number"),
            ("local.decay=1", "local.decay = 1, expected one of `none`, `linear`, `exponential`"),
            ("local.decay={}", "local.decay = {}, expected one of `none`, `linear`, `exponential`"),
            (
                "local.decay=exponential",
                "local.decay = \"exponential\" needs a value of its own, as in local.decay.exponential = 0.5",
            ),
            ("local.decay={ exponential = [] }", "local.decay.exponential = [], expected a number"),
            ("network.norm=1", "network.norm = 1, expected one of `batch`, `group`, `none`"),
            ("partition.clients={}", "partition.clients = {}, expected a whole number"),
            ("simulation.speed=[]", "simulation.speed = [], expected a table"),
            ("federation.sites=a", "federation.sites = \"a\", expected a list"),
            ("federation.sites=[1]", "federation.sites = [1], expected a text in each place of the list"),
            ("network=[\"dcgan\", 8, 2]", "network = [\"dcgan\", 8, 2], expected a table"),
            ("network=[{ kind = \"dcgan\" }]", "network = [{ kind = \"dcgan\" }], expected a table"),
            ("simulation=[0.5]", "simulation = [0.5], expected a table"),
            ("simulation.speed=[1.0, 0.5]", "simulation.speed = [1.0, 0.5], expected a table"),
            (
                "local.loss={ hinge = {} }",
                "local.loss = { hinge = {} }, expected one of `non-saturating`, `least-squares`, `hinge`",
            ),
            ("network.norm={ batch = {} }", "network.norm = { batch = {} }, expected one of `batch`, `group`, `none`"),
            (
                "local.decay={ linear = {} }",
                "local.decay = { linear = {} }, expected one of `none`, `linear`, `exponential`",
            ),
            ("name=1979-05-27", "name = 1979-05-27 is a date, which no key takes; put a text between quotes"),
            ("local.beta1=nan", "local.beta1 = nan must be finite"),
        ] {
            assert_eq!(error(QUICKSTART, &[setting]), said);
        }
        let two = error(QUICKSTART, &["partition.clients=[]", "partition.min_examples=[]"]);
        assert!(two.ends_with(" = [], expected a whole number"), "{two}");
    }

    #[test]
    fn a_long_value_or_key_is_shortened() {
        let long = "x".repeat(1000);
        for setting in [format!("name={long}"), format!("{long}=1"), format!("local.{long}=1"), format!("seed={long}")]
        {
            let line = error(QUICKSTART, &[&setting]);
            assert!(line.contains("xxx…") && line.chars().count() < 350, "{line}");
        }
        for key in ["max_weight", "max_share"] {
            let config = quickstart(&[&format!("aggregation.{key}=1e-320")]).unwrap();
            let line = config.check_clients(4).unwrap_err().line();
            assert_eq!(
                line,
                format!("aggregation.{key} = 1e-320 is below 0.2500, an equal share of 4 clients; raise it")
            );
        }
    }

    #[test]
    fn a_text_in_another_encoding_or_with_other_ends_of_lines_is_refused_with_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\xff\xfes\0e\0").unwrap();
        let line = Config::load(file.path(), &[]).unwrap_err().line();
        assert!(line.ends_with("is not UTF-8 text; save it as UTF-8"), "{line}");
        let line = error(&QUICKSTART.replace('\n', "\r"), &[]);
        assert_eq!(line, "line 1: has a carriage return without a line feed; save the file with line feeds");
    }

    #[test]
    fn a_file_that_is_too_long_for_a_config_is_not_read() {
        let zeros = Path::new("/dev/zero");
        let long = tempfile::NamedTempFile::new().unwrap();
        long.as_file().set_len(MAX_BYTES + 1).unwrap();
        for path in [long.path(), zeros].into_iter().filter(|path| path.exists()) {
            let error = Config::load(path, &[]).unwrap_err().line();
            assert!(error.ends_with("has more than the 1048576 bytes of a config; is it another file?"), "{error}");
        }
    }

    #[test]
    fn a_table_of_many_keys_is_refused_at_once() {
        // Trying what serde says without each of 50,000 keys would take minutes.
        let keys: String = (0..50_000).map(|i| format!("a{i} = []\n")).collect();
        let config = QUICKSTART.replace("[local]", &format!("{keys}[local]"));
        assert_eq!(
            error(&config, &["network.base_channels=[]"]),
            "[network] has more than 64 keys, with those of the tables in it"
        );
    }
}
