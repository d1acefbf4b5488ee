//! Named tensors as dicts of arrays, and back.

use effgan_fl::message::Numbers;
use effgan_nn::{Array, Params};
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::usage;

/// Converts params to a dict of f32 arrays, in the order of names. Values that nothing shares are not copied.
pub fn to_dict<'py>(py: Python<'py>, params: Params) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, array) in params {
        let shape = array.shape.clone();
        let values: Bound<'py, PyArrayDyn<f32>> = PyArray1::from_vec(py, array.into_values()).reshape(shape)?;
        dict.set_item(name, values)?;
    }
    Ok(dict)
}

/// Converts a dict of f32 arrays to params; `what` names the dict in errors.
///
/// # Errors
/// [`UsageError`](crate::errors::UsageError) naming the entry that is not an f32 array.
pub fn of_dict(dict: &Bound<'_, PyDict>, what: &str) -> PyResult<Params> {
    let tensor = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name: String =
            name.extract().map_err(|_| usage(format!("{what} has the key {name}, which is not a str")))?;
        let wrong = || usage(format!("{what}[{name:?}] is not a NumPy array of float32"));
        let array: PyReadonlyArrayDyn<'_, f32> = value.extract().map_err(|_| wrong())?;
        let values = array.as_array().iter().copied().collect();
        Ok((name, Array::new(array.shape(), values)))
    };
    dict.iter().map(tensor).collect()
}

/// Converts a dict of numbers; `what` names it in errors.
///
/// # Errors
/// [`UsageError`](crate::errors::UsageError) naming `what`.
pub fn numbers(dict: &Bound<'_, PyDict>, what: &str) -> PyResult<Numbers> {
    dict.extract().map_err(|error| usage(format!("{what} is not a dict of numbers by name: {error}")))
}
