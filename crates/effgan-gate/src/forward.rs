//! The site's half: its `SuperNode` calls 127.0.0.1, and the forwarder alone calls the network. What it takes back is bounded, and no app
//! other than effgan's gets in.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::body::{self, Body, Heard, Timed, full};
use crate::call::{Call, PUSH_MESSAGES};
use crate::count::Announced;
use crate::destination::Destination;
use crate::dial::{Dial, Place};
use crate::error::GateError;
use crate::gate::{Counted, Say, only};
use crate::limits::{HEAD, NUM_HEADERS, Seldom};
use crate::listen::listener;
use crate::news::News;
use crate::node::most_objects;
use crate::pass::{ANSWER_HEADERS, known};
use crate::question::{Bundle, is_our_fab, is_our_run};
use crate::tls;
use crate::wire::PushMessagesRequest;

/// What a forwarder is started with.
#[derive(Clone, Debug)]
pub struct ForwardConfig {
    /// The kit, with `local.crt` and `local.key`.
    pub kit: PathBuf,
    /// Port to listen at on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Who is called.
    pub destination: Destination,
    /// The one app that the site runs.
    pub bundle: Bundle,
    /// Most bytes of one message from the server.
    pub max_question: u64,
}

/// Most bytes of one message from the server, where nothing else is said.
pub const MAX_QUESTION: u64 = 1 << 30;
/// Connections from this machine; a node opens four.
const CONNECTIONS: usize = 64;
/// How long a handshake on this machine may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection of this machine may be idle.
const IDLE: Duration = Duration::from_secs(75);
/// Shorter than the gate's, so that no request meets a connection that just closed.
const GATE_IDLE: Duration = Duration::from_mins(1);
/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// A forwarder whose port is open.
pub struct Forwarder {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    gate: Client<Dial, Body>,
    place: Place,
    acceptor: TlsAcceptor,
    bundle: Bundle,
    max_question: u64,
    /// Bytes that the message which is being pulled may still have.
    room: AtomicU64,
    connections: AtomicUsize,
    news: News,
    refused: Seldom,
    say: Say,
}

