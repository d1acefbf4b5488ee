//! The arguments of [`api`](super) as the crate's own types: configs, settings, numbers of threads.

use anyhow::anyhow;
use serde_json::{Map, Value};

use super::Source;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::record::machine;

/// Maximum number of threads.
const MAX_JOBS: usize = 1024;

/// Reads and checks the config of `source` with `settings`.
pub(super) fn config_of(source: Source, settings: &[String]) -> Result<Config> {
    match source {
        Source::File(path) => Config::load(&path, settings),
        Source::Tables(tables) => Config::parse(&toml_text(&tables, "the config")?, settings),
    }
}

/// Settings in the form `section.key=value`.
pub(super) fn toml_settings(settings: &Map<String, Value>) -> Result<Vec<String>> {
    settings.iter().map(|(key, value)| setting(key, value)).collect()
}

/// A number of threads, where one is given.
///
/// # Errors
/// When it is not in range.
pub(super) fn checked(jobs: Option<usize>) -> Result<Option<usize>> {
    match jobs.filter(|jobs| !(1..=MAX_JOBS).contains(jobs)) {
        Some(jobs) => Err(usage(format!("jobs = {jobs} must be from 1 to {MAX_JOBS}"))),
        None => Ok(jobs),
    }
}

/// The number of threads: all cores when absent.
pub(super) fn jobs_or_cores(jobs: Option<usize>) -> Result<usize> {
    Ok(checked(jobs)?.unwrap_or_else(machine::cores))
}

/// A setting in the form `section.key=value`, with strings quoted so that they stay strings.
fn setting(key: &str, value: &Value) -> Result<String> {
    let table = Map::from_iter([("x".to_owned(), value.clone())]);
    let toml: toml::Table = toml_text(&table, key)?.parse().expect("written as TOML a line above");
    Ok(format!("{key}={}", toml["x"]))
}

fn toml_text(tables: &Map<String, Value>, what: &str) -> Result<String> {
    toml::to_string(tables).map_err(|error| usage(format!("{what} cannot be written as TOML: {error}")))
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_setting_keeps_the_type_of_its_value() {
        let setting = |value: Value| setting("a.b", &value).unwrap();
        assert_eq!(setting(json!(2)), "a.b=2");
        assert_eq!(setting(json!(0.5)), "a.b=0.5");
        assert_eq!(setting(json!("true")), "a.b=\"true\"");
        assert_eq!(setting(json!({ "kind": "iid", "clients": 3 })), "a.b={ clients = 3, kind = \"iid\" }");
    }

    #[test]
    fn a_value_that_toml_does_not_have_is_named() {
        let error = setting("local.ema", &Value::Null).unwrap_err().line();
        assert!(error.starts_with("local.ema cannot be written as TOML"), "{error}");
    }
}
