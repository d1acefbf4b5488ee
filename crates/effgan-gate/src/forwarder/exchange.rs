//! One request of the site's node and the gate's response: checks what leaves the site, and what enters it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use tokio::time::timeout;

use super::app_check::{Bundle, check_fab, check_run};
use super::connection_log::ConnectionLog;
use super::destination::Destination;
use crate::Log;
use crate::address::ServerAddress;
use crate::body::{self, Body, DrainedBody, MAX_BODY_TIME, MAX_SILENCE, TimedBody, full};
use crate::connect_error::ConnectError;
use crate::connector::Connector;
use crate::endpoint::{Endpoint, MAX_PUSH_MESSAGES};
use crate::entry_count::EntryCounts;
use crate::error::GateError;
use crate::headers::{passed_on, response};
use crate::rate_limited_log::RateLimitedLog;
use crate::request_check::node_state::max_objects;
use crate::wire::PushMessagesRequest;

/// Default for the maximum number of bytes of one message from the server.
pub const MAX_MESSAGE: u64 = 1 << 30;
/// How long an idle connection to the gate is kept; shorter than the gate's limit, so that no request is sent on a closed connection.
const GATE_IDLE: Duration = Duration::from_mins(1);

/// Forwards requests of the node to the gate, and the gate's responses to the node.
pub(super) struct Exchange {
    gate: Client<Connector, Body>,
    address: ServerAddress,
    bundle: Bundle,
    max_message: u64,
    /// Bytes that may still be pulled of the current message.
    bytes_left: AtomicU64,
    connection_log: ConnectionLog,
    refusals: RateLimitedLog,
    log: Log,
}

impl Exchange {
    pub(super) fn new(destination: Destination, bundle: Bundle, max_message: u64, log: Log) -> Result<Self, GateError> {
        let gate = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(GATE_IDLE)
            .build(destination.connector()?);
        let connection_log = ConnectionLog::new(&destination);
        let (bytes_left, refusals) = Default::default();
        Ok(Self { gate, address: destination.server, bundle, max_message, bytes_left, connection_log, refusals, log })
    }

    /// Forwards a request, and returns the gate's response.
    ///
    /// # Errors
    /// The status of a request or a response that is refused here.
    pub(super) async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, StatusCode> {
        let (head, body) = request.map(DrainedBody::new).into_parts();
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let endpoint = Endpoint::of(head.method.as_str(), target).ok_or(StatusCode::NOT_FOUND)?;
        let length = head.headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
        if length.is_none_or(|length: u64| length > endpoint.max_request()) {
            return Err(self.refuse("a request with too many bytes"));
        }
        let body = match endpoint {
            Endpoint::PushMessages => {
                let bytes = body::read(body, MAX_PUSH_MESSAGES).await.map_err(|_| StatusCode::BAD_REQUEST)?;
                if !may_leave(&bytes) {
                    let why = "a reply that cannot be parsed, or an error whose words must stay at the site";
                    return Err(self.refuse(&format!("{why}; the server is not told")));
                }
                full(bytes)
            }
            _ => TimedBody::new(body).boxed_unsync(),
        };
        let received = self.send(endpoint, passed_on(&head.headers), body).await?;
        self.receive(endpoint, received).await
    }

    async fn send(&self, endpoint: Endpoint, headers: HeaderMap, body: Body) -> Result<Response<Incoming>, StatusCode> {
        let authority = self.address.to_string();
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query(endpoint.path()).build();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.map_err(|_| StatusCode::BAD_GATEWAY)?;
        *request.headers_mut() = headers;
        let sent = timeout(MAX_BODY_TIME + MAX_SILENCE, self.gate.request(request)).await;
        let error = match sent {
            Ok(Ok(received)) => {
                self.log(self.connection_log.responded(received.status()));
                return Ok(received);
            }
            Ok(Err(error)) => ConnectError::of(&error),
            Err(_) => ConnectError::Unreachable("no answer".into()),
        };
        self.log(self.connection_log.failed(error));
        Err(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The part of a response that may enter the site.
    async fn receive(&self, endpoint: Endpoint, received: Response<Incoming>) -> Result<Response<Body>, StatusCode> {
        let (head, body) = received.into_parts();
        let is_ok = head.status == StatusCode::OK;
        let body = match endpoint {
            Endpoint::PullObject if is_ok => self.receive_object(body)?,
            _ => full(self.receive_whole(endpoint, is_ok, body).await?),
        };
        Ok(response(head.status, &head.headers, body))
    }

    async fn receive_whole(&self, endpoint: Endpoint, is_ok: bool, body: Incoming) -> Result<Bytes, StatusCode> {
        let bytes = body::read(body, endpoint.max_response()).await;
        let bytes = bytes.map_err(|_| self.refuse("a response with too many bytes, or one that ended early"))?;
        let checked = match endpoint {
            Endpoint::GetFab if is_ok => check_fab(&bytes, &self.bundle),
            Endpoint::GetRun if is_ok => check_run(&bytes),
            Endpoint::PullMessages if is_ok => self.receive_messages(&bytes),
            _ => Ok(()),
        };
        checked.map_err(|why| self.refuse(why))?;
        Ok(bytes)
    }

    /// Checks a `pull-messages` response; the message in it, if any, may then have `max_message` bytes of objects.
    fn receive_messages(&self, bytes: &Bytes) -> Result<(), &'static str> {
        let counts = EntryCounts::of(bytes).filter(EntryCounts::is_at_most_one_message);
        let counts = counts.ok_or("messages that cannot be parsed, or more than one")?;
        if counts.objects > max_objects(self.max_message) {
            return Err("a message with too many objects");
        }
        if counts.messages > 0 {
            self.bytes_left.store(self.max_message, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Passes on an object of the current message, within what is left of its bytes.
    fn receive_object(&self, body: Incoming) -> Result<Body, StatusCode> {
        let bytes = body.size_hint().exact().filter(|bytes| *bytes <= Endpoint::PullObject.max_response());
        let bytes = bytes.ok_or_else(|| self.refuse("an object with too many bytes"))?;
        let take = |left: u64| left.checked_sub(bytes);
        let fits = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if !fits {
            return Err(self.refuse("a message with too many bytes"));
        }
        Ok(TimedBody::new(body).boxed_unsync())
    }

    /// Logs a refusal. To the node its status means that the run has ended: it drops the message and continues.
    fn refuse(&self, why: &str) -> StatusCode {
        self.log(self.refusals.line(|| format!("refused: {why}")));
        StatusCode::FORBIDDEN
    }

    fn log(&self, line: Option<String>) {
        if let Some(line) = line {
            (self.log)(&line);
        }
    }
}

/// The errors that may leave the site: Flower's and those of effgan's executor. None reveals anything about the site.
pub const ALLOWED_ERRORS: [&str; 4] = [
    "",
    "ClientApp stopped responding.",
    "the site's app failed; its own log says why",
    "this site runs effgan and no agent",
];

/// Whether a `push-messages` request can be parsed and its errors, if any, are in [`ALLOWED_ERRORS`].
// Flower puts an exception's message into the reply, and that may name files.
fn may_leave(bytes: &Bytes) -> bool {
    let is_one = EntryCounts::of(bytes).is_some_and(|counts| counts.is_one_message());
    let Some(Ok(request)) = is_one.then(|| PushMessagesRequest::decode(bytes.clone())) else { return false };
    let mut errors = request.messages_list.iter().filter_map(|message| message.error.as_ref());
    errors.all(|error| ALLOWED_ERRORS.contains(&error.reason.as_str()))
}
