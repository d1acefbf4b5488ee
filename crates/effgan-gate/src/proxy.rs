//! An HTTP proxy between site and server: CONNECT (RFC 9110, 9.3.6), with a password if the URL has one.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::address::ServerAddress;
use crate::error::GateError;

/// Maximum number of bytes of a proxy's response.
const MAX_RESPONSE: usize = 8 << 10;

/// A proxy. The connection to it is plain, as with nearly all proxies; what passes through it is TLS to the server.
#[derive(Clone, PartialEq)]
pub struct Proxy {
    address: ServerAddress,
    /// `Basic …`
    authorization: Option<String>,
}

impl std::fmt::Debug for Proxy {
    // Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.address)
    }
}

impl Proxy {
    /// The proxy for `server` in the environment: `HTTPS_PROXY` or `https_proxy`, unless `NO_PROXY` or `no_proxy` names the server.
    ///
    /// # Errors
    /// [`GateError::Address`].
    pub fn of_environment(server: &ServerAddress) -> Result<Option<Self>, GateError> {
        let variable = |names: [&str; 2]| {
            names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty())
        };
        let exempt = variable(["NO_PROXY", "no_proxy"]).is_some_and(|list| is_exempt(&server.host, &list));
        match variable(["HTTPS_PROXY", "https_proxy"]) {
            Some(url) if !exempt => Self::parse(&url).map(Some),
            _ => Ok(None),
        }
    }

    /// Parses `http://user:password@host:port`, also without the scheme.
    ///
    /// # Errors
    /// [`GateError::Address`], which does not quote the part that may hold a password.
    pub fn parse(url: &str) -> Result<Self, GateError> {
        let shown = url.rsplit('@').next().unwrap_or_default().to_owned();
        let wrong =
            || GateError::Address { what: "HTTPS_PROXY", value: shown.clone(), expected: "an http://host:port" };
        let rest = match url.split_once("://") {
            Some((scheme, rest)) => scheme.eq_ignore_ascii_case("http").then_some(rest).ok_or_else(wrong)?,
            None => url,
        };
        let rest = rest.trim_end_matches('/');
        let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
        let address =
            ServerAddress::parse(host).or_else(|_| ServerAddress::parse(&format!("{host}:80"))).map_err(|_| wrong())?;
        let authorization = login.map(|login| unescaped(login).ok_or_else(wrong)).transpose()?;
        Ok(Self { address, authorization: authorization.map(|login| format!("Basic {}", STANDARD.encode(login))) })
    }

    /// Opens a connection to `server` through the proxy.
    pub(crate) async fn connect(&self, server: &ServerAddress) -> io::Result<TcpStream> {
        let refuse = |why: String| io::Error::other(format!("the proxy {} {why}", self.address));
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await;
        let mut stream = stream.map_err(|error| refuse(format!("does not answer: {error}")))?;
        let login =
            self.authorization.as_ref().map(|basic| format!("Proxy-Authorization: {basic}\r\n")).unwrap_or_default();
        stream.write_all(format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{login}\r\n").as_bytes()).await?;
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            if response.len() == MAX_RESPONSE {
                return Err(refuse("sent more than a proxy's response".into()));
            }
            response.push(stream.read_u8().await.map_err(|error| refuse(format!("closed the connection: {error}")))?);
        }
        let response = String::from_utf8_lossy(&response);
        let status = response.split_whitespace().nth(1).unwrap_or_default();
        let connected = response.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2');
        if connected { Ok(stream) } else { Err(refuse(format!("answers {}", printable(status)))) }
    }
}

/// Whether `NO_PROXY` names the host: itself, a domain that it is in, or `*`.
fn is_exempt(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(|name| name.trim().trim_start_matches('.').to_ascii_lowercase()).any(|name| {
        name == "*"
            || host == name
            || (!name.is_empty() && host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.')))
    })
}

/// `text` without its percent-encoding; `None` when that is invalid.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            let digits = str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    Some(bytes)
}

/// What of a foreign text may be logged.
fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_encoded_password_is_decoded() {
        let proxy = Proxy::parse("http://site:p%40ss@proxy.example:3128/").expect("a proxy");
        assert_eq!(proxy.address, ServerAddress { host: "proxy.example".into(), port: 3128 });
        // printf 'site:p@ss' | base64
        assert_eq!(proxy.authorization.as_deref(), Some("Basic c2l0ZTpwQHNz"));
        assert!(!format!("{proxy:?}").contains("c2l0"));
    }

    #[test]
    fn an_error_does_not_quote_the_password() {
        for url in ["https://site:secret@proxy.example:3128", "http://site:secret@proxy:x:y", "http://site:%zz@proxy:1"]
        {
            let error = Proxy::parse(url).expect_err("not a proxy").to_string();
            assert!(!error.contains("secret") && !error.contains("zz"), "{error}");
        }
    }

    #[test]
    fn no_proxy_exempts_hosts_and_domains() {
        assert!(is_exempt("fl.example", "localhost, .example"));
        assert!(is_exempt("FL.example", "fl.EXAMPLE"));
        assert!(is_exempt("10.0.0.1", "*"));
        assert!(!is_exempt("fl.example", "l.example"));
        assert!(!is_exempt("fl.example", ",,"));
    }
}
