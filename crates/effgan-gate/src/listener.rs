//! The listening socket: bound here, or handed over by systemd to a service that has no network of its own.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::GateError;

/// Raises this process's limit of open files to the highest allowed: a shell's default is often 1024, and each connection takes one.
pub(crate) fn raise_file_limit() {
    if let Ok((_, highest)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // On failure, fewer connections fit.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, highest, highest);
    }
}

/// Returns the listener that systemd hands over (`LISTEN_FDS`), or else one bound to the first of `addresses` that is free.
///
/// # Errors
/// [`GateError::Listen`] with the system's error for the last address.
pub(crate) fn listener(addresses: &[SocketAddr]) -> Result<TcpListener, GateError> {
    let wrong = |address: String| move |error| GateError::Listen { address, error };
    let handed_over = ListenFd::from_env().take_tcp_listener(0).map_err(wrong("the socket of systemd".into()))?;
    let listener = match handed_over {
        Some(listener) => listener,
        None => TcpListener::bind(addresses)
            .map_err(wrong(addresses.first().map(ToString::to_string).unwrap_or_default()))?,
    };
    listener.set_nonblocking(true).map_err(wrong("the socket".into()))?;
    Ok(listener)
}
