//! `--set section.key=value`: single values that replace those of the file.

use anyhow::anyhow;
use toml::{Table, Value};

use crate::failure::{Failure, Result};

/// Applies `section.key=value`; a value that is not valid TOML is taken as a string.
pub(super) fn apply(table: &mut Table, setting: &str) -> Result<()> {
    let malformed = || Failure::usage(anyhow!("--set {setting}: expected section.key=value"));
    let (path, value) = setting.split_once('=').ok_or_else(malformed)?;
    let value = value_of(value.trim()).ok_or_else(malformed)?;
    if path.split('.').any(|key| key.trim().is_empty()) {
        return Err(malformed());
    }
    let (sections, key) = path.trim().rsplit_once('.').map_or((None, path.trim()), |(a, b)| (Some(a), b));
    let mut inner = table;
    for section in sections.into_iter().flat_map(|sections| sections.split('.')) {
        let entry = inner.entry(section).or_insert_with(|| Value::Table(Table::new()));
        inner = entry.as_table_mut().ok_or_else(malformed)?;
    }
    inner.insert(key.into(), value);
    Ok(())
}

/// The value that `text` is; `None` where it has further keys on lines of their own.
fn value_of(text: &str) -> Option<Value> {
    let Ok(mut table) = format!("x = {text}").parse::<Table>() else { return Some(Value::String(text.into())) };
    table.remove("x").filter(|_| table.is_empty())
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

    #[test]
    fn a_setting_that_is_not_one_key_with_one_value_is_refused() {
        for setting in ["local", "=1", ".=1", "local.=1", "local..ema=0.5", "seed=1\nname=\"b\"", "seed=1\n[local]"] {
            let error = quickstart(&[setting]).unwrap_err().line();
            assert!(error.ends_with(": expected section.key=value"), "{error}");
        }
    }
}
