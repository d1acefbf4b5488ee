//! Auditing the generators of a run.

use std::path::PathBuf;

use effgan_run::api;
use pyo3::prelude::*;

use crate::{arguments, work};

/// Audits the generators of the run in the folder `path` by so many samples of each; returns JSON.
#[pyfunction]
#[pyo3(signature = (path, *, samples=10_000, jobs=None))]
#[expect(clippy::needless_pass_by_value, reason = "the signature is Python's")]
pub fn audit(py: Python<'_>, path: PathBuf, samples: i64, jobs: Option<i64>) -> PyResult<String> {
    let (samples, jobs) = (arguments::count(samples, "samples")? as usize, arguments::some_count(jobs, "jobs")?);
    let audit = work::quietly(py, |stop| api::audit(&path, samples, jobs, stop))?;
    Ok(serde_json::to_string(&audit).expect("an audit is plain data"))
}
