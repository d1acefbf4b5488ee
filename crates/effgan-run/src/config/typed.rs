//! From a TOML value to a type, with errors that name the key, its value as it was written, and what is expected there.
//!
//! `toml` keeps track of the key of an error, except in the tables with a `kind`, which serde buffers. There the wrong key is searched
//! for: it is the one whose value serde quotes, and without which it has another complaint.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Maximum number of keys among which the wrong one is searched for; no table of a config has as many.
const MAX_KEYS: usize = 64;
/// Maximum number of characters of a value that an error repeats.
const MAX_SHOWN: usize = 80;
/// The beginning of serde's message about a text that is none of an enum's.
const NO_VARIANT: &str = "unknown variant";
/// The end of serde's message about a value that is no list.
const NO_LIST: &str = "expected a sequence";

/// Why a value cannot be read.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// One line, which names the key.
    pub(crate) line: String,
    /// For a whole number that is too small or too large for its type, the key and the nearest number that is not.
    pub(super) nearest: Option<(Vec<String>, i64)>,
}

/// Reads the `value` of `key`; a file as a whole has the key `""`.
pub(crate) fn typed<T: DeserializeOwned>(key: &str, value: &Value) -> Result<T, Mistake> {
    value.clone().try_into().map_err(|error| mistake::<T>(key, value, &error))
}

fn mistake<T: DeserializeOwned>(key: &str, value: &Value, error: &toml::de::Error) -> Mistake {
    let message = error.message();
    let is_of_table = message.starts_with("missing field") || message.starts_with("unknown field");
    let tracked = tracked_keys(error);
    let search = || if is_of_table { Some(Vec::new()) } else { wrong_key::<T>(value, message) };
    let path = if tracked.is_empty() { search() } else { Some(tracked.iter().map(String::as_str).collect()) };
    let full = |path: &[&str]| -> Vec<String> {
        [key].iter().chain(path).filter(|key| !key.is_empty()).map(ToString::to_string).collect()
    };
    let found = path.and_then(|path| Some((full(&path), at(value, &path)?, path)));
    let Some((full, wrong, path)) = found else {
        return Mistake { line: in_table(&full(&[]), message), nearest: None };
    };
    if is_of_table {
        let is_table = value.is_table() || !path.is_empty();
        let not_a_table = || format!("{} = {}, expected a table", full.join("."), shown(wrong));
        let line = if is_table { in_table(&full, message) } else { not_a_table() };
        return Mistake { line, nearest: None };
    }
    // A text that is none of an enum's makes serde list them.
    let of_text = error_of::<T>(with(value, &path, Value::String(String::new()))).unwrap_or_default();
    // The table of an enum has one key, and toml does not keep track of it.
    let variant = wrong.as_table().filter(|table| table.len() == 1 && of_text.starts_with(NO_VARIANT));
    if let Some((variant, inner)) = variant.and_then(|table| table.iter().next()) {
        let line = described(&format!("{}.{variant}", full.join(".")), inner, message, "");
        return Mistake { line, nearest: None };
    }
    let line = described(&full.join("."), wrong, message, &of_text);
    let nearest = wrong.as_integer().and_then(|number| nearest(number, message));
    Mistake { line, nearest: nearest.map(|number| (full, number)) }
}

