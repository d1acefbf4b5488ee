//! The site's end: the `SuperNode` calls 127.0.0.1, and only the forwarder calls the network. The server's responses are bounded, and no app
//! other than effgan's gets in.

mod app_check;
mod connection_log;
mod destination;
mod exchange;
mod probe;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

pub use self::app_check::{Bundle, check_fab, check_run};
pub use self::destination::Destination;
use self::exchange::Exchange;
pub use self::exchange::{ALLOWED_ERRORS, MAX_MESSAGE};
pub use self::probe::probe;
use crate::Log;
use crate::connection_count::Counted;
use crate::error::GateError;
use crate::gate_limits::{HEAD, NUM_HEADERS};
use crate::headers::empty_response;
use crate::listener::listener;
use crate::tls;

/// How a forwarder is started.
#[derive(Clone, Debug)]
pub struct ForwarderConfig {
    /// The kit, with `local.crt` and `local.key`.
    pub kit: PathBuf,
    /// Port of 127.0.0.1 to listen on; 0 takes a free one.
    pub port: u16,
    /// The server that is called.
    pub destination: Destination,
    /// The one app that the site runs.
    pub bundle: Bundle,
    /// Maximum number of bytes of one message from the server; see [`MAX_MESSAGE`].
    pub max_message: u64,
}

/// Maximum number of connections from this machine; a node opens four.
const MAX_CONNECTIONS: usize = 64;
/// How long a handshake on this machine may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection on this machine may be idle.
const IDLE: Duration = Duration::from_secs(75);
/// How often the stop flag is checked.
const POLL: Duration = Duration::from_millis(100);

/// A forwarder whose port is open.
pub struct Forwarder {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all connections share.
struct Shared {
    acceptor: TlsAcceptor,
    connections: AtomicUsize,
    exchange: Exchange,
}

impl Forwarder {
    /// Opens the port.
    ///
    /// # Errors
    /// When a file of the kit is invalid, or the port cannot be opened.
    pub fn bind(config: ForwarderConfig, log: Log) -> Result<Self, GateError> {
        let ForwarderConfig { kit, port, destination, bundle, max_message } = config;
        let acceptor = acceptor(&kit)?;
        let exchange = Exchange::new(destination, bundle, max_message, log)?;
        let shared = Shared { acceptor, connections: 0.into(), exchange };
        let listener = listener(&[(Ipv4Addr::LOCALHOST, port).into()])?;
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system's error.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Forwards requests until `stop` becomes true.
    ///
    /// # Errors
    /// When no threads can be started.
    pub fn run(self, stop: &AtomicBool) -> Result<(), GateError> {
        let wrong = |error| GateError::Listen { address: "the port".into(), error };
        let runtime = Runtime::new().map_err(wrong)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(wrong)?;
            tokio::spawn(self.shared.accept_all(listener));
            while !stop.load(Ordering::Relaxed) {
                sleep(POLL).await;
            }
            Ok(())
        })?;
        runtime.shutdown_background();
        Ok(())
    }
}

fn acceptor(kit: &Path) -> Result<TlsAcceptor, GateError> {
    let config = tls::loopback(&kit.join("local.crt"), &kit.join("local.key"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Shared {
    async fn accept_all(self: Arc<Self>, listener: tokio::net::TcpListener) {
        loop {
            match listener.accept().await {
                // A socket handed over by systemd may listen on other addresses as well.
                Ok((stream, peer)) if peer.ip().to_canonical().is_loopback() => {
                    let connection = Counted::new(Arc::clone(&self), |shared| &shared.connections);
                    if connection.number <= MAX_CONNECTIONS {
                        tokio::spawn(Arc::clone(&self).serve(stream, connection));
                    }
                }
                Ok(_) => {}
                Err(_) => sleep(POLL).await,
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, _connection: Counted<Self>) {
        let Ok(Ok(stream)) = timeout(HANDSHAKE, self.acceptor.accept(stream)).await else { return };
        let service = service_fn(|request| {
            let shared = Arc::clone(&self);
            async move { io::Result::Ok(shared.exchange.forward(request).await.unwrap_or_else(empty_response)) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_headers(NUM_HEADERS).max_header_size(HEAD);
        // However the connection ends, the node opens another one.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }
}
