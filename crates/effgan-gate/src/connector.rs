//! TLS connections to one server, for hyper's connection pool.

use std::io;
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

use crate::address::ServerAddress;
use crate::error::GateError;
use crate::proxy::Proxy;

/// How long connecting, the handshake included, may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    address: ServerAddress,
    name: ServerName<'static>,
    tls: TlsConnector,
    proxy: Option<Proxy>,
}

impl Connector {
    pub(crate) fn new(address: ServerAddress, tls: ClientConfig, proxy: Option<Proxy>) -> Result<Self, GateError> {
        Ok(Self { name: address.name()?, address, tls: TlsConnector::from(Arc::new(tls)), proxy })
    }

    /// Opens a connection. The handshake is complete on this side; the gate may still refuse it, which shows at the first read.
    pub(crate) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let connect = async {
            let stream = match &self.proxy {
                Some(proxy) => proxy.connect(&self.address).await?,
                None => TcpStream::connect((self.address.host.as_str(), self.address.port)).await?,
            };
            stream.set_nodelay(true)?;
            self.tls.connect(self.name.clone(), stream).await
        };
        timeout(TIMEOUT, connect)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 10 s")))
    }
}

impl Service<Uri> for Connector {
    type Response = PooledStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<PooledStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Connects to the one server, regardless of the URI.
    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(PooledStream(TokioIo::new(connector.connect().await?))) })
    }
}

/// A connection in the pool.
pub(crate) struct PooledStream(TokioIo<TlsStream<TcpStream>>);

impl Connection for PooledStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for PooledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for PooledStream {
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
