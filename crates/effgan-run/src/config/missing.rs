//! The keys without defaults that a config lacks, all of them at once.
//!
//! serde stops at the first key that a table lacks. So each is given a value that serde takes, until it has another complaint.

use anyhow::anyhow;
use effgan_data::{DatasetConfig, PartitionConfig};
use effgan_fl::{AggregationConfig, AlgorithmConfig, LocalConfig, SimulationConfig};
use effgan_nn::networks::NetworkConfig;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::FederationConfig;
use super::typed::{MAX_KEYS, error_of};
use crate::failure::{Failure, Result};

/// The keys beside the tables.
const ALONE: [&str; 2] = ["name", "seed"];
/// The tables without defaults.
const TABLES: [&str; 5] = ["dataset", "partition", "network", "local", "algorithm"];
/// Maximum number of keys that a table may lack.
const MAX_MISSING: usize = 16;
/// Of these two keys, a table that knows them needs one.
const EITHER: [(&str, [&str; 2]); 2] =
    [("local", ["epochs", "steps"]), ("algorithm", ["fine_tune_epochs", "fine_tune_steps"])];

/// Reports all missing keys at once. One key of a table that is there is left to the error of reading the table, which has the same keys.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage), naming every key.
pub(super) fn check_complete(table: &Table) -> Result<()> {
    let alone = ALONE.iter().filter(|key| !table.contains_key(**key)).map(|key| format!("`{key}`"));
    let missing: Vec<String> = alone
        .chain(of_table::<DatasetConfig>(table, "dataset"))
        .chain(of_table::<PartitionConfig>(table, "partition"))
        .chain(of_table::<NetworkConfig>(table, "network"))
        .chain(of_table::<LocalConfig>(table, "local"))
        .chain(of_table::<AlgorithmConfig>(table, "algorithm"))
        .chain(of_table::<AggregationConfig>(table, "aggregation"))
        .chain(of_table::<SimulationConfig>(table, "simulation"))
        .chain(of_table::<FederationConfig>(table, "federation"))
        .collect();
    let has_tables = TABLES.iter().all(|name| table.contains_key(*name));
    let listed = match &missing[..] {
        [] => return Ok(()),
        [one] if has_tables && one.contains('.') => return Ok(()),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    Err(Failure::usage(anyhow!("config lacks {listed}; see configs/quickstart.toml")))
}

/// The keys that the table `name` lacks, as messages show them; all that have no default where there is no such table.
fn of_table<T: DeserializeOwned>(config: &Table, name: &str) -> Vec<String> {
    let empty = Table::new();
    let table = match config.get(name) {
        None => &empty,
        Some(Value::Table(table)) => table,
        Some(_) => return Vec::new(),
    };
    let full = |key: &str| format!("`{name}.{key}`");
    let missing = missing::<T>(table.clone());
    let of_pairs = EITHER.iter().filter(|(of, pair)| *of == name && lacks_both::<T>(table, *pair, &missing));
    let of_pairs: Vec<String> =
        of_pairs.map(|(_, [one, other])| format!("{} (or {})", full(one), full(other))).collect();
    let all: Vec<String> = missing.iter().map(|key| full(key)).chain(of_pairs).collect();
    let is_missing = !config.contains_key(name) && TABLES.contains(&name);
    if is_missing && all.is_empty() { vec![format!("`{name}`")] } else { all }
}

/// The keys that serde does not find in the table. Whatever else is wrong with the table ends the search: a key that is unknown may be one
/// of them, misspelt.
fn missing<T: DeserializeOwned>(mut table: Table) -> Vec<String> {
    let mut found = Vec::new();
    // No table of a config has as many, and each of them may be tried.
    if table.len() > MAX_KEYS {
        return found;
    }
    while let Some(message) = error::<T>(&table).filter(|_| found.len() < MAX_MISSING) {
        let Some(key) = quoted(&message, "missing field `") else { break };
        let given = |value: Value| {
            let table: Table = table.clone().into_iter().chain([(key.to_owned(), value)]).collect();
            (error::<T>(&table), table)
        };
        // A key that a table in this one lacks is unknown here.
        let named = |message: &Option<String>| match message {
            Some(message) => quoted(message, "missing field `").is_some_and(|other| other != key),
            None => true,
        };
        let values = [Value::Integer(1), Value::Float(0.5), Value::String("x".into()), Value::Array(Vec::new())];
        let tried: Vec<_> = values.into_iter().map(given).collect();
        let variants = tried.iter().find_map(|(message, _)| variants(message.as_deref()?));
        if let Some(variants) = variants {
            found.push(key.to_owned());
            found.extend(missing_of_all::<T>(&table, key, &variants));
            break;
        }
        let Some((_, next)) = tried.into_iter().find(|(message, _)| named(message)) else { break };
        found.push(key.to_owned());
        table = next;
    }
    found
}

/// The keys that the table lacks whichever of the `variants` is the value of `key`.
fn missing_of_all<T: DeserializeOwned>(table: &Table, key: &str, variants: &[String]) -> Vec<String> {
    let of = |variant: &String| {
        let variant = Value::String(variant.clone());
        missing::<T>(table.clone().into_iter().chain([(key.to_owned(), variant)]).collect())
    };
    let mut common = variants.iter().map(of);
    let first = common.next().unwrap_or_default();
    common.fold(first, |common, of_one| common.into_iter().filter(|key| of_one.contains(key)).collect())
}

/// Whether the table has neither of two keys that it knows.
fn lacks_both<T: DeserializeOwned>(table: &Table, pair: [&str; 2], missing: &[String]) -> bool {
    // What a table without a kind needs is not known.
    if missing.iter().any(|key| key == "kind") || pair.iter().any(|key| table.contains_key(*key)) {
        return false;
    }
    let with_one = table.clone().into_iter().chain([(pair[0].to_owned(), Value::Integer(1))]).collect();
    // An unknown key may be one of the pair that is misspelt, and of a misspelt kind it is not known what it needs.
    error::<T>(&with_one).is_none_or(|message| message.starts_with("missing field `"))
}

fn error<T: DeserializeOwned>(table: &Table) -> Option<String> {
    error_of::<T>(Value::Table(table.clone()))
}

/// The name in serde's `message` that begins with `what`.
fn quoted<'a>(message: &'a str, what: &str) -> Option<&'a str> {
    message.strip_prefix(what)?.split('`').next()
}

