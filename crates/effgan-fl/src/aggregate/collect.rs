//! Collecting generators one by one, so that they need not be in memory together.

use effgan_data::ClientName;
use effgan_nn::Params;

use crate::message::Replies;
use crate::{FlError, Result};

/// Stores collected generators: in files in a run, in a `Vec` in tests.
pub trait MemberSink: Send {
    /// Stores one client's generator (tensors without prefix).
    ///
    /// # Errors
    /// When it cannot be stored.
    fn member(&mut self, client: ClientName, num_examples: u64, generator: Params) -> Result<()>;
}

impl MemberSink for Vec<(ClientName, u64, Params)> {
    fn member(&mut self, client: ClientName, num_examples: u64, generator: Params) -> Result<()> {
        self.push((client, num_examples, generator));
        Ok(())
    }
}

/// Hands the generator of each reply, whose tensors have the prefix `network`, to `members`.
///
/// # Errors
/// The error of the first reply that is one; [`FlError::NoReplies`].
pub fn collect(network: &str, replies: &mut Replies, members: &mut dyn MemberSink, round: u32) -> Result<()> {
    let mut collected = 0;
    for reply in replies {
        let (client, update) = reply?;
        members.member(client, update.num_examples, update.params.under(network))?;
        collected += 1;
    }
    if collected == 0 { Err(FlError::NoReplies { round }) } else { Ok(()) }
}
