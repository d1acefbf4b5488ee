//! A client's half of every exchange, on a thread of a simulation or at a site of its own.

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

/// A client with everything that it works with.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    pub(crate) algorithm: &'a dyn Algorithm,
    pub(crate) shard: Shard<'a>,
    pub(crate) seed: u64,
    /// The attack by which it falsifies its updates, if it is an attacker.
    pub(crate) attack: Option<Attack>,
    /// Where its replies and its unfinished work are saved.
    pub(crate) checkpoints: &'a Checkpoints,
    pub(crate) memories: &'a Memories<'a>,
    pub(crate) on_step: &'a OnStep<'a>,
    /// Set when the run ends and nothing waits for this client any more.
    pub(crate) stop: &'a AtomicBool,
}

impl Client<'_> {
    /// Does the work of `broadcast`, or returns the reply that an earlier start of the program has saved. A failure of the
    /// client's own work is a reply too.
    ///
    /// # Errors
    /// Errors that end the run: [`FlError::Interrupted`], or files that cannot be written.
    pub(crate) fn answer(&self, broadcast: &Broadcast) -> Result<Done> {
        let started = Instant::now();
        // Saved files are found by the exchange that they answer.
        let Broadcast { round, kind, iteration, iterations, .. } = *broadcast;
        let exchange = Exchange { round, kind, iteration, iterations, cohort: vec![self.shard.client.clone()] };
        if let Some(kept) = self.saved_reply(&exchange)? {
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
            self.checkpoints.save_reply(&exchange, self.shard.client, &kept)?;
        }
        self.memories.put(self.shard.client, kept.memory)?;
        let (reply, steps) = (Reply::Update(kept.update), kept.steps);
        Ok(Done { reply, steps, seconds, is_kept: kind.trains() })
    }

    /// The reply that an earlier start of the program has saved, where the exchange is a round's work.
    fn saved_reply(&self, exchange: &Exchange) -> Result<Option<Done>> {
        if !exchange.kind.trains() {
            return Ok(None);
        }
        let client = self.shard.client;
        let Some(Kept { update, memory, steps, seconds }) = self.checkpoints.load_reply(exchange, client)? else {
            return Ok(None);
        };
        replay_steps(&steps, client, exchange.round, self.algorithm.losses(), self.on_step)?;
        self.memories.put(client, memory)?;
        Ok(Some(Done { reply: Reply::Update(update), steps, seconds, is_kept: true }))
    }
}

/// Calls the driver's `on_step`, and saves unfinished work.
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
        self.client.checkpoints.load_training(self.exchange, self.client.shard.client)
    }

    fn checkpoint(&mut self, step: u64, interrupted: bool, state: &dyn Fn() -> Params) -> Result<()> {
        let Client { checkpoints, shard, .. } = *self.client;
        let due = checkpoints.every_steps().is_some_and(|every| step.is_multiple_of(every));
        if !(due || interrupted) {
            return Ok(());
        }
        checkpoints.save_training(self.exchange, shard.client, &self.steps, state())
    }
}
