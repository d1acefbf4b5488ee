//! `--set section.key=value`: single values that replace those of the file.

use anyhow::anyhow;
use toml::{Table, Value};

use crate::failure::{Failure, Result};

/// Applies `section.key=value`; a value that is not valid TOML is taken as a string.
pub(super) fn apply(table: &mut Table, setting: &str) -> Result<()> {
    let malformed = || Failure::usage(anyhow!("--set {setting}: expected section.key=value"));
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
mod tests {
    use super::super::tests::quickstart;

    #[test]
    fn settings_replace_and_add_keys() {
        let settings = ["seed=7", "local.epochs = 2", "network.norm=group", "evaluation.samples=100"];
        let config = quickstart(&settings).unwrap();
        assert_eq!((config.seed, config.local.epochs, config.evaluation.samples), (7, Some(2), Some(100)));
    }
}
