//! What the gate says to a request of an admitted site: a function of the site, what its node did before, and the request. No sockets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use effgan_data::ClientName;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::{HeaderMap, StatusCode};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use ssh_key::PublicKey;

use crate::call::Call;
use crate::count::{Announced, is_small};
use crate::key;
use crate::node::{Node, Push, QUERY_BYTES, QUERY_OBJECTS, most_objects};
use crate::wire;

/// Flower's number for the server.
pub const SUPERLINK: u64 = 1;
/// The header in which a node says its key.
pub const PUBLIC_KEY: &str = "flwr-public-key";
/// What passes of a request's headers; whatever else it has stays behind.
pub const HEADERS: [&str; 8] = [
    "content-type",
    "accept",
    PUBLIC_KEY,
    "flwr-timestamp",
    "flwr-signature",
    "flwr-package-name",
    "flwr-package-version",
    "flwr-component-name",
];

/// Most bytes of a `push-object` request before its content, and after it.
pub const AROUND: usize = 512;

/// The site whose key a connection has.
#[derive(Clone, Debug)]
pub struct Identity {
    /// From the list.
    pub name: ClientName,
    /// Most bytes of an answer that is none to a `query`.
    pub max_answer: u64,
    pem: String,
    header: String,
}

/// A request as it came.
#[derive(Debug)]
pub struct Request<'a> {
    /// `POST`
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// All of its headers.
    pub headers: &'a HeaderMap,
    /// All of its body; of `push-object` as much as is there of its first [`AROUND`] bytes, or more.
    pub body: &'a [u8],
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It goes on to Flower.
    Pass(Passed),
    /// It ends here.
    Refuse(Refused),
}

/// What goes on.
#[derive(Debug, PartialEq)]
pub struct Passed {
    /// Which one it is.
    pub call: Call,
    /// The body that Flower is sent; of `push-object` what comes before the content.
    pub body: Vec<u8>,
    /// What is to be noted of it.
    pub note: Note,
}

/// What a request means for those that follow it.
#[derive(Debug, PartialEq)]
pub enum Note {
    /// Nothing.
    Nothing,
    /// An answer is announced.
    Answer(Push),
    /// An object is about to pass.
    Object {
        /// Its id.
        id: String,
        /// Bytes of its content, which follow [`Passed::body`].
        content: u64,
        /// Bytes of the request after that: a [`wire::PushObjectTail`], [`AROUND`] at most.
        tail: usize,
    },
}

/// A request that ends at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A node of Flower's takes 401 for its end, 403 for the end of the run, tries again after 503, and gives up a message at others.
    pub status: StatusCode,
    /// What the log says: the site's name stands before it.
    pub reason: &'static str,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

impl Identity {
    /// The site `name` with this `key`.
    pub fn new(name: ClientName, key: &PublicKey, max_answer: u64) -> Self {
        let pem = key::pem(key);
        Self { name, max_answer, header: STANDARD.encode(&pem), pem }
    }

    /// The key as Flower sends it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The key as it stands in [`PUBLIC_KEY`].
    pub fn header(&self) -> &str {
        &self.header
    }
}

/// The verdict on a whole request.
pub fn decide(site: &Identity, node: &Node, request: &Request) -> Verdict {
    let Request { method, target, headers, body } = request;
    let decided = head(site, method, target, headers).and_then(|(call, length)| {
        self::body(site, node, call, length, body).ok_or_else(|| bad("its body ends early"))?
    });
    decided.map_or_else(Verdict::Refuse, Verdict::Pass)
}

/// Which call a request is, and the length of its body, by its first lines alone.
pub(crate) fn head(site: &Identity, method: &str, target: &str, headers: &HeaderMap) -> Result<(Call, u64), Refused> {
    let call = Call::of(method, target).ok_or(Refused::new(StatusCode::NOT_FOUND, "a path that no node needs"))?;
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(bad("a body of unknown length"));
    }
    let length = one(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    let length: u64 = length.ok_or_else(|| bad("a body of unknown length"))?;
    // A probe.
    if length == 0 {
        return Err(bad("it asks whether it is admitted"));
    }
    if length > call.most() {
        // 413 would end the node; 403 ends the message.
        return Err(Refused::new(StatusCode::FORBIDDEN, "a request of more bytes than one may have"));
    }
    if one(headers, PUBLIC_KEY) != Some(site.header()) {
        return Err(not_the_node("another key in its header than in TLS"));
    }
    Ok((call, length))
}

