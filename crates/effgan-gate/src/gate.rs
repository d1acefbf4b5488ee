//! The server's half: the one port that the network reaches. A stranger's handshake fails, and he learns nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::body::{Body, Heard, empty};
use crate::book::Book;
use crate::dial::{Dial, Place};
use crate::error::GateError;
use crate::limits::{HEAD, Limits, NUM_HEADERS, Seldom};
use crate::listen::{listener, raise_limit};
use crate::member::Member;
use crate::pass::pass;
use crate::sites::{SITES, Watched};
use crate::state::GATE_STATE;
use crate::tls;
use crate::waiting::Waiting;

/// Where a line of the log goes.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What a gate is started with.
#[derive(Clone, Debug)]
pub struct GateConfig {
    /// The server's folder, with `sites.toml`, `ca.crt`, `server.crt` and `server.key`; `gate.json` is written there.
    pub folder: PathBuf,
    /// Address to listen at; all of them where it is `None`.
    pub address: Option<IpAddr>,
    /// Port to listen at; 0 takes a free one.
    pub port: u16,
    /// Port of the `SuperLink` on 127.0.0.1.
    pub superlink_port: u16,
    /// How much is taken of anybody.
    pub limits: Limits,
}

/// A gate whose port is open.
pub struct Gate {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all connections have in common.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) sites: Arc<Watched>,
    pub(crate) book: Book,
    pub(crate) superlink: Client<Dial, Body>,
    pub(crate) superlink_port: u16,
    acceptor: TlsAcceptor,
    waiting: Waiting,
    connections: AtomicUsize,
    strangers: Seldom,
    refused: Seldom,
    say: Say,
}

/// How often `gate.json` is written when only a time in it is another.
const WRITE: Duration = Duration::from_secs(5);
/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How long one that was refused may take to hear it.
const FAREWELL: Duration = Duration::from_secs(1);
/// A `SuperLink` closes a connection that is idle for 5 s.
const SUPERLINK_IDLE: Duration = Duration::from_secs(3);

