//! `effgan.evaluate`

use effgan_run::api::{self, Scored};
use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::model::Model;
use crate::{arguments, errors, work};

/// Scores images, or samples of a model, against a reference data set; returns JSON.
#[pyfunction]
#[pyo3(signature = (images_or_model, reference, *, n=None, seed=1, jobs=None))]
pub fn evaluate(
    images_or_model: &Bound<'_, PyAny>,
    reference: &Bound<'_, PyAny>,
    n: Option<i64>,
    seed: i64,
    jobs: Option<i64>,
) -> PyResult<String> {
    let py = images_or_model.py();
    let reference = arguments::json(reference, "reference")?;
    let (n, jobs) = (arguments::some_count(n, "n")?, arguments::some_count(jobs, "jobs")?);
    let seed = arguments::count(seed, "seed")?;
    let evaluation = if let Ok(model) = images_or_model.cast::<Model>() {
        let scored = Scored::Model(&model.get().ensemble, seed);
        work::quietly(py, |stop| api::evaluate(&scored, &reference, n, jobs, stop))
    } else {
        let (images, shape) = images(images_or_model)?;
        work::quietly(py, |stop| api::evaluate(&Scored::Images(&images, shape), &reference, n, jobs, stop))
    };
    Ok(serde_json::to_string(&evaluation?).expect("an evaluation is plain data"))
}

/// A copy of the pixels, since another thread may write into the array while it is scored.
fn images(array: &Bound<'_, PyAny>) -> PyResult<(Vec<u8>, [usize; 4])> {
    let wrong = |found: String| errors::usage(format!("expected images of u8 [n, c, h, w] or a Model, got {found}"));
    let Ok(images) = array.cast::<PyArrayDyn<u8>>() else {
        return Err(wrong(match array.getattr("dtype") {
            Ok(dtype) => format!("an array of {dtype}"),
            Err(_) => array.get_type().name()?.to_string(),
        }));
    };
    let shape = images.shape().try_into().map_err(|_| wrong(format!("shape {:?}", images.shape())))?;
    let in_order = images.call_method0("flatten")?;
    Ok((in_order.cast::<numpy::PyArray1<u8>>()?.to_vec()?, shape))
}