/// What passes of a `body` of `length` bytes; `None` when a `push-object` request needs more of it.
pub(crate) fn body(
    site: &Identity,
    node: &Node,
    call: Call,
    length: u64,
    body: &[u8],
) -> Option<Result<Passed, Refused>> {
    let checked = match call {
        Call::PushObject => object(node, length, body)?,
        Call::PushMessages => answer(site, node, body),
        Call::ActivateNode => activation(site, body).map(|request| quiet(&request)),
        Call::DeactivateNode => {
            named(node, body, |request: &wire::NodeId| Some(request.node_id)).map(|request| quiet(&request))
        }
        Call::SendNodeHeartbeat => named(node, body, |request: &wire::SendNodeHeartbeatRequest| id(request.node))
            .map(|request| quiet(&request)),
        Call::PullMessages => {
            named(node, body, |request: &wire::PullMessagesRequest| id(request.node)).map(|request| quiet(&request))
        }
        Call::GetRun => {
            named(node, body, |request: &wire::GetRunRequest| id(request.node)).map(|request| quiet(&request))
        }
        Call::GetFab => {
            named(node, body, |request: &wire::GetFabRequest| id(request.node)).map(|request| quiet(&request))
        }
        Call::PullObject => pull(node, body).map(|request| quiet(&request)),
        Call::ConfirmMessageReceived => confirmation(node, body).map(|request| quiet(&request)),
    };
    Some(checked.map(|(body, note)| Passed { call, body, note }))
}

/// A request that says the node's number and what it asks for.
fn named<M: Message + Default>(node: &Node, body: &[u8], id: impl Fn(&M) -> Option<u64>) -> Result<M, Refused> {
    let request: M = decode(body)?;
    is_node(node, id(&request))?;
    Ok(request)
}

fn id(node: Option<wire::Node>) -> Option<u64> {
    node.map(|node| node.node_id)
}

fn quiet(request: &impl Message) -> (Vec<u8>, Note) {
    (request.encode_to_vec(), Note::Nothing)
}

fn activation(site: &Identity, body: &[u8]) -> Result<wire::ActivateNodeRequest, Refused> {
    let request: wire::ActivateNodeRequest = decode(body)?;
    if request.public_key != site.pem.as_bytes() {
        return Err(not_the_node("another key in its activation than in TLS"));
    }
    Ok(request)
}

fn pull(node: &Node, body: &[u8]) -> Result<wire::PullObjectRequest, Refused> {
    let request = named(node, body, |request: &wire::PullObjectRequest| id(request.node))?;
    let may = node.may_pull(&request.object_id);
    may.then_some(request).ok_or_else(|| forbidden("an object that belongs to no message of its own"))
}

fn confirmation(node: &Node, body: &[u8]) -> Result<wire::ConfirmMessageReceivedRequest, Refused> {
    let request = named(node, body, |request: &wire::ConfirmMessageReceivedRequest| id(request.node))?;
    let its_own = node.question(&request.message_object_id).is_some();
    its_own.then_some(request).ok_or_else(|| forbidden("a message that is not its own"))
}

/// Flower itself checks no more than that the number in the request is the signer's: not who the message says it is from, nor to whom.
fn answer(site: &Identity, node: &Node, body: &[u8]) -> Result<(Vec<u8>, Note), Refused> {
    let announced = Announced::of(body).ok_or_else(unreadable)?;
    if !announced.is_one() {
        return Err(bad("not one message with one tree of objects"));
    }
    is_node(node, announced.node)?;
    if announced.objects > most_objects(site.max_answer) {
        return Err(forbidden("an answer of more objects than one may have"));
    }
    let request: wire::PushMessagesRequest = decode(body)?;
    let ([message], [tree]) = (&request.messages_list[..], &request.message_object_trees[..]) else {
        return Err(unreadable());
    };
    let about = message.metadata.as_ref().ok_or_else(|| bad("a message without metadata"))?;
    if Some(about.src_node_id) != node.id {
        return Err(forbidden("a message in the name of another"));
    }
    if about.dst_node_id != SUPERLINK {
        return Err(forbidden("a message to another than the server"));
    }
    let question = node.question(&about.reply_to_message_id);
    let question = question.ok_or_else(|| forbidden("a message that answers none of its own"))?;
    if question.run_id != about.run_id || question.message_type != about.message_type {
        return Err(forbidden("an answer of another type or run than the message"));
    }
    if !tree.ids().all(is_object_id) {
        return Err(bad("objects whose ids are none"));
    }
    if tree.object_id != about.message_id || message.object_id(&tree.children) != about.message_id {
        return Err(forbidden("a message whose object says something else"));
    }
    let is_query = about.message_type == "query" || about.message_type.starts_with("query.");
    if is_query && tree.ids().count() > QUERY_OBJECTS {
        return Err(forbidden("an answer to a query of more objects than one may have"));
    }
    let most = if is_query { QUERY_BYTES.min(site.max_answer) } else { site.max_answer };
    let push = Push::of(&request, about.run_id, most);
    Ok((request.encode_to_vec(), Note::Answer(push)))
}

