//! Whether a request of an admitted site may be passed on to Flower: a function of the site, its node's earlier requests, and the request.
//!
//! There are no sockets here. The submodules check the endpoint and the length (`head_check.rs`), who the request is from (`body_check.rs`), the
//! metadata of a reply (`reply_check.rs`), and the start of an object (`object_check.rs`).

mod body_check;
mod head_check;
pub mod node_state;
mod object_check;
mod reply_check;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use effgan_data::ClientName;
use hyper::{HeaderMap, StatusCode};
use prost::Message;
use ssh_key::PublicKey;

pub(crate) use self::body_check::check_body;
pub(crate) use self::head_check::check_head;
use self::node_state::{NodeState, PendingReply};
pub use self::object_check::{MAX_AROUND_CONTENT, is_object_tail};
use crate::endpoint::Endpoint;
use crate::entry_count::is_small;
use crate::site_key;
use crate::wire;

/// The site whose key a connection has proved.
#[derive(Clone, Debug)]
pub struct SiteIdentity {
    /// The site's name on the list.
    pub name: ClientName,
    /// Maximum number of bytes of a reply, unless it replies to a `query`.
    pub max_reply: u64,
    pem: String,
    header: String,
}

impl SiteIdentity {
    /// The site `name` with this `key`.
    pub fn new(name: ClientName, key: &PublicKey, max_reply: u64) -> Self {
        let pem = site_key::pem(key);
        Self { name, max_reply, header: STANDARD.encode(&pem), pem }
    }

    /// The key as Flower sends it in a body.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The key as Flower sends it in the header `flwr-public-key`.
    pub fn header(&self) -> &str {
        &self.header
    }
}

/// A request as it arrived.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method, such as `POST`.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The whole body; for `push-object`, as much as has arrived of its first [`MAX_AROUND_CONTENT`] bytes, or more.
    pub body: &'a [u8],
}

/// The result of a check.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// The request is passed on to Flower.
    Accept(Accepted),
    /// The request ends at the gate.
    Refuse(Refusal),
}

/// A request that is passed on to Flower.
#[derive(Debug, PartialEq)]
pub struct Accepted {
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// The body for Flower; for `push-object`, the part before the content.
    pub body: Vec<u8>,
    /// What it allows the node to do next.
    pub effect: Effect,
}

/// What an accepted request means for the node's later requests.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Nothing.
    None,
    /// A reply is announced, whose objects may follow.
    Reply(PendingReply),
    /// An object is about to pass.
    Object {
        /// Its id.
        id: String,
        /// Bytes of its content, which follow [`Accepted::body`].
        content: u64,
        /// Bytes after the content: a [`wire::PushObjectTail`], [`MAX_AROUND_CONTENT`] at most.
        tail: usize,
    },
}

/// A request that ends at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A node of Flower's ends itself at 401, takes 403 for the end of the run, retries at 503, and drops the message at others.
    pub status: StatusCode,
    /// The reason for the log, which puts the site's name before it.
    pub reason: &'static str,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// Checks a whole request.
pub fn check_request(site: &SiteIdentity, node: &NodeState, request: &Request) -> Verdict {
    let Request { method, target, headers, body } = request;
    let checked = check_head(site, method, target, headers).and_then(|(endpoint, length)| {
        check_body(site, node, endpoint, length, body).ok_or_else(|| malformed("the body ends early"))?
    });
    checked.map_or_else(Verdict::Refuse, Verdict::Accept)
}

/// The body for Flower, and its effect.
type Checked = Result<(Vec<u8>, Effect), Refusal>;

/// Decodes a small message.
fn decode<M: Message + Default>(body: &[u8]) -> Result<M, Refusal> {
    if !is_small(body) {
        return Err(not_flowers());
    }
    M::decode(body).map_err(|_| not_flowers())
}

fn node_id(node: Option<wire::Node>) -> Option<u64> {
    node.map(|node| node.node_id)
}

/// Checks that a request names the site's own node.
fn check_node(node: &NodeState, named: Option<u64>) -> Result<(), Refusal> {
    let is_own = node.id.is_some() && named == node.id;
    if is_own { Ok(()) } else { Err(not_the_node("another node's id")) }
}

fn not_flowers() -> Refusal {
    malformed("a body that is not a message of Flower's")
}

fn malformed(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

fn forbidden(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, reason)
}

fn not_the_node(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, reason)
}
