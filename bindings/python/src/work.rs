//! Work without the interpreter's lock: on a thread of its own, while the caller's listens for Ctrl-C and hands on what the work tells.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use effgan_run::Result;
use pyo3::prelude::*;

use crate::errors;

/// How long a Ctrl-C may wait.
const POLL: Duration = Duration::from_millis(50);

/// Does `work`, which is to end early when its flag becomes true, and gives `hear` what it sends.
///
/// # Errors
/// `KeyboardInterrupt` or what `hear` raised, once the work has ended; the work's failure; [`InternalError`](errors::InternalError) when it
/// panicked.
pub fn work<T: Send, E: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool, Sender<E>) -> Result<T> + Send,
    hear: impl FnMut(E) -> PyResult<()>,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(&stop, sender));
        let heard = listen(py, receiver, hear);
        stop.store(heard.is_err(), Ordering::Relaxed);
        let outcome = py.detach(|| worker.join());
        heard?;
        outcome.map_err(|panic| errors::internal(&*panic))?.map_err(|failure| errors::exception(&failure))
    })
}

/// [`work`] that tells nothing on its way.
pub fn quietly<T: Send>(py: Python<'_>, quiet: impl FnOnce(&AtomicBool) -> Result<T> + Send) -> PyResult<T> {
    work(py, |stop, _hold: Sender<()>| quiet(stop), |()| Ok(()))
}

/// Until the work ends, and with it its sender.
fn listen<E: Send>(py: Python<'_>, mut receiver: Receiver<E>, mut hear: impl FnMut(E) -> PyResult<()>) -> PyResult<()> {
    loop {
        let (received, back) = py.detach(move || (receiver.recv_timeout(POLL), receiver));
        receiver = back;
        match received {
            Ok(event) => hear(event)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        py.check_signals()?;
    }
}
