//! Counts the entries of a protobuf message without decoding it: a few megabytes may hold millions of empty entries, and each would take a
//! hundred bytes of memory once decoded.

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::wire::Node;

/// Maximum number of entries of a small request; Flower's have three at most.
const MAX_SMALL: usize = 16;
/// Maximum number of entries of a `push-messages` request that are neither node, message nor tree: Flower sends one, the app's running time.
const MAX_OTHERS: usize = 4;
/// Maximum number of bytes of such an entry.
const MAX_OTHER_BYTES: usize = 64;
/// Minimum number of bytes of an object in a tree: its id.
const MIN_OBJECT_BYTES: usize = 66;
/// Maximum number of levels of a tree of objects: a message, its record, the record's arrays and their pieces are four.
const MAX_DEPTH: usize = 8;

/// The entries of a `PushMessagesRequest` or a `PullMessagesResponse`, which share their field numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCounts {
    /// Node id of a request; the last one if there are several.
    pub node: Option<u64>,
    /// Number of messages.
    pub messages: usize,
    /// Number of objects in all trees; duplicates count each time.
    pub objects: usize,
    nodes: usize,
    trees: usize,
    others: usize,
}

impl EntryCounts {
    /// Counts the entries of `body`, without allocating; `None` when it is not as Flower writes it.
    pub fn of(body: &[u8]) -> Option<Self> {
        let mut counts = Self::default();
        for entry in Entries(body) {
            let (number, value) = entry?;
            match number {
                1 => {
                    counts.nodes += 1;
                    counts.node = Some(Node::decode(value).ok()?.node_id);
                }
                2 => counts.messages += 1,
                3 => {
                    counts.trees += 1;
                    counts.objects += objects(value, MAX_DEPTH)?;
                }
                _ if value.len() > MAX_OTHER_BYTES => return None,
                _ => counts.others += 1,
            }
        }
        Some(counts)
    }

    /// Whether there is one message with one tree of objects, and no more besides than Flower sends.
    pub fn is_one_message(&self) -> bool {
        (self.messages, self.trees) == (1, 1) && self.nodes <= 1 && self.others <= MAX_OTHERS
    }

    /// Whether there is one message as above, or nothing.
    pub fn is_at_most_one_message(&self) -> bool {
        self.is_one_message() || *self == Self { node: self.node, nodes: self.nodes.min(1), ..Self::default() }
    }
}

/// Whether a request has at most the entries of a small one.
pub(crate) fn is_small(body: &[u8]) -> bool {
    let mut entries = Entries(body);
    entries.by_ref().take(MAX_SMALL).all(|entry| entry.is_some()) && entries.next().is_none()
}

/// Number of objects in a tree, its root included.
fn objects(tree: &[u8], depth: usize) -> Option<usize> {
    let below = depth.checked_sub(1).filter(|_| tree.len() >= MIN_OBJECT_BYTES)?;
    let mut children = Entries(tree).filter(|entry| entry.is_none_or(|(number, _)| number == 2));
    children.try_fold(1, |count, child| Some(count + objects(child?.1, below)?))
}

/// Field number and bytes of each entry of a message. `None` is the last item when the rest cannot be parsed, such as groups, which Flower
/// does not use.
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Option<(u32, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_none() {
            self.0 = &[];
        }
        Some(entry)
    }
}

impl<'a> Entries<'a> {
    fn entry(&mut self) -> Option<(u32, &'a [u8])> {
        let (number, wire_type) = decode_key(&mut self.0).ok()?;
        let start = self.0;
        let length = match wire_type {
            WireType::Varint => {
                decode_varint(&mut self.0).ok()?;
                let length = start.len() - self.0.len();
                self.0 = start;
                length
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut self.0).ok()?).ok()?,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((number, value))
    }
}
