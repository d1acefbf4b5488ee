//! Flower's messages as a `SuperLink` and a node exchange them.

use effgan_gate::wire::{Empty, FlowerMessage, Metadata, Node, ObjectTree, PullMessagesResponse, PushMessagesRequest};
use prost::Message;

/// The id of an object: 64 hexadecimal digits.
pub(crate) fn object_id(number: u64) -> String {
    format!("{number:064x}")
}

/// A message from the server with this id and type, and with `objects`.
pub(crate) fn message(message_type: &str, id: u64, node: u64, objects: &[u64]) -> PullMessagesResponse {
    let metadata = Metadata {
        run_id: 7,
        message_id: object_id(id),
        src_node_id: 1,
        dst_node_id: node,
        message_type: message_type.into(),
        ttl: 100.0,
        ..Metadata::default()
    };
    let message = FlowerMessage { metadata: Some(metadata), content: Some(Empty {}), error: None };
    PullMessagesResponse { messages_list: vec![message], message_object_trees: vec![tree(id, objects)] }
}

/// The reply to message `to`.
pub(crate) fn reply(message_type: &str, to: u64, node: u64, objects: &[u64]) -> PushMessagesRequest {
    let metadata = Metadata {
        run_id: 7,
        src_node_id: node,
        dst_node_id: 1,
        reply_to_message_id: object_id(to),
        message_type: message_type.into(),
        ttl: 100.0,
        ..Metadata::default()
    };
    let message = FlowerMessage { metadata: Some(metadata), content: Some(Empty {}), error: None };
    sealed(PushMessagesRequest {
        node: Some(Node { node_id: node }),
        messages_list: vec![message],
        message_object_trees: vec![tree(0, objects)],
        clientapp_runtime_list: vec![1.5],
    })
}

/// The request with the id that its message must have.
pub(crate) fn sealed(mut request: PushMessagesRequest) -> PushMessagesRequest {
    let (message, tree) = (&mut request.messages_list[0], &mut request.message_object_trees[0]);
    tree.object_id = message.object_id(&tree.children);
    message.metadata.as_mut().expect("metadata").message_id.clone_from(&tree.object_id);
    request
}

fn tree(root: u64, objects: &[u64]) -> ObjectTree {
    let leaf = |id: &u64| ObjectTree { object_id: object_id(*id), children: vec![] };
    ObjectTree { object_id: object_id(root), children: objects.iter().map(leaf).collect() }
}

/// A `PushObjectRequest` as Flower writes it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PushObject {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(uint64, tag = "2")]
    pub run_id: u64,
    #[prost(string, tag = "3")]
    pub object_id: String,
    #[prost(bytes = "vec", tag = "4")]
    pub object_content: Vec<u8>,
    #[prost(string, tag = "5")]
    pub session_id: String,
}

pub(crate) fn object(node: u64, id: u64, content: Vec<u8>) -> PushObject {
    let session_id = "session".into();
    PushObject {
        node: Some(Node { node_id: node }),
        run_id: 7,
        object_id: object_id(id),
        object_content: content,
        session_id,
    }
}
