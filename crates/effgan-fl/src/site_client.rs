//! The client's half of the [message driver](crate::message_driver), at a site of its own: answers one message at a time, and
//! needs nothing in memory between two messages.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use effgan_nn::Threads;
use effgan_nn::file::remove_leftovers;

use crate::Result;
use crate::algorithm::Algorithm;
use crate::checkpoints::{CheckpointConfig, Checkpoints, ClientStates, RunId, RunPosition};
use crate::client::Client;
use crate::local::Shard;
use crate::message::{Broadcast, Update};
use crate::message_driver::SiteMessage;
use crate::reply::Reply;
use crate::step_observer::StepRecord;

/// A client of a run at a site of its own.
#[derive(Clone)]
pub struct Site<'a> {
    /// The algorithm.
    pub algorithm: &'a dyn Algorithm,
    /// Its name and its images.
    pub shard: Shard<'a>,
    /// The run's seed.
    pub seed: u64,
    /// Threads, ≥ 1; the result does not depend on it.
    pub jobs: usize,
    /// Folder for its client state, its finished replies and its unfinished work.
    pub folder: &'a Path,
    /// Identifies the run; files of other runs are never used for this one.
    pub run: RunId,
    /// How often unfinished work is saved.
    pub checkpoint: CheckpointConfig,
    /// Called with one line of text for each file that is found unusable.
    pub warn: Arc<dyn Fn(&str) + Send + Sync>,
    /// Whether the site keeps its networks as they were earlier in the training: [`kept`](Self::kept).
    pub keeps: bool,
    /// Called after every training step; `Break` ends the work.
    pub on_step: &'a (dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
}

impl Site<'_> {
    /// Works on `message`. If an earlier process has finished the reply to the same message, returns that reply without working again.
    ///
    /// # Errors
    /// [`FlError::Interrupted`](crate::FlError::Interrupted) when `on_step` breaks; files that cannot be read or written. A failure of
    /// the work itself is a reply, not an error.
    pub fn answer(&self, message: &SiteMessage) -> Result<Reply> {
        remove_leftovers(self.folder);
        let SiteMessage { broadcast, now, oldest } = message;
        let of_states = self.checkpoints(self.run.clone());
        let states = ClientStates::at(*now, &of_states);
        states.discard_after(*now)?;
        let of_replies = self.replies(broadcast);
        of_replies.remove_rounds_up_to(now.round)?;
        let client = Client {
            algorithm: self.algorithm,
            shard: self.shard,
            seed: self.seed,
            attack: None,
            checkpoints: &of_replies,
            states: &states,
            on_step: self.on_step,
            keeps: self.keeps,
            stop: &AtomicBool::new(false),
        };
        let Reply { client, exchange, outcome, seconds, .. } =
            Threads::new(self.jobs).run(|| client.answer(broadcast))?;
        states.write(RunPosition { exchanges: now.exchanges + 1, ..*now })?;
        states.prune(*oldest)?;
        // The losses of its steps and its file stay at the site.
        Ok(Reply { seconds, ..Reply::new(client, exchange, outcome) })
    }

    /// Whether an earlier process has finished the reply to `message`, so that [`answer`](Self::answer) trains nothing.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn has_reply(&self, message: &SiteMessage) -> Result<bool> {
        let SiteMessage { broadcast, .. } = message;
        Ok(self.replies(broadcast).load_reply(broadcast.id(), self.shard.client)?.is_some())
    }

    /// What the site kept of the training for `message`, the latest first: each with the generator as the server collects it, and all other
    /// networks. The first is what [`answer`](Self::answer) replied.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn kept(&self, message: &SiteMessage) -> Result<Vec<Update>> {
        let SiteMessage { broadcast, .. } = message;
        self.replies(broadcast).load_kept(broadcast.id(), self.shard.client)
    }

    /// The finished replies to `broadcast`. One is only valid for the very tensors that it answers, so their hash is part of its run's identity.
    fn replies(&self, broadcast: &Broadcast) -> Checkpoints {
        let data = format!("{} {}", self.run.data, broadcast.params.hash());
        self.checkpoints(RunId { data, ..self.run.clone() })
    }

    fn checkpoints(&self, run: RunId) -> Checkpoints {
        let warn = self.warn.clone();
        Checkpoints::new(self.folder.into(), run, self.checkpoint.clone(), move |line| warn(line))
    }
}
