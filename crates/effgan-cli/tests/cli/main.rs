//! The program as a user sees it.

mod audit;
mod bench;
mod command_line;
mod privacy;
#[path = "../program/mod.rs"]
mod program;
mod refusals;
mod sampling;
mod tiny_run;
mod verdicts;

use std::path::PathBuf;
use std::process::Output;

use program::run_tiny;
use tempfile::TempDir;

/// A tiny run of the test's own.
fn tiny() -> (TempDir, PathBuf, Output) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("tiny");
    let output = run_tiny(&run, &["--jobs", "2"]);
    assert!(output.status.success(), "{output:?}");
    (folder, run, output)
}
