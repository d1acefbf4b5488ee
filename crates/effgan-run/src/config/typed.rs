//! From a TOML value to a type, with errors that name the key, its value as it was written, and what is expected there.
//!
//! `toml` keeps track of the key of an error, except in the tables with a `kind`, which serde buffers. There the wrong key is searched
//! for: it is the one whose value serde quotes, and without which it has another complaint.

use std::iter;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Maximum number of keys of a table, those of the tables in it included; no table of a config has as many.
pub(super) const MAX_KEYS: usize = 64;
/// Maximum number of characters of a value that an error repeats.
const MAX_SHOWN: usize = 80;
/// The beginning of serde's message about a text that is none of an enum's.
const NO_VARIANT: &str = "unknown variant";
/// The end of serde's message about a text that is one of an enum's, and lacks the value that belongs to it.
const NO_VALUE: &str = "expected newtype variant";
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
    if let Some(line) = wrong_shape::<T>(key, value) {
        return Err(Mistake { line, nearest: None });
    }
    value.clone().try_into().map_err(|error| mistake::<T>(key, value, &error))
}

/// The line about a list or a table that serde would read as something else: it takes the values of a list for those of a table in the order
/// of Rust's fields, and `{ hinge = {} }` for `"hinge"`.
fn wrong_shape<T: DeserializeOwned>(key: &str, value: &Value) -> Option<String> {
    let paths = paths(value, &[]);
    if paths.len() > MAX_KEYS + 1 {
        return Some(in_table(
            &full(key, &[]),
            &format!("has more than {MAX_KEYS} keys, with those of the tables in it"),
        ));
    }
    let error = error_of::<T>(value.clone());
    let error_with = |path: &[&str], text: &str| error_of::<T>(with(value, path, text.into())).unwrap_or_default();
    paths.into_iter().find_map(|path| {
        let (wrong, of_text, key) = (at(value, &path)?, error_with(&path, ""), full(key, &path).join("."));
        let holds_value = |table: &Table| {
            let mut names = table.keys();
            names.next().is_some_and(|name| error_with(&path, name).ends_with(NO_VALUE)) && names.next().is_none()
        };
        match wrong {
            // What serde says is about another key.
            _ if error.as_ref() == Some(&of_text) => None,
            Value::Array(_) if expected_in(&of_text).is_some_and(is_table) => {
                Some(format!("{key} = {}, expected a table", shown(wrong)))
            }
            Value::Table(table) if of_text.starts_with(NO_VARIANT) && !holds_value(table) => {
                Some(described(&key, wrong, &of_text, &of_text))
            }
            _ => None,
        }
    })
}

/// The paths of `value`, which is at `path`, and of all that its tables hold.
fn paths<'a>(value: &'a Value, path: &[&'a str]) -> Vec<Vec<&'a str>> {
    let inner = value.as_table().into_iter().flatten();
    let inner = inner.flat_map(|(key, value)| paths(value, &[path, &[key.as_str()]].concat()));
    iter::once(path.to_vec()).chain(inner).collect()
}

fn mistake<T: DeserializeOwned>(key: &str, value: &Value, error: &toml::de::Error) -> Mistake {
    let message = error.message();
    let is_of_table = message.starts_with("missing field") || message.starts_with("unknown field");
    let tracked = tracked_keys(error);
    let search = || if is_of_table { Vec::new() } else { wrong_key::<T>(value, message) };
    let path = if tracked.is_empty() { search() } else { tracked.iter().map(String::as_str).collect() };
    let Some(wrong) = at(value, &path).filter(|_| !is_of_table) else {
        return Mistake { line: in_table(&full(key, &path), &about_key(message)), nearest: None };
    };
    let full = full(key, &path);
    // A text that is none of an enum's makes serde list them.
    let of_text = error_of::<T>(with(value, &path, Value::String(String::new()))).unwrap_or_default();
    // The table of an enum has one key, and toml does not keep track of it.
    let variant = wrong.as_table().filter(|_| of_text.starts_with(NO_VARIANT));
    if let Some((variant, inner)) = variant.and_then(|table| table.iter().next()) {
        let line = described(&format!("{}.{variant}", full.join(".")), inner, message, "");
        return Mistake { line, nearest: None };
    }
    let line = described(&full.join("."), wrong, message, &of_text);
    let nearest = wrong.as_integer().and_then(|number| nearest(number, message));
    Mistake { line, nearest: nearest.map(|number| (full, number)) }
}

/// `path` below `key`.
fn full(key: &str, path: &[&str]) -> Vec<String> {
    [key].iter().chain(path).filter(|key| !key.is_empty()).map(ToString::to_string).collect()
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

/// serde's `message` about a key that is unknown or missing; it calls keys fields.
fn about_key(message: &str) -> String {
    let Some((what, rest)) = message.split_once(" field `") else { return message.to_owned() };
    let (key, listed) = rest.split_once('`').unwrap_or((rest, ""));
    format!("{what} key `{}`{listed}", short(key))
}

/// serde's `message` about the `value` of `key` in the words of a config; `of_text` is its message about a text in the place of the value.
fn described(key: &str, value: &Value, message: &str, of_text: &str) -> String {
    let shown = shown(value);
    if message.ends_with(NO_VALUE) {
        return format!(
            "{key} = {shown} needs a value of its own, as in {key}.{} = 0.5",
            value.as_str().unwrap_or("x")
        );
    }
    let message = if of_text.starts_with(NO_VARIANT) { of_text } else { message };
    let Some(expected) = expected_in(message) else { return format!("{key} = {shown}: {message}") };
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
        _ if is_table(expected) => "a table",
        _ => expected,
    }
}

/// What serde's `message` says is expected.
fn expected_in(message: &str) -> Option<&str> {
    message.rsplit_once(", expected ").map(|(_, expected)| expected)
}

/// Whether what serde expects is a table of a config.
fn is_table(expected: &str) -> bool {
    expected.starts_with("struct ") || expected.starts_with("internally tagged enum ")
}

/// The number nearest to `number` that fits the type that the message expects, where `number` does not.
fn nearest(number: i64, message: &str) -> Option<i64> {
    match expected_in(message)? {
        "usize" | "u64" | "u32" if number < 0 => Some(0),
        "u32" => Some(i64::from(u32::MAX)).filter(|max| number > *max),
        _ => None,
    }
}

/// The value as a person writes it: 1e300 and not its 300 digits.
pub(super) fn shown(value: &Value) -> String {
    let number = value.as_float().filter(|number| !number.is_nan());
    short(&number.map_or_else(|| value.to_string(), |number| format!("{number:?}")))
}

/// The beginning of a text, which is all of it where that is short.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The key of the table `value` that serde's `message` is about: none of them when it is about `value` as a whole.
///
/// The keys that may be meant are removed one after the other until serde has another complaint; the kind, on which the others depend, last.
fn wrong_key<'a, T: DeserializeOwned>(value: &'a Value, message: &str) -> Vec<&'a str> {
    let all = value.as_table().into_iter().flatten();
    let mut keys: Vec<&str> = all.filter(|(_, value)| is_quoted(value, message)).map(|(key, _)| key.as_str()).collect();
    keys.sort_by_key(|key| *key == "kind");
    let mut without = value.clone();
    let explains = |key: &&str| {
        without.as_table_mut().map(|table| table.remove(*key));
        error_of::<T>(without.clone()).as_deref() != Some(message)
    };
    keys.into_iter().find(explains).into_iter().collect()
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

pub(super) fn error_of<T: DeserializeOwned>(value: Value) -> Option<String> {
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
