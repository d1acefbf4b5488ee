//! The rounds of a run, whoever does the clients' work: threads of this process ([`simulate`](crate::simulate)) or sites
//! that are reached by messages ([`federation`](crate::federation)).
//!
//! Replies are folded in the order of names while later clients still work. Those that come out of turn wait on disk,
//! but for as many as there are clients at work, so memory holds these and not their number.

mod in_order;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use effgan_data::ClientName;
use effgan_nn::{Params, Threads};
use serde_json::Value;

use self::in_order::InOrder;
pub(crate) use self::in_order::{Arrival, Arrivals, Done};
use crate::aggregate::MemberSink;
use crate::algorithm::Algorithm;
use crate::checkpoints::{Checkpoint, Checkpoints, Moment, OpenRound};
use crate::counted::Counted;
use crate::drift::Sketch;
use crate::failure_policy::FailurePolicy;
use crate::intake::Intake;
use crate::loss_history::LossHistory;
use crate::message::{Broadcast, Exchange, ExchangeKind, Reply};
use crate::record::{Missing, RoundRecord};
use crate::roster::Roster;
use crate::state::ServerState;
use crate::step_observer::OnStep;
use crate::{FlError, Result};

/// What an [`RoundObserver`] answers; its error ends the run.
pub type ObserverResult = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Keeps the state at hand, with what is noted beside it.
pub type SaveState<'a> = dyn FnMut(Value) -> Result<()> + 'a;

/// Is told what a run has come to, and says when it is to be kept.
pub trait RoundObserver {
    /// A round is done. What is told before `keep` is called is not told again by a run that goes on from there.
    ///
    /// # Errors
    /// What ends the run.
    fn round(&mut self, record: &RoundRecord, state: &ServerState, keep: &mut SaveState) -> ObserverResult;

    /// The state inside of a round of many exchanges is worth keeping.
    ///
    /// # Errors
    /// What ends the run.
    fn mid_round(&mut self, keep: &mut SaveState) -> ObserverResult {
        Ok(keep(Value::Null)?)
    }
}

impl<F: FnMut(&RoundRecord, &ServerState) -> ObserverResult> RoundObserver for F {
    fn round(&mut self, record: &RoundRecord, state: &ServerState, keep: &mut SaveState) -> ObserverResult {
        self(record, state)?;
        Ok(keep(Value::Null)?)
    }
}

/// A round that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRound {
    /// Round, from 1.
    pub round: u32,
    /// What it is for.
    pub kind: ExchangeKind,
    /// How many take part.
    pub clients: usize,
    /// Training steps of all of them.
    pub steps: u64,
}

/// Who does the work of the clients.
pub(crate) trait Clients {
    /// Why `client`, who has `steps` to do, has no part in the round of this exchange; `None` when it is asked.
    fn absence(&self, _exchange: &Exchange, _client: &ClientName, _steps: u64) -> Option<String> {
        None
    }

    /// Has the cohort work on what the server's `state` says, while `fold` takes what each of them comes to.
    ///
    /// # Errors
    /// What `fold` says, or why nobody can be asked.
    fn exchange(&mut self, state: &ServerState, exchange: &Exchange, fold: &mut Fold) -> Result<ServerState>;

    /// What clients remember now belongs to `moment`.
    ///
    /// # Errors
    /// When it cannot be written.
    fn remember(&mut self, _moment: Moment) -> Result<()> {
        Ok(())
    }

    /// Lets go what no state that is kept needs.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn forget(&self) -> Result<()> {
        Ok(())
    }
}

/// As [`Clients::absence`].
pub(crate) type Absence<'a> = dyn Fn(&Exchange, &ClientName, u64) -> Option<String> + 'a;

/// Folds arrivals, of which so many may wait in memory.
pub(crate) type Fold<'a> = dyn FnMut(&mut dyn Arrivals, usize) -> Result<ServerState> + 'a;

/// What the rounds of a run need, but for its clients.
#[derive(Clone, Copy)]
pub(crate) struct Rounds<'a> {
    pub(crate) algorithm: &'a dyn Algorithm,
    pub(crate) roster: &'a Roster,
    pub(crate) failures: FailurePolicy,
    pub(crate) seed: u64,
    /// Threads of the server's own work.
    pub(crate) jobs: usize,
    pub(crate) checkpoints: &'a Checkpoints,
    pub(crate) on_step: &'a OnStep<'a>,
}

