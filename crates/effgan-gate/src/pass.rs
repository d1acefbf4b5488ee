//! One request of an admitted site: read as far as it must be, decided, passed on to the `SuperLink`, and its answer passed back.

use std::error::Error;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use prost::Message;
use tokio::time::timeout;

use crate::body::{self, Body, Heard, Object, Timed, full};
use crate::call::{Call, PULL_MESSAGES};
use crate::count::Announced;
use crate::decide::{self, HEADERS, Identity, Note, Passed, Refused};
use crate::gate::{Shared, only};
use crate::member::Member;
use crate::sites::Site;
use crate::tls::chain;
use crate::wire::{NodeId, PullMessagesResponse, RegisterNodeRequest};

/// What passes of an answer's headers.
pub(crate) const ANSWER_HEADERS: [HeaderName; 2] =
    [CONTENT_TYPE, HeaderName::from_static("flwr-version-incompatibility-message")];

/// Takes one request of `site` to the `SuperLink`.
pub(crate) async fn pass(
    gate: &Shared,
    site: &Site,
    member: &Arc<Member>,
    request: Request<Heard>,
) -> Result<Response<Body>, Refused> {
    let key = site.key.as_ref().ok_or(Refused::new(StatusCode::UNAUTHORIZED, "no key"))?;
    let identity = Identity::new(site.name.clone(), key, gate.limits.max_answer);
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let (call, length) = decide::head(&identity, head.method.as_str(), target, &head.headers)?;
    let headers = known(&head.headers);
    match call {
        Call::PushObject => {
            let body = object(&identity, member, length, body).await?;
            gate.send(call, headers, body).await
        }
        Call::ActivateNode => {
            activate(gate, &identity, member, headers, whole(&identity, member, call, body).await?).await
        }
        Call::PullMessages => pull(gate, member, headers, whole(&identity, member, call, body).await?).await,
        _ => gate.send(call, headers, full(whole(&identity, member, call, body).await?)).await,
    }
}

/// The checked body of a request, all of it.
async fn whole(site: &Identity, member: &Member, call: Call, body: Heard) -> Result<Bytes, Refused> {
    let body = body::read(body, call.most()).await.map_err(|_| cut_off())?;
    Ok(decided(site, member, call, body.len() as u64, &body).ok_or(cut_off())??.body.into())
}

/// The checked start of an object, with the rest of it to come.
async fn object(site: &Identity, member: &Member, length: u64, body: Heard) -> Result<Body, Refused> {
    let mut rest = Timed::new(body);
    let mut early = Vec::new();
    let passed = loop {
        if let Some(decided) = decided(site, member, Call::PushObject, length, &early) {
            break decided?;
        }
        let frame = rest.frame().await.and_then(Result::ok).ok_or(cut_off())?;
        early.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
    };
    let Passed { body: head, note: Note::Object { content, tail, .. }, .. } = passed else { return Err(cut_off()) };
    let early = Bytes::from(early).slice(head.len()..);
    Ok(Object::new(head, early, rest, content, tail).boxed_unsync())
}

/// The verdict, with what it means for the node's next requests noted.
fn decided(site: &Identity, member: &Member, call: Call, length: u64, body: &[u8]) -> Option<Result<Passed, Refused>> {
    let mut node = member.node();
    let decided = decide::body(site, &node, call, length, body)?;
    Some(decided.map(|mut passed| {
        match &mut passed.note {
            Note::Nothing => {}
            Note::Answer(push) => node.begins(std::mem::take(push)),
            Note::Object { id, content, .. } => node.pushes(id, *content),
        }
        passed
    }))
}

