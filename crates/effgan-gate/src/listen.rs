//! The port: bound here, or handed over by systemd, so that a service without a network of its own has one.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::GateError;

/// Lets this process have as many open connections as the system lets it ask for: a shell's limit is often 1024 files.
pub(crate) fn raise_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With fewer it takes fewer connections at once.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// The listener that systemd hands over (`LISTEN_FDS`), or one bound at the first of the `addresses` that can be.
///
/// # Errors
/// [`GateError::Listen`] with what the system says of the last one.
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