impl Rounds<'_> {
    /// Runs the algorithm to its end, from its beginning or from where it was kept; `observer` is told after each round.
    ///
    /// A failure is told when its client's turn comes, after the clients before it in the order of names: which of several failures
    /// ends a run does not depend on who is quicker. A round to which nobody comes leaves the parameters as they are.
    pub(crate) fn run(
        &self,
        clients: &mut dyn Clients,
        from: Option<Checkpoint>,
        members: &mut dyn MemberSink,
        observer: &mut dyn RoundObserver,
    ) -> Result<ServerState> {
        let server = Threads::new(self.jobs);
        let (mut state, mut open) = match from {
            Some(Checkpoint { state, open, .. }) => (state, open),
            None => (self.algorithm.init(&self.roster.context(self.seed))?, None),
        };
        while let Some(exchange) = self.next(&state) {
            let mut round = Round { rounds: self, clients: &mut *clients, server: &server };
            let record;
            (record, state) = round.run(state, &exchange, open.take(), members, observer)?;
            clients.remember(Moment::of(&state))?;
            let mut keep = |notes| self.checkpoints.save(&state, None, notes).and_then(|()| clients.forget());
            observer.round(&record, &state, &mut keep).map_err(driver_error)?;
        }
        Ok(state)
    }

    /// What follows `state`.
    pub(crate) fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.algorithm.next(state, &self.roster.context(self.seed))
    }

    /// All rounds of the run, in order: what progress counts to.
    pub(crate) fn plan(&self, absence: &Absence) -> Vec<PlannedRound> {
        let mut state = ServerState::after_round(0, Params::new());
        let mut plan = Vec::new();
        while let Some(exchange) = self.next(&state) {
            let (present, _) = self.presence(absence, &exchange);
            let steps = present.iter().map(|client| self.steps(&exchange, client)).sum();
            plan.push(PlannedRound { round: exchange.round, kind: exchange.kind, clients: present.len(), steps });
            state.round = exchange.round;
        }
        plan
    }

    fn steps(&self, exchange: &Exchange, client: &ClientName) -> u64 {
        let num_examples = self.roster.context(self.seed).num_examples_of(client);
        self.algorithm.local_steps(exchange, num_examples)
    }

    /// Who of the cohort takes part in the round, and who does not.
    fn presence(&self, absence: &Absence, exchange: &Exchange) -> (Vec<ClientName>, Vec<Missing>) {
        let (mut present, mut missing) = (Vec::new(), Vec::new());
        for name in exchange.cohort.iter().cloned() {
            match absence(exchange, &name, self.steps(exchange, &name)) {
                None => present.push(name),
                Some(reason) => missing.push(Missing { name, reason }),
            }
        }
        (present, missing)
    }
}

/// What a round works with.
struct Round<'a> {
    rounds: &'a Rounds<'a>,
    clients: &'a mut dyn Clients,
    /// Threads of the server's own work.
    server: &'a Threads,
}

impl Round<'_> {
    /// All exchanges from `first` to the end of its round, which may be `open` already.
    fn run(
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
        let present = open.record.still_in(first.cohort.clone());
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
            let next = self.rounds.next(&state).expect("a round that has begun is ended");
            if self.is_worth_keeping(&exchange, &next) {
                self.keep_inside(&state, &open, observer)?;
            }
            exchange = Exchange { cohort: open.record.still_in(exchange.cohort), ..next };
        }
    }

    /// The record of the round that `first` begins, with those who are not in it.
    fn begun(&self, first: &Exchange) -> RoundRecord {
        let absence = |exchange: &Exchange, client: &ClientName, steps| self.clients.absence(exchange, client, steps);
        RoundRecord::begun(first.round, first.kind, self.rounds.presence(&absence, first).1)
    }

    /// Tells the steps that were done before the run was cut off.
    fn replayed(&self, open: OpenRound) -> Result<OpenRound> {
        for (client, steps) in &open.steps {
            replay_steps(steps, client, open.record.round, self.rounds.on_step)?;
        }
        Ok(open)
    }

    /// Whether a step of the server is done, and so many of them since the last time.
    fn is_worth_keeping(&self, done: &Exchange, next: &Exchange) -> bool {
        let every = self.rounds.checkpoints.every_steps();
        next.iteration > done.iteration && every.is_some_and(|every| next.iteration.is_multiple_of(every))
    }

    fn keep_inside(&mut self, state: &ServerState, open: &OpenRound, observer: &mut dyn RoundObserver) -> Result<()> {
        self.clients.remember(Moment::of(state))?;
        let checkpoints = self.rounds.checkpoints;
        let mut keep = |notes| checkpoints.save(state, Some(open), notes).and_then(|()| self.clients.forget());
        observer.mid_round(&mut keep).map_err(driver_error)
    }

    /// A round to which nobody comes changes nothing, unless it needs some; without members there is no ensemble.
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
        let mut intake = Some(Intake::new(exchange, roster.as_reported(seed), expected, failures));
        let mut tally = None;
        let folded = self.clients.exchange(&state, exchange, &mut |arrivals, room| {
            let intake = intake.take().expect("an exchange is folded once");
            let mut replies = InOrder::new(exchange, intake, arrivals, checkpoints, room);
            let mut counted = Counted::new(&mut replies, roster, exchange, algorithm.weights(), &failures.bounds);
            let folded = server.run(|| algorithm.aggregate(&state, exchange, &mut counted, members));
            let counts = counted.counts();
            tally = Some((replies.done(), counts));
            folded
        });
        if let Some((tally, counts)) = tally {
            tally.tell(open, exchange, &counts, algorithm.weights());
        }
        let state = folded?;
        state.params.check_finite().map_err(|source| FlError::ServerState { round: exchange.round, source })?;
        Ok(state)
    }
}

/// Tells the steps of `client` as they were told once.
pub(crate) fn replay_steps(steps: &LossHistory, client: &ClientName, round: u32, on_step: &OnStep) -> Result<()> {
    match steps.records(client, round).try_for_each(|record| on_step(&record)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(FlError::Interrupted),
    }
}

fn driver_error(error: Box<dyn std::error::Error + Send + Sync>) -> FlError {
    match error.downcast::<FlError>() {
        Ok(error) => *error,
        Err(error) => FlError::Driver(error),
    }
}

/// How far the client went, where it trained what it was sent.
pub(crate) fn sketch(broadcast: &Broadcast, reply: &Reply) -> Option<Sketch> {
    let Reply::Update(update) = reply else { return None };
    if broadcast.kind.trains() { Sketch::of_update(&broadcast.params, &update.params).ok() } else { None }
}
