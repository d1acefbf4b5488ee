//! Conversion of Python values: configs, settings, counts.

use std::path::PathBuf;

use effgan_run::api::Hardware;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Value};

use crate::errors::usage;

/// Converts a dict with str keys to JSON; `what` names the dict in errors.
///
/// # Errors
/// [`UsageError`](crate::errors::UsageError) naming the key.
pub fn tables(dict: &Bound<'_, PyDict>, what: &str) -> PyResult<Map<String, Value>> {
    entries(dict, what, "")
}

/// Converts the entries of the dict `what`; `path` precedes their keys in errors.
fn entries(dict: &Bound<'_, PyDict>, what: &str, path: &str) -> PyResult<Map<String, Value>> {
    let entry = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let key: String = key.extract().map_err(|_| usage(format!("{what} has the key {key}, which is not a str")))?;
        let value = json(&value, &format!("{path}{key}"))?;
        Ok((key, value))
    };
    dict.iter().map(entry).collect()
}

/// Converts a number, str, bool, path, or a list or dict of these to JSON; `key` names it in errors.
///
/// # Errors
/// [`UsageError`](crate::errors::UsageError) naming `key`.
pub fn json(value: &Bound<'_, PyAny>, key: &str) -> PyResult<Value> {
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(truth.is_true().into());
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Value::String(value.extract()?));
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return Ok(Value::Object(entries(dict, key, &format!("{key}."))?));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return value.try_iter()?.map(|item| json(&item?, key)).collect();
    }
    if value.is_instance_of::<PyFloat>() {
        return number(value.extract()?, key);
    }
    // NumPy's integers are not instances of int.
    if value.is_instance_of::<PyInt>() || value.hasattr("__index__")? {
        let whole: i64 = value.extract().map_err(|_| usage(format!("{key} = {value} is not a 64-bit integer")))?;
        return Ok(whole.into());
    }
    if value.hasattr("__float__")? {
        return number(value.extract()?, key);
    }
    let path: PathBuf = value.extract().map_err(|_| {
        let kind = value.get_type().name().map_or_else(|_| "value".into(), |name| name.to_string());
        usage(format!("{key} is of type {kind}; expected a number, str, bool, path, list or dict"))
    })?;
    Ok(Value::String(path.to_string_lossy().into_owned()))
}

fn number(value: f64, key: &str) -> PyResult<Value> {
    let number = serde_json::Number::from_f64(value);
    number.map(Value::Number).ok_or_else(|| usage(format!("{key} = {value} is not finite")))
}

/// Converts a count; `name` is the argument's.
///
/// # Errors
/// [`UsageError`](crate::errors::UsageError) when it is negative.
pub fn count(value: i64, name: &str) -> PyResult<u64> {
    value.try_into().map_err(|_| usage(format!("{name} = {value} must be at least 0")))
}

/// Like [`count`], for an argument that may be absent.
///
/// # Errors
/// As [`count`].
pub fn some_count(value: Option<i64>, name: &str) -> PyResult<Option<usize>> {
    value.map(|value| Ok(count(value, name)? as usize)).transpose()
}

/// The arguments `device` and `jobs`.
///
/// # Errors
/// [`UsageError`](crate::errors::UsageError) when they name no device, or the number is negative.
pub fn hardware(device: Option<&str>, jobs: Option<i64>) -> PyResult<Hardware> {
    let device = device.map(str::parse).transpose().map_err(usage)?.unwrap_or_default();
    Ok(Hardware { device, jobs: some_count(jobs, "jobs")? })
}
