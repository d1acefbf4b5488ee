//! What carries messages to nodes and brings replies back.

use std::sync::Arc;

use effgan_fl::{Result, Strategy};

use crate::config::StrategyConfig;
use crate::protocol::Content;

/// A node's number in Flower.
pub type NodeId = u64;

/// A message's id in Flower.
pub type MessageId = String;

/// The id of a message with the content of its reply, or with the reason why there is none.
pub type Pulled = (MessageId, std::result::Result<Content, String>);

/// Flower's grid, or a stand-in for it in tests. Each error ends the run.
pub trait Grid: Send {
    /// The nodes that are connected now.
    ///
    /// # Errors
    /// When Flower cannot be asked.
    fn nodes(&mut self) -> Result<Vec<NodeId>>;

    /// Sends `content` to `node` as a message of Flower's type `kind`, which may be dropped after `seconds`.
    ///
    /// # Errors
    /// When Flower does not take the message.
    fn push(&mut self, node: NodeId, kind: &str, content: Content, seconds: f64) -> Result<MessageId>;

    /// Takes one of the replies to `messages` that have come, without waiting; `None` when there is none. A reason why a reply has no
    /// content is never the site's text. Beside each message is the largest size of its reply in bytes; a longer reply is not read.
    ///
    /// # Errors
    /// When Flower cannot be asked.
    fn pull(&mut self, messages: &[(MessageId, u64)]) -> Result<Option<Pulled>>;

    /// The strategy of Flower's that the config names.
    fn strategy(&self, config: &StrategyConfig) -> Arc<dyn Strategy>;
}
