//! `effgan.evaluate`

use std::path::PathBuf;

use effgan_data::datasets::ArrayLayout;
use effgan_run::api::{self, Against, NetworkChoice, NetworkName, Scored};
use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::model::Model;
use crate::{arguments, errors, work};

/// Scores images, or samples of a model, against real images; returns JSON.
#[pyfunction]
#[pyo3(signature = (images_or_model, reference, *, n=None, seed=1, jobs=None, device=None, features=None, weights=None, resize="pytorch-fid"))]
#[expect(clippy::too_many_arguments, clippy::needless_pass_by_value, reason = "the signature is Python's")]
pub fn evaluate(
    images_or_model: &Bound<'_, PyAny>,
    reference: Option<&Bound<'_, PyAny>>,
    n: Option<i64>,
    seed: i64,
    jobs: Option<i64>,
    device: Option<&str>,
    features: Option<PathBuf>,
    weights: Option<PathBuf>,
    resize: &str,
) -> PyResult<String> {
    let py = images_or_model.py();
    let reference = reference.map(against).transpose()?;
    let (n, on) = (arguments::some_count(n, "n")?, arguments::hardware(device, jobs)?);
    let (seed, resize) = (arguments::count(seed, "seed")?, resize.parse().map_err(errors::usage)?);
    let features = features.map(|features| NetworkName::from(features.to_string_lossy().into_owned()));
    let score = |scored: Scored| {
        let choice =
            NetworkChoice { features: features.as_ref(), weights: weights.as_deref(), resize, by_config: false };
        work::quietly(py, |stop| api::evaluate(&scored, reference, choice, n, on, stop))
    };
    let evaluation = if let Ok(model) = images_or_model.cast::<Model>() {
        score(Scored::Model(&model.get().ensemble, seed))
    } else if let Ok(path) = images_or_model.extract::<PathBuf>() {
        score(Scored::Path(&path, seed))
    } else {
        let (images, shape) =
            images(images_or_model, "images of u8 [n, c, h, w], [n, h, w, c] or [n, h, w], a Model or a path")?;
        score(Scored::Images(&images, shape))
    };
    Ok(serde_json::to_string(&evaluation?).expect("an evaluation is plain data"))
}

/// What images are compared with. A str may be a data set's name; a path is none.
fn against(reference: &Bound<'_, PyAny>) -> PyResult<Against> {
    if reference.is_instance_of::<PyString>() || reference.is_instance_of::<PyDict>() {
        return arguments::json(reference, "reference").map(Against::Named);
    }
    if let Ok(path) = reference.extract() {
        return Ok(Against::Path(path));
    }
    let expected =
        "as reference a data set's name or table, a path, or images of u8 [n, c, h, w], [n, h, w, c] or [n, h, w]";
    images(reference, expected).map(|(images, shape)| Against::Images(images, shape))
}

/// A copy of the pixels, since another thread may write into the array while it is scored. An error says what was `expected`.
fn images(array: &Bound<'_, PyAny>, expected: &str) -> PyResult<(Vec<u8>, [usize; 4])> {
    let wrong = |found: String| errors::usage(format!("expected {expected}, got {found}"));
    let Ok(images) = array.cast::<PyArrayDyn<u8>>() else {
        return Err(wrong(match array.getattr("dtype") {
            Ok(dtype) => format!("an array of {dtype}"),
            Err(_) => array.get_type().name()?.to_string(),
        }));
    };
    let layout = ArrayLayout::of(images.shape());
    let layout = layout.map_err(|reason| wrong(format!("an array that {reason}")))?;
    let in_order = images.call_method0("flatten")?;
    let pixels = layout.channels_first(in_order.cast::<numpy::PyArray1<u8>>()?.to_vec()?);
    let [c, h, w] = layout.shape;
    Ok((pixels, [layout.num, c, h, w]))
}
