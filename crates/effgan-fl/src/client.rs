//! A client at its work: its half of every exchange, on a thread of a simulation or at a site of its own.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use effgan_nn::{Params, Streams};

use crate::algorithm::Algorithm;
use crate::attack::Attack;
use crate::checkpoints::{Checkpoints, Kept, Memories};
use crate::local::Shard;
use crate::loss_history::LossHistory;
use crate::message::{Broadcast, Exchange, Reply};
use crate::rounds::{Done, replay_steps};
use crate::step_observer::{OnStep, StepObserver, StepRecord, TrainingState};
use crate::{FlError, Result};

/// What a client works with.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    pub(crate) algorithm: &'a dyn Algorithm,
    pub(crate) shard: Shard<'a>,
    pub(crate) seed: u64,
    /// What it does to its answers, where it is one of those who attack.
    pub(crate) attack: Option<Attack>,
    /// Where its answers and its unfinished work are kept.
    pub(crate) checkpoints: &'a Checkpoints,
    pub(crate) memories: &'a Memories<'a>,
    pub(crate) on_step: &'a OnStep<'a>,
    /// Set when nobody waits for it any more.
    pub(crate) stop: &'a AtomicBool,
}

impl Client<'_> {
    /// Its answer to `broadcast`, or what was kept of it. A failure of its own is an answer too.
    ///
    /// # Errors
    /// What ends the run: [`FlError::Interrupted`], or files that cannot be written.
    pub(crate) fn answer(&self, broadcast: &Broadcast) -> Result<Done> {
        let started = Instant::now();
        // The files of an answer are named by what it answers.
        let Broadcast { round, kind, iteration, iterations, .. } = *broadcast;
        let exchange = Exchange { round, kind, iteration, iterations, cohort: vec![self.shard.client.clone()] };
        if let Some(kept) = self.kept(&exchange)? {
            return Ok(kept);
        }
        let streams = Streams::of_client(self.seed, round, self.shard.client.as_str());
        let mut memory = self.memories.take(self.shard.client)?;
        let mut observer = ClientObserver { client: self, exchange: &exchange, steps: LossHistory::default() };
        let done = self.algorithm.local_update(broadcast, &mut memory, &self.shard, &streams, &mut observer);
        let (steps, seconds) = (observer.steps, started.elapsed().as_secs_f64());
        let mut update = match done {
            Ok(update) => update,
            Err(FlError::Interrupted) => return Err(FlError::Interrupted),
            Err(failure) if failure.is_of_the_server() => return Err(failure),
            Err(failure) => {
                return Ok(Done { reply: Reply::Failed(failure.to_string()), steps, seconds, is_kept: false });
            }
        };
        if let Some(attack) = self.attack {
            attack.poison(broadcast, &streams, &mut update)?;
        }
        let kept = Kept { update, memory, steps, seconds };
        if kind.trains() {
            self.checkpoints.keep_reply(&exchange, self.shard.client, &kept)?;
        }
        self.memories.put(self.shard.client, kept.memory)?;
        let (reply, steps) = (Reply::Update(kept.update), kept.steps);
        Ok(Done { reply, steps, seconds, is_kept: kind.trains() })
    }

    /// The answer that an earlier start of the program has kept, where it is a round's work.
    fn kept(&self, exchange: &Exchange) -> Result<Option<Done>> {
        if !exchange.kind.trains() {
            return Ok(None);
        }
        let client = self.shard.client;
        let Some(Kept { update, memory, steps, seconds }) = self.checkpoints.reply(exchange, client)? else {
            return Ok(None);
        };
        replay_steps(&steps, client, exchange.round, self.on_step)?;
        self.memories.put(client, memory)?;
        Ok(Some(Done { reply: Reply::Update(update), steps, seconds, is_kept: true }))
    }
}

/// Passes on what it is on_step, and keeps the work.
struct ClientObserver<'a> {
    client: &'a Client<'a>,
    exchange: &'a Exchange,
    steps: LossHistory,
}

impl StepObserver for ClientObserver<'_> {
    fn step(&mut self, record: &StepRecord) -> ControlFlow<()> {
        self.steps.add(record);
        let Client { stop, on_step, .. } = *self.client;
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { on_step(record) }
    }

    fn resume_from(&mut self) -> Result<Option<TrainingState>> {
        self.client.checkpoints.work(self.exchange, self.client.shard.client)
    }

    fn checkpoint(&mut self, step: u64, ending: bool, work: &dyn Fn() -> Params) -> Result<()> {
        let Client { checkpoints, shard, .. } = *self.client;
        let due = checkpoints.every_steps().is_some_and(|every| step.is_multiple_of(every));
        if !(due || ending) {
            return Ok(());
        }
        checkpoints.keep_work(self.exchange, shard.client, &self.steps, work())
    }
}
