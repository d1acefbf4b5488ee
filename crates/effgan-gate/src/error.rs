//! Errors about the list of sites, a key, a certificate or a port.

use std::io;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;

/// Why the gate or the forwarder cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A file that cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file with invalid content.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key that cannot be a site's.
    #[error(
        "{reason}; a site's key is a line that begins with ecdsa-sha2-nistp384, as effgan federation join prints it"
    )]
    Key {
        /// What is wrong with it.
        reason: String,
    },
    /// A name that is not on the list.
    #[error("there is no site {name}; the sites are {known}")]
    NoSite {
        /// The name.
        name: ClientName,
        /// The names on the list, separated by commas.
        known: String,
    },
    /// A name that is on the list already.
    #[error("{name} is a site of this federation already")]
    SiteExists {
        /// The name.
        name: ClientName,
    },
    /// A site that has another key.
    #[error("{name} is admitted already, with the key {fingerprint}; effgan federation remove {name} removes it")]
    Admitted {
        /// The site.
        name: ClientName,
        /// Fingerprint of the key that it has.
        fingerprint: String,
    },
    /// A key that another site has.
    #[error("this key is admitted already, as {name}'s; each site makes its own")]
    KeyOfAnother {
        /// The site that has it.
        name: ClientName,
    },
    /// A certificate or key that TLS does not accept.
    #[error("{what}: {reason}")]
    Tls {
        /// The certificate or key.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// `host:port`
        address: String,
        /// The system's error.
        error: io::Error,
    },
    /// An argument of a wrong form.
    #[error("{what} {value:?} is not {expected}")]
    Address {
        /// What the value is meant to be.
        what: &'static str,
        /// The value.
        value: String,
        /// The expected form, with its article.
        expected: &'static str,
    },
}

impl GateError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::File { path, error }
    }

    pub(crate) fn tls(what: &str, reason: &impl ToString) -> Self {
        Self::Tls { what: what.to_owned(), reason: reason.to_string() }
    }
}
