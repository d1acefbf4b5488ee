//! One round: all its exchanges with the clients, folded into one record.

use std::collections::BTreeMap;
use std::time::Instant;

use effgan_data::ClientName;
use effgan_nn::Threads;

use super::in_order::InOrder;
use super::round_observer::{RoundObserver, driver_error};
use super::{Driver, Rounds, replay_steps};
use crate::aggregate::MemberSink;
use crate::checkpoints::{OpenRound, RunPosition};
use crate::counted::Counted;
use crate::intake::Intake;
use crate::message::{Exchange, ExchangeKind};
use crate::record::RoundRecord;
use crate::state::ServerState;
use crate::{FlError, Result};

/// A round that is being run.
pub(super) struct Round<'a> {
    pub(super) rounds: &'a Rounds<'a>,
    pub(super) driver: &'a mut dyn Driver,
    /// Threads for the server's own work.
    pub(super) server: &'a Threads,
}

impl Round<'_> {
    /// Runs all exchanges from `first` to the end of its round. `open` is what a checkpoint within the round has kept of it.
    pub(super) fn run(
        &mut self,
        mut state: ServerState,
        first: &Exchange,
        open: Option<OpenRound>,
        members: &mut dyn MemberSink,
        observer: &mut dyn RoundObserver,
    ) -> Result<(RoundRecord, ServerState)> {
        let started = Instant::now();
        let mut open = match open {
            Some(open) => self.replayed(open)?,
            None => OpenRound { record: self.begun(first), steps: BTreeMap::new() },
        };
        let seconds_before = open.record.seconds;
        let present = open.record.without_missing(first.cohort.clone());
        if present.is_empty() {
            return Ok((open.record, self.without_clients(state, first)?));
        }
        let mut exchange = Exchange { cohort: present, ..*first };
        loop {
            state = self.exchange(state, &exchange, members, &mut open)?;
            open.record.seconds = seconds_before + started.elapsed().as_secs_f64();
            if state.round == exchange.round {
                return Ok((open.record, state));
            }
            let next = self.rounds.next(&state).expect("a round that has begun has a last exchange");
            if self.checkpoint_is_due(&exchange, &next) {
                self.save_mid_round(&state, &open, observer)?;
            }
            exchange = Exchange { cohort: open.record.without_missing(exchange.cohort), ..next };
        }
    }

    /// The record of the round that begins with `first`, with the clients that do not take part.
    fn begun(&self, first: &Exchange) -> RoundRecord {
        let absence = |exchange: &Exchange, client: &ClientName, steps| self.driver.absence(exchange, client, steps);
        RoundRecord::begun(first.round, first.kind, self.rounds.presence(&absence, first).1)
    }

    /// Calls the step observer again for the steps that were done before the run was cut off.
    fn replayed(&self, open: OpenRound) -> Result<OpenRound> {
        for (client, steps) in &open.steps {
            if !steps.fits(self.rounds.algorithm.losses()) {
                let path = self.rounds.checkpoints.folder().into();
                return Err(FlError::ForeignCheckpoint { path, what: "model" });
            }
            replay_steps(steps, client, open.record.round, self.rounds.algorithm.losses(), self.rounds.on_step)?;
        }
        Ok(open)
    }

    /// Whether a checkpoint within the round is due: every `checkpoint.every_steps` steps of the server.
    fn checkpoint_is_due(&self, done: &Exchange, next: &Exchange) -> bool {
        let every = self.rounds.checkpoints.every_steps();
        next.iteration > done.iteration && every.is_some_and(|every| next.iteration.is_multiple_of(every))
    }

    fn save_mid_round(
        &mut self,
        state: &ServerState,
        open: &OpenRound,
        observer: &mut dyn RoundObserver,
    ) -> Result<()> {
        self.driver.save_client_states(RunPosition::of(state))?;
        let checkpoints = self.rounds.checkpoints;
        let mut save =
            |notes| checkpoints.save(state, Some(open), notes).and_then(|()| self.driver.prune_client_states());
        observer.mid_round(&mut save).map_err(driver_error)
    }

    /// The state after a round with no participants: the parameters stay. It is an error where `min_clients` asks for some, and when
    /// the server collects, because an ensemble needs members.
    fn without_clients(&self, state: ServerState, exchange: &Exchange) -> Result<ServerState> {
        if exchange.kind == ExchangeKind::Collect || self.rounds.failures.min_clients.is_some() {
            return Err(FlError::NoReplies { round: exchange.round });
        }
        Ok(ServerState::after_round(exchange.round, state.params))
    }

    fn exchange(
        &mut self,
        state: ServerState,
        exchange: &Exchange,
        members: &mut dyn MemberSink,
        open: &mut OpenRound,
    ) -> Result<ServerState> {
        let Rounds { algorithm, roster, failures, seed, checkpoints, .. } = *self.rounds;
        let (ctx, server) = (roster.context(seed), self.server);
        let state = server.run(|| algorithm.prepare(state, exchange, &ctx))?;
        let expected = algorithm.expects(&state, exchange)?;
        let mut intake = Some(Intake::new(exchange, ctx, expected, algorithm.losses(), failures));
        let mut tally = None;
        let folded = self.driver.exchange(&state, exchange, &mut |arrivals, max_in_memory| {
            let intake = intake.take().expect("an exchange is folded once");
            let mut replies = InOrder::new(exchange, intake, arrivals, checkpoints, max_in_memory);
            let mut counted = Counted::new(&mut replies, roster, exchange, algorithm.weights(), &failures.bounds);
            let folded = server.run(|| algorithm.aggregate(&state, exchange, &mut counted, members));
            let counts = counted.counts();
            tally = Some((replies.into_tally(), counts));
            folded
        });
        if let Some((tally, counts)) = tally {
            tally.add_to(open, exchange, &counts, algorithm.weights());
        }
        let state = folded?;
        state.params.check_finite().map_err(|source| FlError::ServerState { round: exchange.round, source })?;
        Ok(state)
    }
}
