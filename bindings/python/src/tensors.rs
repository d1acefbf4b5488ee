//! Named tensors as dicts of arrays, and back.

use effgan_fl::message::Numbers;
use effgan_nn::{Array, Params};
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::usage;

/// A dict of f32 arrays by name, in the order of names.
pub fn to_dict<'py>(py: Python<'py>, params: &Params) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, array) in params {
        let values: Bound<'py, PyArrayDyn<f32>> =
            PyArray1::from_slice(py, &array.values).reshape(array.shape.clone())?;
        dict.set_item(name, values)?;
    }
    Ok(dict)
}

/// Of a dict of f32 arrays; `what` names it in errors.
///
/// # Errors
/// [`UsageError`](crate::errors::UsageError) naming the tensor that is none.
pub fn of_dict(dict: &Bound<'_, PyDict>, what: &str) -> PyResult<Params> {
    let tensor = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name: String = name.extract().map_err(|_| usage(format!("{what} has the key {name}, which is no text")))?;
        let wrong = || usage(format!("{what}[{name:?}] is no NumPy array of float32"));
        let array: PyReadonlyArrayDyn<'_, f32> = value.extract().map_err(|_| wrong())?;
        let values = array.as_array().iter().copied().collect();
        Ok((name, Array::new(array.shape(), values)))
    };
    dict.iter().map(tensor).collect()
}

/// Numbers by name.
///
/// # Errors
/// [`UsageError`](crate::errors::UsageError) naming `what`.
pub fn numbers(dict: &Bound<'_, PyDict>, what: &str) -> PyResult<Numbers> {
    dict.extract().map_err(|error| usage(format!("{what} is no dict of numbers by name: {error}")))
}
