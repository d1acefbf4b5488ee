//! The body of a request: it must name the site's own node, and only ask for what the node was sent.

use prost::Message;

use super::node_state::NodeState;
use super::object_check::check_object;
use super::reply_check::check_reply;
use super::{Accepted, Checked, Effect, Refusal, SiteIdentity, check_node, decode, forbidden, node_id, not_the_node};
use crate::endpoint::Endpoint;
use crate::wire;

/// Checks a `body` of `length` bytes; `None` when more of a `push-object` request is needed.
pub(crate) fn check_body(
    site: &SiteIdentity,
    node: &NodeState,
    endpoint: Endpoint,
    length: u64,
    body: &[u8],
) -> Option<Result<Accepted, Refusal>> {
    let checked = match endpoint {
        Endpoint::PushObject => check_object(node, length, body)?,
        Endpoint::PushMessages => check_reply(site, node, body),
        Endpoint::ActivateNode => re_encoded(check_activation(site, body)),
        Endpoint::DeactivateNode => re_encoded(of_node(node, body, |request: &wire::NodeId| Some(request.node_id))),
        Endpoint::SendNodeHeartbeat => {
            re_encoded(of_node(node, body, |request: &wire::SendNodeHeartbeatRequest| node_id(request.node)))
        }
        Endpoint::PullMessages => {
            re_encoded(of_node(node, body, |request: &wire::PullMessagesRequest| node_id(request.node)))
        }
        Endpoint::GetRun => re_encoded(of_node(node, body, |request: &wire::GetRunRequest| node_id(request.node))),
        Endpoint::GetFab => re_encoded(of_node(node, body, |request: &wire::GetFabRequest| node_id(request.node))),
        Endpoint::PullObject => re_encoded(check_pull(node, body)),
        Endpoint::ConfirmMessageReceived => re_encoded(check_confirmation(node, body)),
    };
    Some(checked.map(|(body, effect)| Accepted { endpoint, body, effect }))
}

/// A request without effect, encoded again.
// The gate passes on what it has encoded itself: two readers of one message must not read two things.
fn re_encoded<M: Message>(request: Result<M, Refusal>) -> Checked {
    Ok((request?.encode_to_vec(), Effect::None))
}

/// Decodes a request whose `id` must be that of the site's node.
fn of_node<M: Message + Default>(node: &NodeState, body: &[u8], id: impl Fn(&M) -> Option<u64>) -> Result<M, Refusal> {
    let request: M = decode(body)?;
    check_node(node, id(&request))?;
    Ok(request)
}

fn check_activation(site: &SiteIdentity, body: &[u8]) -> Result<wire::ActivateNodeRequest, Refusal> {
    let request: wire::ActivateNodeRequest = decode(body)?;
    if request.public_key != site.pem().as_bytes() {
        return Err(not_the_node("another key in the activation than in TLS"));
    }
    Ok(request)
}

fn check_pull(node: &NodeState, body: &[u8]) -> Result<wire::PullObjectRequest, Refusal> {
    let request = of_node(node, body, |request: &wire::PullObjectRequest| node_id(request.node))?;
    let may = node.may_pull(&request.object_id);
    may.then_some(request).ok_or_else(|| forbidden("an object that belongs to no message for this site"))
}

fn check_confirmation(node: &NodeState, body: &[u8]) -> Result<wire::ConfirmMessageReceivedRequest, Refusal> {
    let request = of_node(node, body, |request: &wire::ConfirmMessageReceivedRequest| node_id(request.node))?;
    let is_own = node.pulled_message(&request.message_object_id).is_some();
    is_own.then_some(request).ok_or_else(|| forbidden("a message that was not for this site"))
}
