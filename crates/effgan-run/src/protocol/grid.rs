//! What carries messages to nodes, and replies back.

use std::sync::Arc;

use effgan_fl::{Result, Strategy};

use super::Content;
use crate::config::StrategyConfig;

/// A node, in Flower's numbers.
pub type NodeId = u64;

/// A message on its way, in Flower's words.
pub type MessageId = String;

/// The message that is answered, and what the reply says, or why it says nothing.
pub type Pulled = (MessageId, std::result::Result<Content, String>);

/// Flower's grid, or something like it. Its errors end the run.
pub trait Grid: Send {
    /// Nodes that are connected now.
    ///
    /// # Errors
    /// What ends the run.
    fn nodes(&mut self) -> Result<Vec<NodeId>>;

    /// Sends `content` to `node` as a message of the type `kind`; nobody wants an answer after `seconds`.
    ///
    /// # Errors
    /// What ends the run.
    fn push(&mut self, node: NodeId, kind: &str, content: &Content, seconds: f64) -> Result<MessageId>;

    /// One of the replies to `messages` that have come, without waiting: what it says, or why there is none, in words that are not the
    /// site's. Beside each message is how many bytes its reply has at most; no more of it is taken.
    ///
    /// # Errors
    /// What ends the run.
    fn pull(&mut self, messages: &[(MessageId, u64)]) -> Result<Option<Pulled>>;

    /// The strategy that the config names.
    fn strategy(&self, config: &StrategyConfig) -> Arc<dyn Strategy>;
}
