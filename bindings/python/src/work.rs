//! Work without the GIL: on a thread of its own, while the caller's thread checks for Ctrl-C and passes on events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use effgan_run::Result;
use pyo3::prelude::*;

use crate::errors;

/// Time between checks for Ctrl-C.
const POLL: Duration = Duration::from_millis(50);

/// Runs `work` and calls `handle` with each event that it sends. `work` must end early when its flag becomes true.
///
/// # Errors
/// `KeyboardInterrupt` or what `handle` raised, once the work has ended; the work's failure; [`InternalError`](errors::InternalError) when it
/// panicked.
pub fn work<T: Send, E: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool, Sender<E>) -> Result<T> + Send,
    handle: impl FnMut(E) -> PyResult<()>,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(&stop, sender));
        let handled = listen(py, receiver, handle);
        stop.store(handled.is_err(), Ordering::Relaxed);
        let outcome = py.detach(|| worker.join());
        handled?;
        outcome.map_err(|panic| errors::internal(&*panic))?.map_err(|failure| errors::exception(&failure))
    })
}

/// Like [`work`], without events.
pub fn quietly<T: Send>(py: Python<'_>, quiet: impl FnOnce(&AtomicBool) -> Result<T> + Send) -> PyResult<T> {
    work(py, |stop, _hold: Sender<()>| quiet(stop), |()| Ok(()))
}

/// Handles events until the work ends, which drops its sender.
fn listen<E: Send>(
    py: Python<'_>,
    mut receiver: Receiver<E>,
    mut handle: impl FnMut(E) -> PyResult<()>,
) -> PyResult<()> {
    loop {
        let (received, back) = py.detach(move || (receiver.recv_timeout(POLL), receiver));
        receiver = back;
        match received {
            Ok(event) => handle(event)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        py.check_signals()?;
    }
}