/// The keys that the error kept track of: the last line of its text is "in `a.b`".
fn tracked_keys(error: &toml::de::Error) -> Vec<String> {
    let text = error.to_string();
    let keys = text.trim_end().lines().skip(1).last().and_then(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    keys.into_iter().flat_map(|keys| keys.split('.')).map(str::to_owned).collect()
}

fn in_table(keys: &[String], message: &str) -> String {
    if keys.is_empty() { message.to_owned() } else { format!("[{}] {message}", keys.join(".")) }
}

/// serde's `message` about the `value` of `key` in the words of a config; `of_text` is its message about a text in the place of the value.
fn described(key: &str, value: &Value, message: &str, of_text: &str) -> String {
    let shown = shown(value);
    if message.ends_with("expected newtype variant") {
        return format!(
            "{key} = {shown} needs a value of its own, as in {key}.{} = 0.5",
            value.as_str().unwrap_or("x")
        );
    }
    let message = if of_text.starts_with(NO_VARIANT) { of_text } else { message };
    let Some((_, expected)) = message.rsplit_once(", expected ") else { return format!("{key} = {shown}: {message}") };
    let of_element = value.is_array() && of_text.ends_with(NO_LIST) && !message.ends_with(NO_LIST);
    let (each, expected) = (if of_element { " in each place of the list" } else { "" }, in_words(expected, value));
    format!("{key} = {shown}, expected {expected}{each}")
}

/// What serde expects, without the names of Rust's types.
fn in_words<'a>(expected: &'a str, value: &Value) -> &'a str {
    match (expected, value.as_integer()) {
        ("usize" | "u64" | "u32", Some(..0)) => "a whole number of at least 0",
        ("u32", Some(_)) => "a whole number of at most 4294967295",
        ("usize" | "u64" | "u32" | "i64", _) => "a whole number",
        ("f64" | "f32", _) => "a number",
        ("a boolean", _) => "true or false",
        ("a sequence", _) => "a list",
        ("path string" | "a string", _) => "a text",
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged enum ") => "a table",
        _ => expected,
    }
}

/// The number nearest to `number` that fits the type that the message expects, where `number` does not.
fn nearest(number: i64, message: &str) -> Option<i64> {
    let (_, expected) = message.rsplit_once(", expected ")?;
    match expected {
        "usize" | "u64" | "u32" if number < 0 => Some(0),
        "u32" => Some(i64::from(u32::MAX)).filter(|max| number > *max),
        _ => None,
    }
}

/// The value as a person writes it: 1e300 and not its 300 digits.
pub(super) fn shown(value: &Value) -> String {
    let text = value.as_float().map_or_else(|| value.to_string(), |number| format!("{number:?}"));
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The key of the table `value` that serde's `message` is about: none of them when it is about `value` as a whole, and `None` when that would
/// take long to tell.
///
/// The keys that may be meant are removed one after the other until serde has another complaint; the kind, on which the others depend, last.
fn wrong_key<'a, T: DeserializeOwned>(value: &'a Value, message: &str) -> Option<Vec<&'a str>> {
    let all = value.as_table().into_iter().flatten();
    let mut keys: Vec<&str> = all.filter(|(_, value)| is_quoted(value, message)).map(|(key, _)| key.as_str()).collect();
    if keys.len() > MAX_KEYS {
        return None;
    }
    keys.sort_by_key(|key| *key == "kind");
    let mut without = value.clone();
    let explains = |key: &&str| {
        without.as_table_mut().map(|table| table.remove(*key));
        error_of::<T>(without.clone()).as_deref() != Some(message)
    };
    Some(keys.into_iter().find(explains).into_iter().collect())
}

/// Whether serde's `message` may quote `value`.
fn is_quoted(value: &Value, message: &str) -> bool {
    match value {
        Value::String(text) => !text.is_empty() && message.contains(text.as_str()),
        Value::Array(_) => message.contains("sequence"),
        Value::Table(_) => message.contains("map"),
        number => message.contains(&format!("`{number}`")),
    }
}

fn error_of<T: DeserializeOwned>(value: Value) -> Option<String> {
    let parsed: Result<T, toml::de::Error> = value.try_into();
    parsed.err().map(|error| error.message().to_owned())
}

/// The value at `path`.
fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The number at `key`, such as `local.beta1`.
pub(super) fn number_at<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let rest: Vec<&str> = rest.split('.').filter(|key| !key.is_empty()).collect();
    at(table.get(first)?, &rest).filter(|value| value.is_integer() || value.is_float())
}

/// `value` with `new` at `path`.
fn with(value: &Value, path: &[&str], new: Value) -> Value {
    let Some((key, rest)) = path.split_first() else { return new };
    let mut changed = value.clone();
    if let Some(inner) = changed.get_mut(key) {
        *inner = with(inner, rest, new);
    }
    changed
}
