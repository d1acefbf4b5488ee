//! `effgan.run`, and going on with a run

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use effgan_run::api::{self, Source};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::{arguments, work};

/// Trains as `config` says, into a new run folder, and answers with the folder. `progress` is called with each round and each score.
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
    // Nobody may hear any more, after Ctrl-C.
    work::work(py, |stop, sender| api::run(run, stop, move |line| drop(sender.send(line))), hearing(py, progress)?)
}

/// Goes on with the run in the folder `path`.
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
    let go_on = move |stop: &_, sender: Sender<String>| {
        api::resume(&path, &settings, jobs, stop, move |line| drop(sender.send(line)))
    };
    work::work(py, go_on, hearing(py, progress)?)
}

/// The program: does what its command line says, and answers with the exit code.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| effgan_cli::run(arguments.into_iter()))
}

/// Calls `progress`, if there is one, with what a line of JSON says.
fn hearing<'py>(
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

pub(crate) fn source(config: &Bound<'_, PyAny>) -> PyResult<Source> {
    match config.cast::<PyDict>() {
        Ok(tables) => Ok(Source::Tables(arguments::tables(tables, "the config")?)),
        Err(_) => Ok(Source::File(config.extract()?)),
    }
}