/// A node begins. Flower must know its key, which the list alone says: where it does not, it is told.
async fn activate(
    gate: &Shared,
    site: &Identity,
    member: &Member,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Refused> {
    let mut answer = gate.send(Call::ActivateNode, headers.clone(), full(body.clone())).await?;
    if answer.status() == StatusCode::PRECONDITION_FAILED {
        gate.register(site).await?;
        answer = gate.send(Call::ActivateNode, headers, full(body)).await?;
        if answer.status() == StatusCode::PRECONDITION_FAILED {
            // Flower counts a node that did not say goodbye as connected for a minute; told so, one that is started again would end.
            let reason = "its node of before still counts as connected; it tries again, up to a minute";
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, reason));
        }
    }
    let (bytes, answer) = taken(answer).await?;
    if answer.status() == StatusCode::OK {
        let id = NodeId::decode(bytes).map_err(|_| unreadable())?.node_id;
        member.node().activated(id);
        gate.write();
        gate.say(&format!("{} is here", site.name));
    }
    Ok(answer)
}

/// A node asks what there is, and may pull, confirm and answer what it is told.
async fn pull(gate: &Shared, member: &Member, headers: HeaderMap, body: Bytes) -> Result<Response<Body>, Refused> {
    let (bytes, answer) = taken(gate.send(Call::PullMessages, headers, full(body)).await?).await?;
    if answer.status() == StatusCode::OK {
        Announced::of(&bytes).filter(Announced::is_one_or_none).ok_or_else(unreadable)?;
        let messages = PullMessagesResponse::decode(bytes).map_err(|_| unreadable())?;
        let is_any = member.node().pulled(&messages);
        if is_any {
            gate.write();
        }
    }
    Ok(answer)
}

/// An answer of the `SuperLink` with its bytes.
async fn taken(answer: Response<Body>) -> Result<(Bytes, Response<Body>), Refused> {
    let (head, body) = answer.into_parts();
    let bytes = body::read(body, PULL_MESSAGES).await.map_err(|_| unreadable())?;
    Ok((bytes.clone(), Response::from_parts(head, full(bytes))))
}

impl Shared {
    /// The `SuperLink`'s answer to a checked request.
    async fn send(&self, call: Call, headers: HeaderMap, body: Body) -> Result<Response<Body>, Refused> {
        let answer = self.ask(call.path(), headers, body).await?;
        let mut passed = only(answer.status());
        for name in ANSWER_HEADERS {
            if let Some(value) = answer.headers().get(&name) {
                passed.headers_mut().insert(name, value.clone());
            }
        }
        *passed.body_mut() = Timed::new(answer.into_body()).boxed_unsync();
        Ok(passed)
    }

    /// Tells Flower a key of the list, as `flwr supernode register` does. That it knows it already is fine.
    async fn register(&self, site: &Identity) -> Result<(), Refused> {
        let key = RegisterNodeRequest { public_key: site.pem().as_bytes().to_vec() };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/protobuf"));
        let answer = self.ask("/v1/control/register-node", headers, full(key.encode_to_vec())).await?;
        if answer.status().is_success() {
            self.say(&format!("{}: Flower is told its key", site.name));
        }
        Ok(())
    }

    async fn ask(&self, path: &'static str, headers: HeaderMap, body: Body) -> Result<Response<Incoming>, Refused> {
        let authority = format!("127.0.0.1:{}", self.superlink_port);
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path).build();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.expect("a number and a path of ours are a URI");
        *request.headers_mut() = headers;
        match timeout(body::WHOLE + body::SILENCE, self.superlink.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_of_the_body(&error) => Err(cut_off()),
            Ok(Err(_)) => Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the SuperLink does not answer")),
            Err(_) => Err(Refused::new(StatusCode::GATEWAY_TIMEOUT, "the SuperLink answers too late")),
        }
    }
}

/// Whether it is the site's own request that ended, not the `SuperLink`.
fn is_of_the_body(error: &(dyn Error + 'static)) -> bool {
    chain(error).filter_map(|error| error.downcast_ref::<hyper::Error>()).any(hyper::Error::is_user)
}

/// The headers that Flower reads.
pub(crate) fn known(headers: &HeaderMap) -> HeaderMap {
    let pass = |name| Some((HeaderName::from_static(name), headers.get(name)?.clone()));
    HEADERS.into_iter().filter_map(pass).collect()
}

fn cut_off() -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "a body that ended early, or in something else")
}

fn unreadable() -> Refused {
    Refused::new(StatusCode::BAD_GATEWAY, "the SuperLink says what cannot be read")
}
