//! One request of an admitted site: checked, passed on to the `SuperLink`, and its response passed back.

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use prost::Message;

use super::Shared;
use super::session::Session;
use super::superlink::{incomplete_body, unreadable_response};
use crate::body::{self, Body, DrainedBody, TimedBody, full};
use crate::endpoint::{Endpoint, MAX_PULL_MESSAGES};
use crate::entry_count::EntryCounts;
use crate::headers::{passed_on, response};
use crate::object_body::ObjectBody;
use crate::request_check::{Accepted, Effect, Refusal, SiteIdentity, check_body, check_head};
use crate::sites::Site;
use crate::wire::{NodeId, PullMessagesResponse};

impl Shared {
    /// Passes a request of `site` on to the `SuperLink`.
    pub(super) async fn relay(
        &self,
        site: &Site,
        session: &Session,
        request: Request<DrainedBody>,
    ) -> Result<Response<Body>, Refusal> {
        let key = site.key.as_ref().ok_or(Refusal::new(StatusCode::UNAUTHORIZED, "no key"))?;
        let identity = SiteIdentity::new(site.name.clone(), key, self.limits.max_reply);
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let (endpoint, length) = check_head(&identity, head.method.as_str(), target, &head.headers)?;
        let headers = passed_on(&head.headers);
        if endpoint == Endpoint::PushObject {
            let body = checked_object(&identity, session, length, body).await?;
            return Ok(streamed(self.superlink.send(endpoint, headers, body).await?));
        }
        let body = checked_body(&identity, session, endpoint, body).await?;
        match endpoint {
            Endpoint::ActivateNode => self.activate(&identity, session, headers, body).await,
            Endpoint::PullMessages => self.pull(session, headers, body).await,
            _ => Ok(streamed(self.superlink.send(endpoint, headers, full(body)).await?)),
        }
    }

    /// Activates a node. When the node's key is not registered with Flower yet, the gate registers it and sends the request again.
    async fn activate(
        &self,
        site: &SiteIdentity,
        session: &Session,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Refusal> {
        let send = |headers| self.superlink.send(Endpoint::ActivateNode, headers, full(body.clone()));
        let mut received = send(headers.clone()).await?;
        if received.status() == StatusCode::PRECONDITION_FAILED {
            if self.superlink.register(site.pem()).await? {
                self.log(&format!("{}: its key is registered with Flower", site.name));
            }
            received = send(headers).await?;
            if received.status() == StatusCode::PRECONDITION_FAILED {
                // Flower counts a node that did not deactivate as connected for a minute. The new node would end if this
                // status were passed on, so it gets one after which it retries.
                let reason = "its previous node still counts as connected; the new one retries for up to a minute";
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason));
            }
        }
        let (bytes, received) = buffered(received).await?;
        if received.status() == StatusCode::OK {
            let id = NodeId::decode(bytes).map_err(|_| unreadable_response())?.node_id;
            session.node().activate(id);
            self.write_state();
            self.log(&format!("{} connected", site.name));
        }
        Ok(received)
    }

    /// Pulls a node's messages, which the node may then fetch, confirm and reply to.
    async fn pull(&self, session: &Session, headers: HeaderMap, body: Bytes) -> Result<Response<Body>, Refusal> {
        let received = self.superlink.send(Endpoint::PullMessages, headers, full(body)).await?;
        let (bytes, received) = buffered(received).await?;
        if received.status() == StatusCode::OK {
            let counts = EntryCounts::of(&bytes);
            counts.filter(EntryCounts::is_at_most_one_message).ok_or_else(unreadable_response)?;
            let messages = PullMessagesResponse::decode(bytes).map_err(|_| unreadable_response())?;
            let is_any = session.node().pull(&messages);
            if is_any {
                self.write_state();
            }
        }
        Ok(received)
    }
}

/// Reads and checks the whole body of a request.
async fn checked_body(
    site: &SiteIdentity,
    session: &Session,
    endpoint: Endpoint,
    body: DrainedBody,
) -> Result<Bytes, Refusal> {
    let body = body::read(body, endpoint.max_request()).await.map_err(|_| incomplete_body())?;
    let checked = check(site, session, endpoint, body.len() as u64, &body);
    Ok(checked.ok_or(incomplete_body())??.body.into())
}

/// Reads and checks the start of an object. Returns a body of that start and of the rest, which is still arriving.
async fn checked_object(
    site: &SiteIdentity,
    session: &Session,
    length: u64,
    body: DrainedBody,
) -> Result<Body, Refusal> {
    let mut rest = TimedBody::new(body);
    let mut early = Vec::new();
    let accepted = loop {
        if let Some(checked) = check(site, session, Endpoint::PushObject, length, &early) {
            break checked?;
        }
        let frame = rest.frame().await.and_then(Result::ok).ok_or(incomplete_body())?;
        early.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
    };
    let Accepted { body: head, effect: Effect::Object { content, tail, .. }, .. } = accepted else {
        return Err(incomplete_body());
    };
    let early = Bytes::from(early).slice(head.len()..);
    Ok(ObjectBody::new(head, early, rest, content, tail).boxed_unsync())
}

/// Checks a body, and notes what it means for the node's later requests; `None` when more of an object is needed.
fn check(
    site: &SiteIdentity,
    session: &Session,
    endpoint: Endpoint,
    length: u64,
    body: &[u8],
) -> Option<Result<Accepted, Refusal>> {
    let mut node = session.node();
    let checked = check_body(site, &node, endpoint, length, body)?;
    Some(checked.map(|mut accepted| {
        match &mut accepted.effect {
            Effect::None => {}
            Effect::Reply(reply) => node.announce(std::mem::take(reply)),
            Effect::Object { id, content, .. } => node.push(id, *content),
        }
        accepted
    }))
}

/// A response that is passed back as it arrives.
fn streamed(received: Response<Incoming>) -> Response<Body> {
    let (head, body) = received.into_parts();
    response(head.status, &head.headers, TimedBody::new(body).boxed_unsync())
}

/// A response whose bytes the gate reads first.
async fn buffered(received: Response<Incoming>) -> Result<(Bytes, Response<Body>), Refusal> {
    let (head, body) = received.into_parts();
    let bytes = body::read(body, MAX_PULL_MESSAGES).await.map_err(|_| unreadable_response())?;
    Ok((bytes.clone(), response(head.status, &head.headers, full(bytes))))
}
