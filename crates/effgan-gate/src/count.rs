//! What a body holds, counted where it lies: one of a few megabytes may hold millions of empty messages, and each costs a hundred bytes of
//! memory once it is decoded.

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::wire::Node;

/// Most entries of a small request; the largest has three.
const FEW: usize = 16;
/// Most entries of a `push-messages` request that are neither node nor message nor tree: one is Flower's, the time that the app took.
const OTHERS: usize = 4;
/// Most bytes of such an entry.
const OTHER_BYTES: usize = 64;
/// Fewest bytes of an object in a tree: its id.
const OBJECT: usize = 66;
/// Objects above and below each other: a message, its record, the record's arrays and their pieces are four.
const DEPTH: usize = 8;

/// Entries of a `PushMessagesRequest` or of a `PullMessagesResponse`, which have the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// The node of a request, the last one where there are several.
    pub node: Option<u64>,
    /// Messages.
    pub messages: usize,
    /// Objects of all trees, one that occurs twice twice.
    pub objects: usize,
    nodes: usize,
    trees: usize,
    others: usize,
}

impl Announced {
    /// `None` for what is not as Flower writes it. Takes no memory.
    pub fn of(body: &[u8]) -> Option<Self> {
        let mut announced = Self::default();
        for entry in Entries(body) {
            let (number, value) = entry?;
            match number {
                1 => {
                    announced.nodes += 1;
                    announced.node = Some(Node::decode(value).ok()?.node_id);
                }
                2 => announced.messages += 1,
                3 => {
                    announced.trees += 1;
                    announced.objects += objects(value, DEPTH)?;
                }
                _ if value.len() > OTHER_BYTES => return None,
                _ => announced.others += 1,
            }
        }
        Some(announced)
    }

    /// Whether it is one message with one tree of objects, and as little beside it as Flower sends.
    pub fn is_one(&self) -> bool {
        (self.messages, self.trees) == (1, 1) && self.nodes <= 1 && self.others <= OTHERS
    }

    /// Whether it is that, or nothing at all.
    pub fn is_one_or_none(&self) -> bool {
        self.is_one() || *self == Self { node: self.node, nodes: self.nodes.min(1), ..Self::default() }
    }
}

/// Whether a request has no more entries than a small one of Flower's.
pub(crate) fn is_small(body: &[u8]) -> bool {
    let mut entries = Entries(body);
    entries.by_ref().take(FEW).all(|entry| entry.is_some()) && entries.next().is_none()
}

/// Objects of a tree, itself included.
fn objects(tree: &[u8], depth: usize) -> Option<usize> {
    let below = depth.checked_sub(1).filter(|_| tree.len() >= OBJECT)?;
    let mut children = Entries(tree).filter(|entry| entry.is_none_or(|(number, _)| number == 2));
    children.try_fold(1, |count, child| Some(count + objects(child?.1, below)?))
}

/// Number and bytes of each entry of a message; `None` is the last one where the rest cannot be read. Groups cannot: Flower has none.
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
