//! Flower's protobuf messages as far as the gate reads them, with Flower's field numbers (the same in 1.41 and 1.42).
//!
//! What is decoded here is encoded again before it is passed on, so that Flower reads exactly what was checked: no field twice, and none that
//! is not in this file.

use prost::Message;
use sha2::{Digest, Sha256};

/// The node that sends a request.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Node {
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ActivateNodeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub public_key: Vec<u8>,
    #[prost(double, tag = "2")]
    pub heartbeat_interval: f64,
}

/// `ActivateNodeResponse` and `DeactivateNodeRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct NodeId {
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct SendNodeHeartbeatRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(double, tag = "2")]
    pub heartbeat_interval: f64,
}

#[derive(Clone, PartialEq, Message)]
pub struct PullMessagesRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(string, repeated, tag = "2")]
    pub message_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PullMessagesResponse {
    #[prost(message, repeated, tag = "2")]
    pub messages_list: Vec<FlowerMessage>,
    #[prost(message, repeated, tag = "3")]
    pub message_object_trees: Vec<ObjectTree>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PushMessagesRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(message, repeated, tag = "2")]
    pub messages_list: Vec<FlowerMessage>,
    #[prost(message, repeated, tag = "3")]
    pub message_object_trees: Vec<ObjectTree>,
    #[prost(double, repeated, tag = "4")]
    pub clientapp_runtime_list: Vec<f64>,
}

/// Flower's `Message`. Its content travels as objects; this only tells whether there is any.
#[derive(Clone, PartialEq, Message)]
pub struct FlowerMessage {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Metadata>,
    #[prost(message, optional, tag = "2")]
    pub content: Option<Empty>,
    #[prost(message, optional, tag = "3")]
    pub error: Option<Error>,
}

impl FlowerMessage {
    /// Computes the id of a message with these `children`: SHA-256 of the object that holds its metadata and its error. Flower verifies an
    /// object's id, and reads metadata and error of a reply from the object.
    pub fn object_id(&self, children: &[ObjectTree]) -> String {
        let metadata = self.metadata.clone().map(|metadata| Metadata { message_id: String::new(), ..metadata });
        let body = Self { metadata, content: None, error: self.error.clone() }.encode_to_vec();
        let children: Vec<&str> = children.iter().map(|child| child.object_id.as_str()).collect();
        let mut object = format!("Message {} {}\0", children.join(","), body.len()).into_bytes();
        object.extend(body);
        Sha256::digest(object).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub struct Error {
    #[prost(sint64, tag = "1")]
    pub code: i64,
    #[prost(string, tag = "2")]
    pub reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(uint64, tag = "1")]
    pub run_id: u64,
    #[prost(string, tag = "2")]
    pub message_id: String,
    #[prost(uint64, tag = "3")]
    pub src_node_id: u64,
    #[prost(uint64, tag = "4")]
    pub dst_node_id: u64,
    #[prost(string, tag = "5")]
    pub reply_to_message_id: String,
    #[prost(string, tag = "6")]
    pub group_id: String,
    #[prost(double, tag = "7")]
    pub ttl: f64,
    #[prost(string, tag = "8")]
    pub message_type: String,
    #[prost(double, tag = "9")]
    pub created_at: f64,
    #[prost(uint64, optional, tag = "10")]
    pub src_task_id: Option<u64>,
    #[prost(uint64, optional, tag = "11")]
    pub dst_task_id: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ObjectTree {
    #[prost(string, tag = "1")]
    pub object_id: String,
    #[prost(message, repeated, tag = "2")]
    pub children: Vec<ObjectTree>,
}

impl ObjectTree {
    /// The ids of this object and of all below it; duplicates occur each time.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let mut rest = vec![self];
        std::iter::from_fn(move || {
            let tree = rest.pop()?;
            rest.extend(&tree.children);
            Some(tree.object_id.as_str())
        })
    }
}

/// A `PushObjectRequest` up to its content.
#[derive(Clone, PartialEq, Message)]
pub struct PushObjectHead {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(uint64, tag = "2")]
    pub run_id: u64,
    #[prost(string, tag = "3")]
    pub object_id: String,
}

/// A `PushObjectRequest` after its content.
#[derive(Clone, PartialEq, Message)]
pub struct PushObjectTail {
    #[prost(string, tag = "5")]
    pub session_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct PullObjectRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(uint64, tag = "2")]
    pub run_id: u64,
    #[prost(string, tag = "3")]
    pub object_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ConfirmMessageReceivedRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(uint64, tag = "2")]
    pub run_id: u64,
    #[prost(string, tag = "3")]
    pub message_object_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetRunRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(uint64, tag = "2")]
    pub run_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetRunResponse {
    #[prost(message, optional, tag = "1")]
    pub run: Option<Run>,
}

/// The fields of Flower's `Run` that a site checks.
#[derive(Clone, PartialEq, Message)]
pub struct Run {
    #[prost(uint64, tag = "1")]
    pub run_id: u64,
    #[prost(string, tag = "16")]
    pub primary_task_type: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetFabRequest {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(string, tag = "2")]
    pub hash_str: String,
    #[prost(uint64, tag = "3")]
    pub run_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetFabResponse {
    #[prost(message, optional, tag = "1")]
    pub fab: Option<Fab>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Fab {
    #[prost(string, tag = "1")]
    pub hash_str: String,
    #[prost(bytes = "vec", tag = "2")]
    pub content: Vec<u8>,
}

/// A request of the Control API, which only the gate calls.
#[derive(Clone, PartialEq, Message)]
pub struct RegisterNodeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub public_key: Vec<u8>,
}
