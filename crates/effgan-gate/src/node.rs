//! What a node may do next: what it was told and what it announced, as the gate saw it pass.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::Question;
use crate::wire::{ObjectTree, PullMessagesResponse, PushMessagesRequest};

/// Questions that a node may still answer; it works on one at a time.
const MOST_ASKED: usize = 16;

/// Most bytes of all objects of an answer to a `query`, which is a few numbers and words.
pub const QUERY_BYTES: u64 = 64 << 10;
/// Most objects of such an answer.
pub const QUERY_OBJECTS: usize = 256;

/// Most objects of an answer of `bytes`, or of a question: each array is cut in pieces of 5 MiB, and beside these a message has an object
/// for itself, for each of its three records and for each array, of which there is one a network. 1,024 leave room for arrays that nobody
/// packed; each object costs the `ServerApp` a request.
pub fn most_objects(bytes: u64) -> usize {
    1024 + usize::try_from(bytes / (5 << 20)).unwrap_or(usize::MAX >> 1)
}

/// The node of one site.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Flower's number for it, from its last activation; nothing passes before.
    pub id: Option<u64>,
    /// What it pulled, the newest last.
    pub(crate) asked: Vec<Question>,
    /// Objects of the message that it pulled last.
    pullable: BTreeSet<String>,
    /// The answer that it announced last.
    push: Option<Push>,
}

/// An answer that is on its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Push {
    run_id: u64,
    /// Bytes that all its objects may have.
    most: u64,
    /// Its objects, and how many bytes of each came.
    objects: BTreeMap<String, u64>,
}

impl Node {
    /// A node that the gate knew before it was started again.
    pub fn known(id: u64, asked: Vec<Question>) -> Self {
        Self { id: Some(id), asked, ..Self::default() }
    }

    /// Flower says that this is its number. A node of another number begins anew.
    pub fn activated(&mut self, id: u64) {
        if self.id != Some(id) {
            *self = Self { id: Some(id), ..Self::default() };
        }
    }

    /// Flower hands it what is there for it; true where that is anything.
    pub fn pulled(&mut self, answer: &PullMessagesResponse) -> bool {
        for message in answer.messages_list.iter().filter_map(|message| message.metadata.as_ref()) {
            self.asked.push(Question {
                message_id: message.message_id.clone(),
                run_id: message.run_id,
                message_type: message.message_type.clone(),
            });
        }
        self.asked.drain(..self.asked.len().saturating_sub(MOST_ASKED));
        if answer.messages_list.is_empty() {
            return false;
        }
        self.pullable = answer.message_object_trees.iter().flat_map(|tree| tree.ids().map(str::to_owned)).collect();
        true
    }

    /// It announces an answer, which takes the place of one before.
    pub fn begins(&mut self, push: Push) {
        self.push = Some(push);
    }

    /// An object of `bytes` is about to pass.
    pub fn pushes(&mut self, object_id: &str, bytes: u64) {
        if let Some(came) = self.push.as_mut().and_then(|push| push.objects.get_mut(object_id)) {
            // A node that tries again sends no more than before.
            *came = bytes.max(*came);
        }
    }

    /// The question with this id, if it was this node's.
    pub fn question(&self, message_id: &str) -> Option<&Question> {
        self.asked.iter().find(|question| question.message_id == message_id)
    }

    /// Whether the object belongs to what it was told last.
    pub fn may_pull(&self, object_id: &str) -> bool {
        self.pullable.contains(object_id)
    }

    /// Whether an object of `bytes` belongs to the answer that it announced, and there is room for it.
    ///
    /// # Errors
    /// What is against it.
    pub fn may_push(&self, run_id: u64, object_id: &str, bytes: u64) -> Result<(), &'static str> {
        let push = self.push.as_ref().filter(|push| push.run_id == run_id).ok_or("an object of no answer")?;
        let came = push.objects.get(object_id).ok_or("an object that its answer did not announce")?;
        let others = push.objects.values().sum::<u64>() - came;
        if others.saturating_add(bytes) > push.most {
            return Err("an answer of more bytes than one may have");
        }
        Ok(())
    }
}

impl Push {
    /// The answer that a checked request announces; its objects may have `most` bytes.
    pub(crate) fn of(request: &PushMessagesRequest, run_id: u64, most: u64) -> Self {
        let ids = request.message_object_trees.iter().flat_map(ObjectTree::ids);
        Self { run_id, most, objects: ids.map(|id| (id.to_owned(), 0)).collect() }
    }
}
