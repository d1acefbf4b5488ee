//! The server that a site calls, and what the site authenticates with.

use std::path::{Path, PathBuf};

use crate::address::ServerAddress;
use crate::client_identity::{ClientIdentity, client_identity};
use crate::connector::Connector;
use crate::error::GateError;
use crate::proxy::Proxy;
use crate::small_file;
use crate::tls;

/// Maximum number of bytes of a private key in OpenSSH's format.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// A server, and how a site connects to it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The server's address.
    pub server: ServerAddress,
    /// File of the one CA that is trusted.
    pub ca: PathBuf,
    /// The site's key and certificate.
    pub identity: ClientIdentity,
    /// The proxy that connections go through.
    pub proxy: Option<Proxy>,
}

impl Destination {
    /// The destination of a kit: its `ca.crt` and `key`, the proxy of the environment, and `server` as `host:port`.
    ///
    /// # Errors
    /// When one of them is invalid.
    pub fn of_kit(kit: &Path, server: &str) -> Result<Self, GateError> {
        let server = ServerAddress::parse(server)?;
        let identity = client_identity(&small_file::read(&kit.join("key"), MAX_KEY_BYTES)?)?;
        let proxy = Proxy::of_environment(&server)?;
        Ok(Self { server, ca: kit.join("ca.crt"), identity, proxy })
    }

    pub(super) fn connector(&self) -> Result<Connector, GateError> {
        Connector::new(self.server.clone(), tls::client(&self.ca, Some(&self.identity))?, self.proxy.clone())
    }
}
