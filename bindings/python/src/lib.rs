//! The Python module `effgan._effgan`: arguments in, arrays and exceptions out. All work is done by `effgan-run`.

#![allow(unreachable_pub, reason = "what the macros of PyO3 export is public")]

mod arguments;
mod audit;
mod errors;
mod evaluate;
mod federation;
mod model;
mod run;
mod steps;
mod tensors;
mod work;

#[pyo3::pymodule]
mod _effgan {
    use effgan_run::api;
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::audit::audit;
    #[pymodule_export]
    use super::errors::{DataError, EffganError, InternalError, RunFailed, UsageError};
    #[pymodule_export]
    use super::evaluate::evaluate;
    #[pymodule_export]
    use super::federation::{answer, federate, question_of, write_refusal};
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::run::{main, resume, run};
    #[pymodule_export]
    use super::steps::{Broadcast, Exchange, State, Steps, Update, deal};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        effgan_cli::log_to_stderr();
        api::check_environment().map_err(|failure| crate::errors::exception(&failure))
    }
}
