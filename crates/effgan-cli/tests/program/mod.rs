//! The program as a process, and what its run folders say.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Without the folder of fetched data sets that whoever runs the tests may have.
pub(crate) fn effgan(args: &[&str]) -> Output {
    let nowhere = concat!(env!("CARGO_TARGET_TMPDIR"), "/no-data");
    Command::new(env!("CARGO_BIN_EXE_effgan")).args(args).env("EFFGAN_DATA", nowhere).output().unwrap()
}

/// The config of the golden tiny run.
pub(crate) fn tiny_config() -> String {
    format!("{}/../effgan-run/tests/tiny.toml", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn golden(name: &str) -> String {
    format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs `tiny.toml` with these settings into `out`.
pub(crate) fn run_tiny(out: &Path, more: &[&str]) -> Output {
    let config = tiny_config();
    let args = [&["run", &config, "--out", out.to_str().unwrap()][..], more].concat();
    effgan(&args)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line of a failure, and its exit code.
pub(crate) fn failure(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "one line, not: {stderr}");
    let line = stderr.trim_end().strip_prefix("effgan: ").expect("the program says its name").to_owned();
    (output.status.code(), line)
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Everything but times.
pub(crate) fn without_seconds(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("seconds");
            fields.values_mut().for_each(|field| *field = without_seconds(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_seconds(item.take())),
        _ => {}
    }
    value
}

/// What equal runs have in common: the model hash, and all metrics but for times.
pub(crate) fn outcome(run: &Path) -> (Value, Vec<Value>) {
    let info = json(&run.join("run.json"));
    assert_eq!(info["status"], "done", "{info}");
    (info["model_hash"].clone(), metrics(run).into_iter().map(without_seconds).collect())
}
