//! Collecting generators: each goes where members are kept, and none waits for another.

use effgan_data::ClientName;
use effgan_nn::Params;

use crate::message::Replies;
use crate::{FlError, Result};

/// Where collected generators go: a file in a run, a `Vec` in a test.
pub trait MemberSink: Send {
    /// Takes one client's generator (tensors without prefix).
    ///
    /// # Errors
    /// When it cannot be kept.
    fn member(&mut self, client: ClientName, num_examples: u64, generator: Params) -> Result<()>;
}

impl MemberSink for Vec<(ClientName, u64, Params)> {
    fn member(&mut self, client: ClientName, num_examples: u64, generator: Params) -> Result<()> {
        self.push((client, num_examples, generator));
        Ok(())
    }
}

/// Hands each reply's generator to `members`.
///
/// # Errors
/// Of the first reply that cannot be had; [`FlError::NoReplies`].
pub fn collect(replies: &mut Replies, members: &mut dyn MemberSink, round: u32) -> Result<()> {
    let mut collected = 0;
    for reply in replies {
        let (client, update) = reply?;
        members.member(client, update.num_examples, update.params.under("generator"))?;
        collected += 1;
    }
    if collected == 0 { Err(FlError::NoReplies { round }) } else { Ok(()) }
}