/// The texts that serde's `message` says are expected in the place of another one.
fn variants(message: &str) -> Option<Vec<String>> {
    let listed = message.strip_prefix("unknown variant `x`, expected ")?;
    Some(listed.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::QUICKSTART;

    fn error(text: &str) -> String {
        Config::parse(text, &[]).unwrap_err().line()
    }

    #[test]
    fn all_keys_that_are_missing_in_all_tables_are_named_at_once() {
        let all = "config lacks `name`, `seed`, `dataset.name`, `partition.kind`, `network.kind`, `local.epochs` (or `local.steps`), \
                   `algorithm.kind` and `algorithm.rounds`; see configs/quickstart.toml";
        assert_eq!(error(""), all);
        assert_eq!(error("[dataset]\n[partition]\n[network]\n[local]\n[algorithm]\n[aggregation]\n[simulation]"), all);
        assert_eq!(
            error(
                "name = 'x'\ndataset.name = 'mnist-mini'\npartition.kind = 'dirichlet'\nnetwork.kind = 'dcgan'\n\
                 algorithm.kind = 'effgan'\naggregation.kind = 'trimmed-mean'"
            ),
            "config lacks `seed`, `partition.alpha`, `partition.clients`, `local.epochs` (or `local.steps`), \
             `algorithm.rounds` and `algorithm.fine_tune_epochs` (or `algorithm.fine_tune_steps`); see configs/quickstart.toml"
        );
        // Neither of a pair is missing where one of them is there, and a key that is unknown is one that is misspelt.
        assert_eq!(
            error(
                "name = 'x'\nseed = 1\ndataset = { nam = 'mnist' }\npartition.kind = 'by-label'\nnetwork.kind = 'dcgan'\n\
                 local = { steps = 4, batch_size = 2 }\nalgorithm = { kind = 'fedgan' }"
            ),
            "config lacks `partition.classes_per_client`, `partition.clients` and `algorithm.rounds`; see configs/quickstart.toml"
        );
    }

    #[test]
    fn a_table_that_is_missing_alone_is_named_by_its_keys() {
        for (table, said) in [
            ("dataset", "config lacks `dataset.name`; see"),
            ("local", "config lacks `local.epochs` (or `local.steps`); see"),
            ("algorithm", "config lacks `algorithm.kind` and `algorithm.rounds`; see"),
        ] {
            let mut config: toml::Table = QUICKSTART.parse().unwrap();
            config.remove(table);
            let line = error(&config.to_string());
            assert!(line.starts_with(said), "{line}");
        }
        assert!(
            error(&QUICKSTART.replace("seed", "#")).starts_with("config lacks `seed`; see configs/quickstart.toml")
        );
    }

    #[test]
    fn each_config_that_lacks_what_was_named_is_complete_with_it() {
        // Without any two lines of the quick start, either a default stands in or both keys are named at once.
        let lines: Vec<&str> = QUICKSTART.lines().collect();
        let key_of = |line: &str| line.split_once(" = ").map(|(key, _)| key.trim().to_owned());
        let alone = |i: usize| {
            let text: String =
                lines.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, line)| format!("{line}\n")).collect();
            Config::parse(&text, &[])
                .err()
                .map(|failure| failure.line())
                .filter(|line| line.contains("missing key") || line.contains("lacks"))
        };
        let required: Vec<usize> =
            (0..lines.len()).filter(|&i| !lines[i].starts_with('[') && alone(i).is_some()).collect();
        assert!(required.len() >= 8, "{required:?}");
        for (at, &i) in required.iter().enumerate() {
            for &j in &required[at + 1..] {
                let text: String = lines
                    .iter()
                    .enumerate()
                    .filter(|(k, _)| *k != i && *k != j)
                    .map(|(_, line)| format!("{line}\n"))
                    .collect();
                let line = error(&text);
                for key in [i, j].map(|i| key_of(lines[i]).unwrap()) {
                    let is_named = line.contains(&format!(".{key}`")) || line.contains(&format!("`{key}`"));
                    // Which keys a kind needs is not known without it.
                    assert!(is_named || line.contains("kind`"), "{key}: {line}");
                }
            }
        }
    }
}