impl Forwarder {
    /// Opens the port.
    ///
    /// # Errors
    /// What is wrong with a file of the kit, or the port.
    pub fn bind(config: ForwardConfig, say: Say) -> Result<Self, GateError> {
        let ForwardConfig { kit, port, destination, bundle, max_question } = config;
        let acceptor = acceptor(&kit)?;
        let gate = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(GATE_IDLE)
            .build(destination.dial()?);
        let news = News::new(&destination);
        let shared = Shared {
            gate,
            place: destination.server,
            acceptor,
            bundle,
            max_question,
            room: 0.into(),
            connections: 0.into(),
            news,
            refused: Seldom::default(),
            say,
        };
        let listener = listener(&[(Ipv4Addr::LOCALHOST, port).into()])?;
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Forwards until `stop` becomes true.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn run(self, stop: &AtomicBool) -> Result<(), GateError> {
        let wrong = |error| GateError::Listen { address: "the port".into(), error };
        let runtime = Runtime::new().map_err(wrong)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(wrong)?;
            tokio::spawn(self.shared.accept_all(listener));
            while !stop.load(Ordering::Relaxed) {
                sleep(LOOK).await;
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
                // A socket of systemd's may listen elsewhere.
                Ok((stream, peer)) if peer.ip().to_canonical().is_loopback() => {
                    let connection = Counted::new(Arc::clone(&self), |shared| &shared.connections);
                    if connection.number <= CONNECTIONS {
                        tokio::spawn(Arc::clone(&self).serve(stream, connection));
                    }
                }
                Ok(_) => {}
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, _connection: Counted<Self>) {
        let Ok(Ok(stream)) = timeout(HANDSHAKE, self.acceptor.accept(stream)).await else { return };
        let service = service_fn(|request| {
            let shared = Arc::clone(&self);
            async move { io::Result::Ok(shared.answer(request).await.unwrap_or_else(only)) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_headers(NUM_HEADERS).max_header_size(HEAD);
        // Whatever ends a connection, a node makes another.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    /// The gate's answer, or the status of one of ours.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, StatusCode> {
        let (head, body) = request.map(Heard::new).into_parts();
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let call = Call::of(head.method.as_str(), target).ok_or(StatusCode::NOT_FOUND)?;
        let length = head.headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
        if length.is_none_or(|length: u64| length > call.most()) {
            return Err(self.refuse("a request of more bytes than one may have"));
        }
        let body = match call {
            Call::PushMessages => {
                let bytes = body::read(body, PUSH_MESSAGES).await.map_err(|_| StatusCode::BAD_REQUEST)?;
                if !is_harmless(&bytes) {
                    let why = "an answer that failed, in words that are to stay here, or that cannot be read";
                    return Err(self.refuse(&format!("{why}; the server is not told")));
                }
                full(bytes)
            }
            _ => Timed::new(body).boxed_unsync(),
        };
        let answer = self.ask(call, known(&head.headers), body).await?;
        self.take(call, answer).await
    }

    async fn ask(&self, call: Call, headers: HeaderMap, body: Body) -> Result<Response<Incoming>, StatusCode> {
        let uri = Uri::builder().scheme("https").authority(self.place.to_string()).path_and_query(call.path()).build();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.map_err(|_| StatusCode::BAD_GATEWAY)?;
        *request.headers_mut() = headers;
        let answer = timeout(body::WHOLE + body::SILENCE, self.gate.request(request)).await;
        let trouble = match answer {
            Ok(Ok(answer)) => {
                self.tell(self.news.answered(answer.status()));
                return Ok(answer);
            }
            Ok(Err(error)) => tls::Trouble::of(&error),
            Err(_) => tls::Trouble::Unreachable("no answer".into()),
        };
        self.tell(self.news.failed(trouble));
        Err(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// What the site takes of an answer.
    async fn take(&self, call: Call, answer: Response<Incoming>) -> Result<Response<Body>, StatusCode> {
        let (head, body) = answer.into_parts();
        let is_ok = head.status == StatusCode::OK;
        let body = match call {
            Call::PullObject if is_ok => self.object(body)?,
            _ => full(self.checked(call, is_ok, body).await?),
        };
        let mut taken = only(head.status);
        for name in ANSWER_HEADERS {
            if let Some(value) = head.headers.get(&name) {
                taken.headers_mut().insert(name, value.clone());
            }
        }
        *taken.body_mut() = body;
        Ok(taken)
    }

    async fn checked(&self, call: Call, is_ok: bool, body: Incoming) -> Result<Bytes, StatusCode> {
        let bytes = body::read(body, call.most_answered()).await;
        let bytes =
            bytes.map_err(|_| self.refuse("an answer of more bytes than one may have, or one that ended early"))?;
        let checked = match call {
            Call::GetFab if is_ok => is_our_fab(&bytes, &self.bundle),
            Call::GetRun if is_ok => is_our_run(&bytes),
            Call::PullMessages if is_ok => self.begins(&bytes),
            _ => Ok(()),
        };
        checked.map_err(|why| self.refuse(why))?;
        Ok(bytes)
    }

    /// A message begins, if there is one.
    fn begins(&self, bytes: &Bytes) -> Result<(), &'static str> {
        let announced = Announced::of(bytes).filter(Announced::is_one_or_none);
        let announced = announced.ok_or("messages that cannot be read, or more than one")?;
        if announced.objects > most_objects(self.max_question) {
            return Err("a message of more objects than one may have");
        }
        if announced.messages > 0 {
            self.room.store(self.max_question, Ordering::Relaxed);
        }
        Ok(())
    }

    /// An object of the message, if there is room for it.
    fn object(&self, body: Incoming) -> Result<Body, StatusCode> {
        let bytes = body.size_hint().exact().filter(|bytes| *bytes <= Call::PullObject.most_answered());
        let bytes = bytes.ok_or_else(|| self.refuse("an object of more bytes than one may have"))?;
        let take = |room: u64| room.checked_sub(bytes);
        let is_room = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if !is_room {
            return Err(self.refuse("a message of more bytes than one may have"));
        }
        Ok(Timed::new(body).boxed_unsync())
    }

    /// A node takes it for the end of the run, forgets the message and lives on.
    fn refuse(&self, why: &str) -> StatusCode {
        self.tell(self.refused.line(|| format!("refused: {why}")));
        StatusCode::FORBIDDEN
    }

    fn tell(&self, line: Option<String>) {
        if let Some(line) = line {
            (self.say)(&line);
        }
    }
}

/// What Flower and effgan's executor say of an answer that failed, or of an agent that was not run; none names anything of the site.
pub const HARMLESS: [&str; 4] = [
    "",
    "ClientApp stopped responding.",
    "the site's app failed; its own log says why",
    "this site runs effgan and no agent",
];

/// Whether an answer can be read and fails, if it does, in words of [`HARMLESS`]. Flower would write down what an exception says, and that
/// may name files.
fn is_harmless(bytes: &Bytes) -> bool {
    let is_one = Announced::of(bytes).is_some_and(|announced| announced.is_one());
    let Some(Ok(request)) = is_one.then(|| PushMessagesRequest::decode(bytes.clone())) else { return false };
    let mut errors = request.messages_list.iter().filter_map(|message| message.error.as_ref());
    errors.all(|error| HARMLESS.contains(&error.reason.as_str()))
}
