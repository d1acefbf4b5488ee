//! Calling a server by TLS, through a proxy where there is one.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::error::GateError;
use crate::proxy::Proxy;

/// Longest that a connection with its handshake may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server: a DNS name or an address, and a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Without brackets.
    pub host: String,
    /// 1 to 65,535.
    pub port: u16,
}

impl Place {
    /// `host:port`, an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`GateError::Address`].
    pub fn parse(text: &str) -> Result<Self, GateError> {
        let wrong = || GateError::Address { what: "the server", value: text.into(), expected: "host:port" };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        let place = Self { host: host.to_owned(), port };
        // A colon that is not in brackets belongs to no port.
        if inner.is_none() && host.contains(':') { Err(wrong()) } else { place.name().map(|_| place) }
    }

    pub(crate) fn name(&self) -> Result<ServerName<'static>, GateError> {
        let wrong =
            |_| GateError::Address { what: "the server", value: self.host.clone(), expected: "DNS name or IP address" };
        ServerName::try_from(self.host.clone()).map_err(wrong)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Calls one place, again and again.
#[derive(Clone)]
pub(crate) struct Dial {
    place: Place,
    name: ServerName<'static>,
    tls: TlsConnector,
    proxy: Option<Proxy>,
}

impl Dial {
    pub(crate) fn new(place: Place, tls: ClientConfig, proxy: Option<Proxy>) -> Result<Self, GateError> {
        Ok(Self { name: place.name()?, place, tls: TlsConnector::from(Arc::new(tls)), proxy })
    }

    /// A connection whose handshake is over, as this side sees it: the gate may refuse it with what follows.
    pub(crate) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let connect = async {
            let stream = match &self.proxy {
                Some(proxy) => proxy.connect(&self.place).await?,
                None => TcpStream::connect((self.place.host.as_str(), self.place.port)).await?,
            };
            stream.set_nodelay(true)?;
            self.tls.connect(self.name.clone(), stream).await
        };
        timeout(PATIENCE, connect)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 10 s")))
    }
}

impl Service<Uri> for Dial {
    type Response = Line;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Line>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// All of this caller's requests go to the one place.
    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { Ok(Line(TokioIo::new(dial.connect().await?))) })
    }
}

/// A connection of the pool.
pub(crate) struct Line(TokioIo<TlsStream<TcpStream>>);

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
