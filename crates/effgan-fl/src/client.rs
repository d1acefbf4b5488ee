//! A client's half of every exchange, on a thread of a simulation or at a site of its own.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use effgan_nn::{Params, Streams};

use crate::algorithm::Algorithm;
use crate::attack::Attack;
use crate::checkpoints::{Checkpoints, ClientStates};
use crate::local::Shard;
use crate::loss_history::LossHistory;
use crate::message::{Broadcast, ExchangeId, Update};
use crate::reply::Reply;
use crate::rounds::replay_steps;
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
    pub(crate) states: &'a ClientStates<'a>,
    pub(crate) on_step: &'a OnStep<'a>,
    /// Whether its networks are kept in files at the end of its training, and as they were earlier.
    pub(crate) keeps: bool,
    /// Set when the run ends and nothing waits for this client any more.
    pub(crate) stop: &'a AtomicBool,
}

impl Client<'_> {
    /// Does the work of `broadcast`, or returns the reply that an earlier start of the program has saved. A failure of the
    /// client's own work is a reply too.
    ///
    /// # Errors
    /// Errors that end the run: [`FlError::Interrupted`], or files that cannot be written.
    pub(crate) fn answer(&self, broadcast: &Broadcast) -> Result<Reply> {
        let started = Instant::now();
        let (client, exchange) = (self.shard.client, broadcast.id());
        if let Some(reply) = self.saved_reply(exchange)? {
            return Ok(reply);
        }
        let streams = Streams::of_client(self.seed, exchange.round, client.as_str());
        let mut state = self.states.take(client)?;
        let mut observer = ClientObserver { client: self, exchange, steps: LossHistory::default() };
        let done = self.algorithm.local_update(broadcast, &mut state, &self.shard, &streams, &mut observer);
        let (steps, seconds) = (observer.steps, started.elapsed().as_secs_f64());
        let reply = |outcome| Reply { seconds, steps, ..Reply::new(client.clone(), exchange, outcome) };
        let mut update = match done {
            Ok(update) => update,
            Err(FlError::Interrupted) => return Err(FlError::Interrupted),
            Err(failure) if failure.is_of_the_server() => return Err(failure),
            Err(failure) => return Ok(reply(Err(failure.to_string()))),
        };
        if let Some(attack) = self.attack {
            attack.poison(broadcast, &streams, &mut update)?;
        }
        let mut reply = reply(Ok(update));
        if exchange.kind.trains() {
            self.checkpoints.save_reply(&mut reply, &state)?;
        }
        self.states.put(client, state)?;
        Ok(reply)
    }

    /// The reply that an earlier start of the program has saved, where the exchange is a round's work.
    fn saved_reply(&self, exchange: ExchangeId) -> Result<Option<Reply>> {
        if !exchange.kind.trains() {
            return Ok(None);
        }
        let client = self.shard.client;
        let saved = self.checkpoints.load_reply(exchange, client)?;
        let Some((reply, state)) = saved.filter(|(reply, _)| reply.steps.fits(self.algorithm.losses())) else {
            return Ok(None);
        };
        replay_steps(&reply.steps, client, exchange.round, self.algorithm.losses(), self.on_step)?;
        self.states.put(client, state)?;
        Ok(Some(reply))
    }
}

/// The networks are kept after all steps, after half of them, and so on, so many times.
const HALVINGS: u32 = 4;

/// Calls the driver's `on_step`, and saves unfinished work.
struct ClientObserver<'a> {
    client: &'a Client<'a>,
    exchange: ExchangeId,
    steps: LossHistory,
}

impl StepObserver for ClientObserver<'_> {
    fn step(&mut self, record: &StepRecord) -> ControlFlow<()> {
        self.steps.add(record);
        let Client { stop, on_step, .. } = *self.client;
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { on_step(record) }
    }

    fn resume_from(&mut self, steps: u64) -> Result<Option<TrainingState>> {
        let Client { checkpoints, shard, algorithm, keeps, .. } = *self.client;
        let state = checkpoints.load_training(self.exchange, shard.client, steps, algorithm.losses())?;
        if keeps && state.is_none() {
            // What was kept is of work that is not gone on with, perhaps on other images.
            checkpoints.remove_kept(self.exchange, shard.client)?;
        }
        Ok(state)
    }

    fn saves(&self, step: u64) -> bool {
        self.client.checkpoints.every_steps().is_some_and(|every| step.is_multiple_of(every))
    }

    fn save(&mut self, state: Params) -> Result<()> {
        let Client { checkpoints, shard, .. } = *self.client;
        checkpoints.save_training(self.exchange, shard.client, &self.steps, state)
    }

    fn keeps(&self, step: u64, steps: u64) -> bool {
        self.client.keeps && (0..=HALVINGS).any(|halvings| step == steps >> halvings)
    }

    fn keep(&mut self, update: Update) -> Result<()> {
        let Client { checkpoints, shard, .. } = *self.client;
        checkpoints.save_kept(self.exchange, shard.client, &update)
    }
}
