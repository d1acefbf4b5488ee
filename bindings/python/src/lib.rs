//! The Python module `effgan._effgan`.

use pyo3::prelude::*;

#[pymodule]
mod _effgan {}