/// The start of a `push-object` request, which must be as Flower writes it: each field once, in order of their numbers. Its content
/// passes unread.
fn object(node: &Node, length: u64, body: &[u8]) -> Option<Result<(Vec<u8>, Note), Refused>> {
    let body = &body[..body.len().min(AROUND)];
    if let Some(head) = ObjectHead::of(body) {
        return Some(head.check(node, length, body));
    }
    let is_all = body.len() == AROUND || body.len() as u64 >= length;
    is_all.then(|| Err(bad("an object that cannot be read")))
}

/// Where the parts of a `PushObjectRequest` lie.
struct ObjectHead {
    /// End of the fields before the content.
    fields: usize,
    /// Start of the content.
    end: usize,
    /// Bytes of the content.
    content: u64,
}

/// The number of the field that is the content.
const CONTENT: u32 = 4;

impl ObjectHead {
    fn of(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        loop {
            let fields = body.len() - rest.len();
            let (field, wire_type) = decode_key(&mut rest).ok()?;
            let value = decode_varint(&mut rest).ok()?;
            if (field, wire_type) == (CONTENT, WireType::LengthDelimited) {
                return Some(Self { fields, end: body.len() - rest.len(), content: value });
            }
            if wire_type == WireType::LengthDelimited {
                rest = rest.get(usize::try_from(value).ok()?..)?;
            }
        }
    }

    fn check(&self, node: &Node, length: u64, body: &[u8]) -> Result<(Vec<u8>, Note), Refused> {
        let unreadable = || bad("an object that cannot be read");
        let request: wire::PushObjectHead = decode(&body[..self.fields])?;
        let mut head = request.encode_to_vec();
        encode_key(CONTENT, WireType::LengthDelimited, &mut head);
        encode_varint(self.content, &mut head);
        let tail = length.checked_sub(self.end as u64).and_then(|rest| rest.checked_sub(self.content));
        let tail = tail.filter(|tail| *tail <= AROUND as u64).ok_or_else(unreadable)?;
        if head != body[..self.end] || self.content == 0 {
            return Err(unreadable());
        }
        is_node(node, id(request.node))?;
        node.may_push(request.run_id, &request.object_id, self.content).map_err(forbidden)?;
        Ok((head, Note::Object { id: request.object_id, content: self.content, tail: tail as usize }))
    }
}

/// Whether the end of a `push-object` request, all that follows its content, is as Flower writes it.
pub fn is_tail(bytes: &[u8]) -> bool {
    wire::PushObjectTail::decode(bytes).is_ok_and(|tail| tail.encode_to_vec() == bytes)
}

fn is_node(node: &Node, said: Option<u64>) -> Result<(), Refused> {
    let its = node.id.is_some() && said == node.id;
    if its { Ok(()) } else { Err(not_the_node("another node's number")) }
}

fn decode<M: Message + Default>(body: &[u8]) -> Result<M, Refused> {
    if !is_small(body) {
        return Err(unreadable());
    }
    M::decode(body).map_err(|_| unreadable())
}

fn unreadable() -> Refused {
    bad("a body that is no message of Flower's")
}

/// SHA-256, in lower-case hexadecimal.
fn is_object_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The value of a header that stands there once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn bad(reason: &'static str) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, reason)
}

fn forbidden(reason: &'static str) -> Refused {
    Refused::new(StatusCode::FORBIDDEN, reason)
}

fn not_the_node(reason: &'static str) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, reason)
}