impl Gate {
    /// Opens the port.
    ///
    /// # Errors
    /// What is wrong with a file of the folder, or the port.
    pub fn bind(config: GateConfig, say: Say) -> Result<Self, GateError> {
        let GateConfig { folder, address, port, superlink_port, limits } = config;
        let sites = Arc::new(Watched::open(&folder.join(SITES))?);
        let acceptor = TlsAcceptor::from(Arc::new(tls::gate(&folder, Arc::clone(&sites))?));
        let place = Place { host: "127.0.0.1".into(), port: superlink_port };
        let dial = Dial::new(place, tls::caller(&folder.join("ca.crt"), None)?, None)?;
        let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        let addresses: Vec<SocketAddr> = match address {
            Some(address) => vec![(address, port).into()],
            None => all.map(|address| (address, port).into()).to_vec(),
        };
        let book = Book::open(folder.join(GATE_STATE))?;
        let superlink = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(SUPERLINK_IDLE)
            .build(dial);
        let (waiting, strangers, refused) = Default::default();
        let connections = AtomicUsize::new(0);
        let shared = Shared {
            limits,
            sites,
            book,
            superlink,
            superlink_port,
            acceptor,
            waiting,
            connections,
            strangers,
            refused,
            say,
        };
        Ok(Self { listener: listener(&addresses)?, shared: Arc::new(shared) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Lets sites in until `stop` becomes true.
    ///
    /// # Errors
    /// When the system gives no threads, or `gate.json` cannot be written at the end.
    pub fn run(self, stop: &AtomicBool) -> Result<(), GateError> {
        let wrong = |error| GateError::Listen { address: "the port".into(), error };
        raise_limit();
        let runtime = Runtime::new().map_err(wrong)?;
        let shared = Arc::clone(&self.shared);
        runtime
            .block_on(async {
                let listener = tokio::net::TcpListener::from_std(self.listener)?;
                tokio::spawn(Arc::clone(&self.shared).accept_all(listener));
                tokio::spawn(Arc::clone(&self.shared).write_often());
                while !stop.load(Ordering::Relaxed) {
                    sleep(LOOK).await;
                }
                io::Result::Ok(())
            })
            .map_err(wrong)?;
        runtime.shutdown_timeout(FAREWELL);
        shared.book.write(&shared.sites.current())
    }
}

impl Shared {
    async fn accept_all(self: Arc<Self>, listener: tokio::net::TcpListener) {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                // Out of files: those that are open end sooner or later.
                sleep(LOOK).await;
                continue;
            };
            let peer = peer.ip().to_canonical();
            let most = [self.limits.handshakes, self.limits.handshakes_a_peer];
            let start = |number| tokio::spawn(Arc::clone(&self).meet(stream, peer, number)).abort_handle();
            self.waiting.add(peer, most, start);
        }
    }

    async fn meet(self: Arc<Self>, stream: TcpStream, peer: IpAddr, number: u64) {
        let met = timeout(self.limits.handshake, self.shake_hands(stream, peer)).await.ok().flatten();
        // Whoever was ended meanwhile is ended here as well.
        if let (Some((stream, member)), true) = (met, self.waiting.leave(number)) {
            self.serve(stream, member).await;
        }
    }

    async fn shake_hands(&self, stream: TcpStream, peer: IpAddr) -> Option<(TlsStream<TcpStream>, Arc<Member>)> {
        stream.set_nodelay(true).ok()?;
        match self.acceptor.accept(stream).into_fallible().await {
            Ok(stream) => {
                let certificate = stream.get_ref().1.peer_certificates()?.first()?;
                let sites = self.sites.current();
                let member = self.book.member(sites.by_key(&tls::spki(certificate)?)?)?;
                Some((stream, member))
            }
            Err((error, stream)) => {
                self.say_seldom(&self.strangers, || format!("refused {peer}: {error}"));
                hear_out(stream).await;
                None
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, member: Arc<Member>) {
        let all = Counted::new(Arc::clone(&self), |shared| &shared.connections);
        let its = Counted::new(Arc::clone(&member), |member| &member.connections);
        let is_too_many = all.number > self.limits.connections || its.number > self.limits.connections_a_site;
        let service = service_fn(|request| {
            let (shared, member) = (Arc::clone(&self), Arc::clone(&member));
            async move { io::Result::Ok(shared.answer(&member, request, is_too_many).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_headers(NUM_HEADERS)
            .max_header_size(HEAD);
        // Whatever ends a connection, a node makes another.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, member: &Arc<Member>, request: Request<Incoming>, is_too_many: bool) -> Response<Body> {
        let request = request.map(Heard::new);
        let sites = self.sites.current();
        self.say_news();
        let Some(site) = sites.by_key(&member.spki) else {
            return farewell(StatusCode::UNAUTHORIZED);
        };
        member.sees();
        let Limits { requests_a_second, requests_at_once, .. } = self.limits;
        if is_too_many || !member.is_within(requests_a_second, requests_at_once) {
            self.refuse(&format!("{}: more connections or requests than a site may have", site.name));
            return farewell(StatusCode::SERVICE_UNAVAILABLE);
        }
        pass(self, site, member, request).await.unwrap_or_else(|refused| {
            self.refuse(&format!("{}: {}", site.name, refused.reason));
            let ends = refused.status == StatusCode::UNAUTHORIZED;
            if ends { farewell(refused.status) } else { only(refused.status) }
        })
    }

    async fn write_often(self: Arc<Self>) {
        let mut often = interval(WRITE);
        loop {
            often.tick().await;
            self.write();
        }
    }

    /// Writes `gate.json` and says what keeps it from being written.
    pub(crate) fn write(&self) {
        let written = tokio::task::block_in_place(|| self.book.write(&self.sites.current()));
        self.say_news();
        if let Err(error) = written {
            self.refuse(&error.to_string());
        }
    }

    /// What is new in the list.
    fn say_news(&self) {
        self.sites.news().iter().for_each(|line| self.say(line));
    }

    pub(crate) fn say(&self, line: &str) {
        (self.say)(line);
    }

    fn refuse(&self, line: &str) {
        self.say_seldom(&self.refused, || line.to_owned());
    }

    fn say_seldom(&self, seldom: &Seldom, line: impl FnOnce() -> String) {
        if let Some(line) = seldom.line(line) {
            self.say(&line);
        }
    }
}

/// An answer without words.
pub(crate) fn only(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    answer
}

/// The last answer of a connection.
fn farewell(status: StatusCode) -> Response<Body> {
    let mut answer = only(status);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Takes what one who was refused sent already: bytes that nobody read would have the system cut him off before he reads why.
async fn hear_out(mut stream: TcpStream) {
    use tokio::io::AsyncWriteExt;
    let mut bytes = [0; 4096];
    let hear = async {
        stream.shutdown().await?;
        for _ in 0..16 {
            if stream.read(&mut bytes).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // He is gone, or has heard it.
    let _ = timeout(FAREWELL, hear).await;
}

/// One more of a number, for as long as it is there.
pub(crate) struct Counted<T> {
    of: Arc<T>,
    count: fn(&T) -> &AtomicUsize,
    /// How many there were, this one included, when it came.
    pub(crate) number: usize,
}

impl<T> Counted<T> {
    pub(crate) fn new(of: Arc<T>, count: fn(&T) -> &AtomicUsize) -> Self {
        let number = count(&of).fetch_add(1, Ordering::Relaxed) + 1;
        Self { of, count, number }
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        (self.count)(&self.of).fetch_sub(1, Ordering::Relaxed);
    }
}
