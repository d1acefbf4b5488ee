//! What a node may do next, from the messages that it pulled and the reply that it announced.

use std::collections::{BTreeMap, BTreeSet};

use crate::gate_state::PulledMessage;
use crate::wire::{ObjectTree, PullMessagesResponse, PushMessagesRequest};

/// Maximum number of messages that a node may still reply to; it works on one at a time.
const MAX_PULLED: usize = 16;

/// Maximum number of bytes of all objects of a reply to a `query`, which holds a few numbers and words.
pub const MAX_QUERY_BYTES: u64 = 64 << 10;
/// Maximum number of objects of a reply to a `query`.
pub const MAX_QUERY_OBJECTS: usize = 256;

/// Maximum number of objects of a message of `bytes`.
///
/// Flower splits each array into pieces of 5 MiB; a message has further objects for itself, for each of its three records and for each array, one
/// per network. 1,024 leave room for unpacked arrays. There is a limit because each object costs the `ServerApp` a request.
pub fn max_objects(bytes: u64) -> usize {
    1024 + usize::try_from(bytes / (5 << 20)).unwrap_or(usize::MAX >> 1)
}

/// The state of one site's node.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// Flower's id from its last activation; before that no other request passes.
    pub id: Option<u64>,
    /// The messages that it pulled, the newest last.
    pub(crate) pulled: Vec<PulledMessage>,
    /// The objects of the message that it pulled last.
    pullable: BTreeSet<String>,
    /// The reply that it announced last.
    reply: Option<PendingReply>,
}

/// A reply that was announced, whose objects follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PendingReply {
    run_id: u64,
    /// Maximum number of bytes of all its objects.
    max_bytes: u64,
    /// Its objects, and the bytes that have arrived of each.
    objects: BTreeMap<String, u64>,
}

impl NodeState {
    /// The state after a restart of the gate, from `gate.json`.
    pub fn restored(id: u64, pulled: Vec<PulledMessage>) -> Self {
        Self { id: Some(id), pulled, ..Self::default() }
    }

    /// Notes the node's id, as Flower returned it. A new id clears the state.
    pub fn activate(&mut self, id: u64) {
        if self.id != Some(id) {
            *self = Self { id: Some(id), ..Self::default() };
        }
    }

    /// Notes the messages that Flower returned to the node; false when there are none.
    pub fn pull(&mut self, response: &PullMessagesResponse) -> bool {
        for message in response.messages_list.iter().filter_map(|message| message.metadata.as_ref()) {
            self.pulled.push(PulledMessage {
                message_id: message.message_id.clone(),
                run_id: message.run_id,
                message_type: message.message_type.clone(),
            });
        }
        self.pulled.drain(..self.pulled.len().saturating_sub(MAX_PULLED));
        if response.messages_list.is_empty() {
            return false;
        }
        self.pullable = response.message_object_trees.iter().flat_map(|tree| tree.ids().map(str::to_owned)).collect();
        true
    }

    /// Notes that the node has announced a reply, which replaces the one before.
    pub fn announce(&mut self, reply: PendingReply) {
        self.reply = Some(reply);
    }

    /// Notes that an object of `bytes` is about to pass.
    pub fn push(&mut self, object_id: &str, bytes: u64) {
        if let Some(arrived) = self.reply.as_mut().and_then(|reply| reply.objects.get_mut(object_id)) {
            // Not a sum: a node may retry.
            *arrived = bytes.max(*arrived);
        }
    }

    /// The message with this id, if the node has pulled it.
    pub fn pulled_message(&self, message_id: &str) -> Option<&PulledMessage> {
        self.pulled.iter().find(|message| message.message_id == message_id)
    }

    /// Whether the object belongs to the message that the node pulled last.
    pub fn may_pull(&self, object_id: &str) -> bool {
        self.pullable.contains(object_id)
    }

    /// Checks that an object of `bytes` belongs to the announced reply and fits its limit.
    ///
    /// # Errors
    /// The reason why not.
    pub fn may_push(&self, run_id: u64, object_id: &str, bytes: u64) -> Result<(), &'static str> {
        let reply = self.reply.as_ref().filter(|reply| reply.run_id == run_id).ok_or("an object without a reply")?;
        let arrived = reply.objects.get(object_id).ok_or("an object that the reply did not announce")?;
        let others = reply.objects.values().sum::<u64>() - arrived;
        if others.saturating_add(bytes) > reply.max_bytes {
            return Err("a reply with too many bytes");
        }
        Ok(())
    }
}

impl PendingReply {
    /// The reply that a checked request announces; its objects may have `max_bytes` in all.
    pub(crate) fn of(request: &PushMessagesRequest, run_id: u64, max_bytes: u64) -> Self {
        let ids = request.message_object_trees.iter().flat_map(ObjectTree::ids);
        Self { run_id, max_bytes, objects: ids.map(|id| (id.to_owned(), 0)).collect() }
    }
}
