//! `effgan.run`, resuming a run, and the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use effgan_run::api::{self, Source};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::{arguments, work};

/// Runs `config` into a new run folder and returns the folder. `progress` is called with each round and each score.
#[pyfunction]
#[pyo3(signature = (config, *, out=None, jobs=None, seed=None, settings=None, progress=None))]
pub fn run(
    config: &Bound<'_, PyAny>,
    out: Option<PathBuf>,
    jobs: Option<i64>,
    seed: Option<i64>,
    settings: Option<&Bound<'_, PyDict>>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<PathBuf> {
    let py = config.py();
    let settings = settings.map(|settings| arguments::tables(settings, "settings")).transpose()?.unwrap_or_default();
    let seed = seed.map(|seed| arguments::count(seed, "seed")).transpose()?;
    let jobs = arguments::some_count(jobs, "jobs")?;
    let run = api::Run { config: source(config)?, settings, seed, out, jobs };
    // After Ctrl-C there may be no receiver any more.
    work::work(py, |stop, sender| api::run(run, stop, move |line| drop(sender.send(line))), passing_to(py, progress)?)
}

/// Resumes the run in the folder `path`.
#[pyfunction]
#[pyo3(signature = (path, *, jobs=None, settings=None, progress=None))]
pub fn resume(
    py: Python<'_>,
    path: PathBuf,
    jobs: Option<i64>,
    settings: Option<&Bound<'_, PyDict>>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let settings = settings.map(|settings| arguments::tables(settings, "settings")).transpose()?.unwrap_or_default();
    let jobs = arguments::some_count(jobs, "jobs")?;
    let resume = move |stop: &_, sender: Sender<String>| {
        api::resume(&path, &settings, jobs, stop, move |line| drop(sender.send(line)))
    };
    work::work(py, resume, passing_to(py, progress)?)
}

/// Runs the command line `arguments` and returns its exit code.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| effgan_cli::run(arguments.into_iter()))
}

/// A function that decodes a line of JSON and passes it to `progress`, if given.
fn passing_to<'py>(
    py: Python<'py>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<impl Fn(String) -> PyResult<()> + use<'py>> {
    let loads = py.import("json")?.getattr("loads")?;
    let progress = progress.cloned();
    Ok(move |line: String| match &progress {
        Some(progress) => progress.call1((loads.call1((line,))?,)).map(drop),
        None => Ok(()),
    })
}

/// Converts a config: a path, or a dict of its tables.
pub(crate) fn source(config: &Bound<'_, PyAny>) -> PyResult<Source> {
    match config.cast::<PyDict>() {
        Ok(tables) => Ok(Source::Tables(arguments::tables(tables, "the config")?)),
        Err(_) => Ok(Source::File(config.extract()?)),
    }
}
