//! From TOML text to a [`Config`], with errors that name the line, the table and the key.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Config, overrides};
use crate::failure::{Failure, Result};

/// Most bytes of a config; the longest in this repository has 2,000.
const MAX_BYTES: u64 = 1 << 20;
/// Most keys of a table in which the wrong key is searched for; no table of a config has as many.
const MAX_KEYS: usize = 64;

const KEYS: &str = "name, seed, dataset, partition, network, local, algorithm, aggregation, simulation, federation, evaluation, checkpoint";

/// Reads a text file of at most 1 MiB, as configs and certificates are; a pipe will do.
///
/// # Errors
/// When the file cannot be read, is longer, or is not UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
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

    /// Like [`load`](Self::load), from the text of a file.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the line or the key.
    pub fn parse(text: &str, settings: &[String]) -> Result<Self> {
        let mut table: Table = text.parse().map_err(|error| syntax_error(text, &error))?;
        settings.iter().try_for_each(|setting| overrides::apply(&mut table, setting))?;
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
}

/// The keys without defaults.
const REQUIRED: [&str; 7] = ["name", "seed", "dataset", "partition", "network", "local", "algorithm"];

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

/// Refuses `nan` and `inf`: they have no meaning for any key, and a comparison with NaN would pass a bound.
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

/// Moves one value out of the table; what remains at the end is unknown.
fn take<T: DeserializeOwned>(table: &mut Table, key: &str) -> Result<T> {
    let value = table.remove(key).expect("required keys were checked, and optional tables inserted");
    let parsed: std::result::Result<T, _> = value.clone().try_into();
    parsed.map_err(|error: toml::de::Error| {
        let at = wrong_key::<T>(&value, error.message()).unwrap_or_default();
        let place = if value.is_table() { format!("[{key}]") } else { format!("{key}:") };
        usage(format!("{place} {at}{}", with_bounds(error.message())))
    })
}

/// serde's `message` with the bounds of a number in place of the name of its Rust type.
fn with_bounds(message: &str) -> String {
    let (at_least_0, of_32_bits) =
        ("a whole number of at least 0", "a whole number of at least 0 and at most 4294967295");
    let types =
        [("usize", at_least_0), ("u64", at_least_0), ("u32", of_32_bits), ("f64", "a number"), ("f32", "a number")];
    let bounded = |(name, bounds): &(&str, &str)| {
        let expected = message.strip_suffix(name).filter(|rest| rest.ends_with("expected "))?;
        Some(format!("{expected}{bounds}"))
    };
    types.iter().find_map(bounded).unwrap_or_else(|| message.to_owned())
}

fn take_or_empty<T: DeserializeOwned>(table: &mut Table, key: &str) -> Result<T> {
    table.entry(key).or_insert_with(|| Value::Table(Table::new()));
    take(table, key)
}

/// The key that an error is about, where serde's message does not name it, with the tables that it is in.
///
/// It is the key whose value the message quotes and without which there is another error, or none.
fn wrong_key<T: DeserializeOwned>(value: &Value, message: &str) -> Option<String> {
    let mut keys = Vec::new();
    collect_keys(value, &[], &mut keys);
    if keys.len() > MAX_KEYS || keys.iter().flat_map(|(path, _)| path).any(|key| message.contains(&format!("`{key}`")))
    {
        return None;
    }
    let explains = |path: &[&str]| {
        let mut without = value.clone();
        remove(&mut without, path);
        let parsed: std::result::Result<T, _> = without.try_into();
        parsed.err().is_none_or(|error: toml::de::Error| error.message() != message)
    };
    let quoted = |value: &Value| match value {
        Value::String(text) => message.contains(text.as_str()),
        number => message.contains(&format!("`{number}`")),
    };
    let (path, _) = keys.iter().find(|(path, value)| quoted(value) && explains(path))?;
    Some(format!("{}: ", path.join(".")))
}

/// Collects the keys in `value` that do not hold tables, each with the tables that it is in, and their values.
fn collect_keys<'a>(value: &'a Value, tables: &[&'a str], keys: &mut Vec<(Vec<&'a str>, &'a Value)>) {
    for (key, value) in value.as_table().into_iter().flatten() {
        let path = [tables, &[key.as_str()]].concat();
        match value {
            Value::Table(_) => collect_keys(value, &path, keys),
            _ => keys.push((path, value)),
        }
    }
}

/// Removes the key at `path`.
fn remove(value: &mut Value, path: &[&str]) {
    let (Some(table), Some((key, rest))) = (value.as_table_mut(), path.split_first()) else { return };
    match table.get_mut(*key) {
        Some(inner) if !rest.is_empty() => remove(inner, rest),
        _ => _ = table.remove(*key),
    }
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

#[cfg(test)]
mod tests {
    use super::super::tests::QUICKSTART;
    use super::*;

    fn error(text: &str, settings: &[&str]) -> String {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        Config::parse(text, &settings).unwrap_err().line()
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
            "[local] batch_size: invalid type: string \"x\", expected a whole number of at least 0"
        );
        assert!(
            error(QUICKSTART, &["partition.clients=-1"])
                .starts_with("[partition] clients: invalid value: integer `-1`")
        );
        assert_eq!(
            error(QUICKSTART, &["seed=-1"]),
            "seed: invalid value: integer `-1`, expected a whole number of at least 0"
        );
        let attack = "simulation.attack={ kind = \"scaled\", clients = -1, factor = 1.0 }";
        assert!(error(QUICKSTART, &[attack]).starts_with("[simulation] attack.clients: invalid value: integer `-1`"));
        assert_eq!(error(QUICKSTART, &["simulation.dropout=2"]), "simulation.dropout = 2 is outside 0..1");
        assert!(error(QUICKSTART, &["simulation.drop=2"]).starts_with("[simulation] unknown field `drop`"));
        assert!(error(QUICKSTART, &["name=../x"]).starts_with("name = \"../x\" is not"));
        assert!(error(QUICKSTART, &["local"]).contains("expected section.key=value"));
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
        // All values are the one that the message quotes: trying each of 50,000 keys would take minutes.
        let keys: String = (0..50_000).map(|i| format!("a{i} = 5\n")).collect();
        let config = QUICKSTART.replace("kind = \"dcgan\"", &format!("kind = 5\n{keys}"));
        assert!(error(&config, &[]).starts_with("[network] "));
    }
}
