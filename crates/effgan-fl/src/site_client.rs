//! A site's half of a [`federation`](crate::federation), letter by letter: between two of them nothing of it needs to be in memory.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use effgan_nn::Threads;
use effgan_nn::file::remove_leftovers;

use crate::Result;
use crate::algorithm::Algorithm;
use crate::checkpoints::{CheckpointConfig, Checkpoints, Memories, Moment, RunId};
use crate::client::Client;
use crate::local::Shard;
use crate::message_driver::{Answered, SiteMessage};
use crate::step_observer::StepRecord;

/// A site in a run.
#[derive(Clone)]
pub struct Site<'a> {
    /// The algorithm.
    pub algorithm: &'a dyn Algorithm,
    /// Its images, and its name.
    pub shard: Shard<'a>,
    /// The run's seed.
    pub seed: u64,
    /// Threads, ≥ 1; changes no result.
    pub jobs: usize,
    /// Where its memory, its answers and its unfinished work lie.
    pub folder: &'a Path,
    /// Which run it is: what is kept of others is never taken for this one's.
    pub run: RunId,
    /// What is kept of unfinished work.
    pub checkpoint: CheckpointConfig,
    /// OnStep in a line of each file that is found unusable.
    pub say: Arc<dyn Fn(&str) + Send + Sync>,
    /// OnStep every training step; `Break` ends the work.
    pub on_step: &'a (dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
}

impl Site<'_> {
    /// Works on `letter`. One that was answered before, by a process that is gone, gets the same answer without the work.
    ///
    /// # Errors
    /// [`FlError::Interrupted`](crate::FlError::Interrupted) when `on_step` breaks; files that cannot be read or written. What is wrong with the work itself
    /// is an answer.
    pub fn answer(&self, letter: &SiteMessage) -> Result<Answered> {
        remove_leftovers(self.folder);
        let SiteMessage { broadcast, now, oldest } = letter;
        let memory = self.checkpoints(self.run.clone());
        let memories = Memories::at(*now, &memory);
        memories.give_up_after(*now)?;
        // An answer is one to these very tensors.
        let data = format!("{} {}", self.run.data, broadcast.params.hash());
        let answers = self.checkpoints(RunId { data, ..self.run.clone() });
        answers.let_go_of_rounds(now.round)?;
        let client = Client {
            algorithm: self.algorithm,
            shard: self.shard,
            seed: self.seed,
            attack: None,
            checkpoints: &answers,
            memories: &memories,
            on_step: self.on_step,
            stop: &AtomicBool::new(false),
        };
        let done = Threads::new(self.jobs).run(|| client.answer(broadcast))?;
        memories.write(Moment { exchanges: now.exchanges + 1, ..*now })?;
        memories.prune(*oldest)?;
        Ok(Answered { client: self.shard.client.clone(), reply: done.reply, seconds: done.seconds })
    }

    fn checkpoints(&self, run: RunId) -> Checkpoints {
        let say = self.say.clone();
        Checkpoints::new(self.folder.into(), run, self.checkpoint.clone(), move |line| say(line))
    }
}
