//! The server's end: the one port that the network reaches. A stranger's handshake fails, and reveals nothing.

mod connections;
mod handshakes;
mod relay;
mod session;
mod sessions;
mod superlink;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{interval, sleep};
use tokio_rustls::TlsAcceptor;

use self::handshakes::Handshakes;
use self::sessions::Sessions;
use self::superlink::SuperLink;
use crate::Log;
use crate::error::GateError;
use crate::gate_limits::Limits;
use crate::gate_state::GATE_STATE;
use crate::listener::{listener, raise_file_limit};
use crate::rate_limited_log::RateLimitedLog;
use crate::sites::SITES;
use crate::tls;
use crate::watched_sites::WatchedSites;

/// How a gate is started.
#[derive(Clone, Debug)]
pub struct GateConfig {
    /// The server folder, with `sites.toml`, `ca.crt`, `server.crt` and `server.key`; `gate.json` is written there.
    pub folder: PathBuf,
    /// Address to listen on; `None` for all addresses.
    pub address: Option<IpAddr>,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Port of the `SuperLink` on 127.0.0.1.
    pub superlink_port: u16,
    /// Limits on what is accepted from any caller.
    pub limits: Limits,
}

/// A gate whose port is open.
pub struct Gate {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all connections share.
struct Shared {
    limits: Limits,
    sites: Arc<WatchedSites>,
    sessions: Sessions,
    superlink: SuperLink,
    acceptor: TlsAcceptor,
    handshakes: Handshakes,
    connections: AtomicUsize,
    refused_strangers: RateLimitedLog,
    refused_requests: RateLimitedLog,
    log: Log,
}

/// How often `gate.json` is written when only a time in it has changed.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the stop flag is checked.
const POLL: Duration = Duration::from_millis(100);
/// How long a refused client may take to read the reason.
const FAREWELL: Duration = Duration::from_secs(1);

impl Gate {
    /// Opens the port.
    ///
    /// # Errors
    /// When a file of the folder is invalid, or the port cannot be opened.
    pub fn bind(config: GateConfig, log: Log) -> Result<Self, GateError> {
        let GateConfig { folder, address, port, superlink_port, limits } = config;
        let sites = Arc::new(WatchedSites::open(&folder.join(SITES))?);
        let acceptor = TlsAcceptor::from(Arc::new(tls::gate(&folder, Arc::clone(&sites))?));
        let superlink = SuperLink::new(superlink_port, tls::client(&folder.join("ca.crt"), None)?)?;
        let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        let addresses: Vec<SocketAddr> = match address {
            Some(address) => vec![(address, port).into()],
            None => all.map(|address| (address, port).into()).to_vec(),
        };
        let sessions = Sessions::open(folder.join(GATE_STATE))?;
        let (handshakes, refused_strangers, refused_requests) = Default::default();
        let connections = AtomicUsize::new(0);
        let shared = Shared {
            limits,
            sites,
            sessions,
            superlink,
            acceptor,
            handshakes,
            connections,
            refused_strangers,
            refused_requests,
            log,
        };
        Ok(Self { listener: listener(&addresses)?, shared: Arc::new(shared) })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system's error.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves the sites until `stop` becomes true.
    ///
    /// # Errors
    /// When no threads can be started, or `gate.json` cannot be written at the end.
    pub fn run(self, stop: &AtomicBool) -> Result<(), GateError> {
        let wrong = |error| GateError::Listen { address: "the port".into(), error };
        raise_file_limit();
        let runtime = Runtime::new().map_err(wrong)?;
        let shared = Arc::clone(&self.shared);
        runtime
            .block_on(async {
                let listener = tokio::net::TcpListener::from_std(self.listener)?;
                tokio::spawn(Arc::clone(&self.shared).accept_all(listener));
                tokio::spawn(Arc::clone(&self.shared).write_state_regularly());
                while !stop.load(Ordering::Relaxed) {
                    sleep(POLL).await;
                }
                io::Result::Ok(())
            })
            .map_err(wrong)?;
        runtime.shutdown_timeout(FAREWELL);
        shared.sessions.write(&shared.sites.current())
    }
}

impl Shared {
    async fn write_state_regularly(self: Arc<Self>) {
        let mut ticks = interval(WRITE_INTERVAL);
        loop {
            ticks.tick().await;
            self.write_state();
        }
    }

    /// Writes `gate.json`, and logs a failure to do so.
    fn write_state(&self) {
        let written = tokio::task::block_in_place(|| self.sessions.write(&self.sites.current()));
        self.log_changes();
        if let Err(error) = written {
            self.log_refusal(&error.to_string());
        }
    }

    /// Logs what has changed in the list of sites.
    fn log_changes(&self) {
        self.sites.take_changes().iter().for_each(|line| self.log(line));
    }

    fn log(&self, line: &str) {
        (self.log)(line);
    }

    fn log_refusal(&self, line: &str) {
        self.log_limited(&self.refused_requests, || line.to_owned());
    }

    fn log_limited(&self, limited: &RateLimitedLog, line: impl FnOnce() -> String) {
        if let Some(line) = limited.line(line) {
            self.log(&line);
        }
    }
}
