//! A config in TOML.

use effgan_run::api;

/// Checks the config `text`; one that is written out is read as the same.
pub fn check(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    match api::resolved_config(text) {
        Ok(resolved) => {
            let again = api::resolved_config(&resolved).map_err(|failure| failure.line());
            assert_eq!(again.as_ref(), Ok(&resolved), "a config that is written is read");
        }
        Err(failure) => {
            let line = failure.line();
            assert!(!line.contains(char::is_control) && line.chars().count() <= 2000, "an error is one line: {line:?}");
        }
    }
}
