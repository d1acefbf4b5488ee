//! What can be wrong with the list, a key, a certificate or a port.

use std::io;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;

/// Why the gate or the forwarder cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A file that is not there, or not as the system lets it be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file that does not say what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A key that is no site's key.
    #[error(
        "{reason}; a site's key is a line that begins with ecdsa-sha2-nistp384, as effgan federation join prints it"
    )]
    Key {
        /// What is wrong with it.
        reason: String,
    },
    /// A name that is not on the list.
    #[error("there is no site {name} here; the sites are {known}")]
    NoSite {
        /// The name.
        name: ClientName,
        /// Those that are, separated by commas.
        known: String,
    },
    /// A name that is on the list already.
    #[error("{name} is a site of this federation already")]
    SiteExists {
        /// The name.
        name: ClientName,
    },
    /// A site that has a key.
    #[error("{name} is admitted already, with the key {fingerprint}; effgan federation remove {name} takes it away")]
    Admitted {
        /// The site.
        name: ClientName,
        /// Of the key that it has.
        fingerprint: String,
    },
    /// A key that another site has.
    #[error("this key is admitted already, as {name}'s; each site makes its own")]
    KeyOfAnother {
        /// The site that has it.
        name: ClientName,
    },
    /// A certificate or key that TLS cannot be set up with.
    #[error("{what}: {reason}")]
    Tls {
        /// Of what.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// An address at which nobody can listen.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// `host:port`
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// A destination or a proxy that is none.
    #[error("{what} {value:?} is no {expected}")]
    Address {
        /// What it is meant to be.
        what: &'static str,
        /// What was said.
        value: String,
        /// What it should look like.
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
