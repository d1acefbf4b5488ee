//! The start and the tail of a `push-object` request, around a content that passes unread.

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use super::node_state::NodeState;
use super::{Checked, Effect, check_node, decode, forbidden, malformed, node_id};
use crate::wire;

/// Maximum number of bytes of a `push-object` request before its content, and after it.
pub const MAX_AROUND_CONTENT: usize = 512;

/// Checks the start of a `push-object` request; `None` when more of it is needed.
// It must be exactly as Flower writes it, each field once and in order: the content is not decoded, so the request cannot be encoded again.
pub(super) fn check_object(node: &NodeState, length: u64, body: &[u8]) -> Option<Checked> {
    let body = &body[..body.len().min(MAX_AROUND_CONTENT)];
    if let Some(layout) = Layout::of(body) {
        return Some(layout.check(node, length, body));
    }
    let is_all = body.len() == MAX_AROUND_CONTENT || body.len() as u64 >= length;
    is_all.then(|| Err(malformed("an object that cannot be parsed")))
}

/// Where the parts of a `PushObjectRequest` are.
struct Layout {
    /// End of the fields before the content.
    fields: usize,
    /// Start of the content.
    start: usize,
    /// Bytes of the content.
    content: u64,
}

/// Field number of the content.
const CONTENT: u32 = 4;

impl Layout {
    fn of(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        loop {
            let fields = body.len() - rest.len();
            let (field, wire_type) = decode_key(&mut rest).ok()?;
            let value = decode_varint(&mut rest).ok()?;
            if (field, wire_type) == (CONTENT, WireType::LengthDelimited) {
                return Some(Self { fields, start: body.len() - rest.len(), content: value });
            }
            if wire_type == WireType::LengthDelimited {
                rest = rest.get(usize::try_from(value).ok()?..)?;
            }
        }
    }

    fn check(&self, node: &NodeState, length: u64, body: &[u8]) -> Checked {
        let wrong = || malformed("an object that cannot be parsed");
        let request: wire::PushObjectHead = decode(&body[..self.fields])?;
        let mut head = request.encode_to_vec();
        encode_key(CONTENT, WireType::LengthDelimited, &mut head);
        encode_varint(self.content, &mut head);
        let tail = length.checked_sub(self.start as u64).and_then(|rest| rest.checked_sub(self.content));
        let tail = tail.filter(|tail| *tail <= MAX_AROUND_CONTENT as u64).ok_or_else(wrong)?;
        if head != body[..self.start] || self.content == 0 {
            return Err(wrong());
        }
        check_node(node, node_id(request.node))?;
        node.may_push(request.run_id, &request.object_id, self.content).map_err(forbidden)?;
        Ok((head, Effect::Object { id: request.object_id, content: self.content, tail: tail as usize }))
    }
}

/// Whether `bytes`, all that follows the content of a `push-object` request, are as Flower writes them.
pub fn is_object_tail(bytes: &[u8]) -> bool {
    wire::PushObjectTail::decode(bytes).is_ok_and(|tail| tail.encode_to_vec() == bytes)
}
