//! Failures as exceptions: one class per exit code, with the same line as the command prints.

use effgan_run::{Failure, Kind};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt};
use pyo3::prelude::*;

create_exception!(effgan, EffganError, PyException, "Base class of effgan's exceptions; the message is one line.");
create_exception!(effgan, UsageError, EffganError, "An argument or the config is wrong; nothing was written.");
create_exception!(effgan, DataError, EffganError, "A data file or a model is missing or damaged.");
create_exception!(effgan, RunFailed, EffganError, "The run failed; its folder says why.");
create_exception!(effgan, InternalError, EffganError, "A bug in effgan: please report it.");

/// Converts a failure to an exception.
pub fn exception(failure: &Failure) -> PyErr {
    let line = failure.line();
    match failure.kind() {
        Kind::Usage => UsageError::new_err(line),
        Kind::Data => DataError::new_err(line),
        Kind::Run => RunFailed::new_err(line),
        Kind::Interrupted => PyKeyboardInterrupt::new_err(line),
    }
}

/// A `UsageError` for a wrong argument.
pub fn usage(line: String) -> PyErr {
    UsageError::new_err(line)
}

/// Converts a panic to an exception. The panic's message and place have already been printed to standard error.
pub fn internal(panic: &(dyn std::any::Any + Send)) -> PyErr {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    InternalError::new_err(format!("{}; this is a bug, please report it", said.unwrap_or("a panic without a message")))
}
