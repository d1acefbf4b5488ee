//! The forwarder's log of its connection to the server: one line per change.

use std::sync::Mutex;

use hyper::StatusCode;

use super::destination::Destination;
use crate::connect_error::ConnectError;
use crate::site_key::fingerprint;

/// What was last logged about the connection to the server.
#[derive(Debug)]
pub(super) struct ConnectionLog {
    server: String,
    fingerprint: String,
    /// The error of the last attempt; `None` if it succeeded.
    last: Mutex<Option<ConnectError>>,
}

impl ConnectionLog {
    pub(super) fn new(destination: &Destination) -> Self {
        let server = destination.server.to_string();
        Self { server, fingerprint: fingerprint(&destination.identity.public), last: Mutex::new(None) }
    }

    /// The server responded. Returns a line if it did not before, or if it has removed this site's key.
    pub(super) fn responded(&self, status: StatusCode) -> Option<String> {
        if status == StatusCode::UNAUTHORIZED {
            // The SuperNode ends at this status, and start.sh then ends the forwarder.
            return self.failed(ConnectError::NotAdmitted).map(|_| {
                let fingerprint = &self.fingerprint;
                format!(
                    "the server no longer accepts this site's key (fingerprint {fingerprint}): this site stops; restart it once it is admitted"
                )
            });
        }
        let before = self.last.lock().expect("no thread panics while it holds the log").take();
        before.map(|_| format!("connected to {}", self.server))
    }

    /// The server did not respond. Returns a line if the kind of error is new.
    pub(super) fn failed(&self, error: ConnectError) -> Option<String> {
        let line = self.line(&error);
        let mut last = self.last.lock().expect("no thread panics while it holds the log");
        // By kind alone: the system may describe the same error in several ways.
        let is_new = last.as_ref().is_none_or(|last| std::mem::discriminant(last) != std::mem::discriminant(&error));
        *last = Some(error);
        is_new.then_some(line)
    }

    fn line(&self, error: &ConnectError) -> String {
        let Self { server, fingerprint, .. } = self;
        match error {
            ConnectError::NotAdmitted => format!(
                "the server does not accept this site's key (fingerprint {fingerprint}): it was never admitted, or was removed; waiting"
            ),
            ConnectError::Certificate(problem) => format!("{server}: {}; waiting", problem.message()),
            ConnectError::NoTls => format!("{server} answers without TLS 1.3; is it the server's port?"),
            ConnectError::Unreachable(why) => format!("cannot connect to {server}: {why}; waiting"),
        }
    }
}
