//! The address of a server.

use std::net::IpAddr;

use rustls::pki_types::ServerName;

use crate::error::GateError;

/// A server: a DNS name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerAddress {
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// 1 to 65,535.
    pub port: u16,
}

impl ServerAddress {
    /// Parses `host:port`; an IPv6 address needs brackets.
    ///
    /// # Errors
    /// [`GateError::Address`].
    pub fn parse(text: &str) -> Result<Self, GateError> {
        let wrong = || GateError::Address { what: "the server", value: text.into(), expected: "a host:port" };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        let address = Self { host: host.to_owned(), port };
        // Without brackets, a colon in the host would make the port ambiguous.
        if inner.is_none() && host.contains(':') { Err(wrong()) } else { address.name().map(|_| address) }
    }

    /// The host as TLS verifies it.
    pub(crate) fn name(&self) -> Result<ServerName<'static>, GateError> {
        let wrong = |_| GateError::Address {
            what: "the server",
            value: self.host.clone(),
            expected: "a DNS name or an IP address",
        };
        ServerName::try_from(self.host.clone()).map_err(wrong)
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
