//! A reply as `push-messages` announces it: from this node, to the server, in reply to a message sent to this node.

use prost::Message;

use super::node_state::{MAX_QUERY_BYTES, MAX_QUERY_OBJECTS, NodeState, PendingReply, max_objects};
use super::{Checked, Effect, SiteIdentity, check_node, decode, forbidden, malformed, not_flowers};
use crate::entry_count::EntryCounts;
use crate::wire;

/// Flower's node id of the server.
const SUPERLINK: u64 = 1;

/// Checks a `push-messages` request.
// Flower itself only checks that the node id in the request is the signer's, not the sender and the recipient that the message names.
pub(super) fn check_reply(site: &SiteIdentity, node: &NodeState, body: &[u8]) -> Checked {
    let counts = EntryCounts::of(body).ok_or_else(not_flowers)?;
    if !counts.is_one_message() {
        return Err(malformed("not one message with one tree of objects"));
    }
    check_node(node, counts.node)?;
    if counts.objects > max_objects(site.max_reply) {
        return Err(forbidden("a reply with too many objects"));
    }
    let request: wire::PushMessagesRequest = decode(body)?;
    let ([message], [tree]) = (&request.messages_list[..], &request.message_object_trees[..]) else {
        return Err(not_flowers());
    };
    let metadata = message.metadata.as_ref().ok_or_else(|| malformed("a message without metadata"))?;
    if Some(metadata.src_node_id) != node.id {
        return Err(forbidden("a message in the name of another node"));
    }
    if metadata.dst_node_id != SUPERLINK {
        return Err(forbidden("a message to another node than the server"));
    }
    let pulled = node.pulled_message(&metadata.reply_to_message_id);
    let pulled = pulled.ok_or_else(|| forbidden("a reply to a message that was not for this site"))?;
    if pulled.run_id != metadata.run_id || pulled.message_type != metadata.message_type {
        return Err(forbidden("a reply with another type or run than the message"));
    }
    if !tree.ids().all(is_object_id) {
        return Err(malformed("objects with invalid ids"));
    }
    // Flower reads the sender of a reply from the object with this id, so the id must be the hash of what was checked here.
    if tree.object_id != metadata.message_id || message.object_id(&tree.children) != metadata.message_id {
        return Err(forbidden("a message whose object says something else"));
    }
    let is_query = metadata.message_type == "query" || metadata.message_type.starts_with("query.");
    if is_query && tree.ids().count() > MAX_QUERY_OBJECTS {
        return Err(forbidden("a reply to a query with too many objects"));
    }
    let max_bytes = if is_query { MAX_QUERY_BYTES.min(site.max_reply) } else { site.max_reply };
    let reply = PendingReply::of(&request, metadata.run_id, max_bytes);
    Ok((request.encode_to_vec(), Effect::Reply(reply)))
}

/// Whether `id` is a SHA-256 in lower-case hexadecimal.
fn is_object_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
