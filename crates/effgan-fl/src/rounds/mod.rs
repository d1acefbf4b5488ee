//! The loop over the rounds of a run, which both drivers share: the clients are threads of this process ([`simulate`](crate::simulate)) or
//! sites that are reached by messages ([`message_driver`](crate::message_driver)).
//!
//! Replies are folded in the order of the clients' names, while other clients still work. A reply that arrives before its turn waits: in
//! memory while fewer replies wait there than clients are at work, otherwise on disk. So memory does not grow with the number of clients.

mod in_order;
mod round;
mod round_observer;
mod tally;

use std::ops::ControlFlow;

use effgan_data::ClientName;
use effgan_nn::model::LossName;
use effgan_nn::{Params, Threads};

pub(crate) use self::in_order::{Arrival, Arrivals};
use self::round::Round;
use self::round_observer::driver_error;
pub use self::round_observer::{ObserverResult, RoundObserver, SaveState};
use crate::aggregate::MemberSink;
use crate::algorithm::Algorithm;
use crate::checkpoints::{Checkpoint, Checkpoints, RunPosition};
use crate::failure_policy::FailurePolicy;
use crate::loss_history::LossHistory;
use crate::message::{Exchange, ExchangeKind};
use crate::record::Missing;
use crate::roster::Roster;
use crate::state::ServerState;
use crate::step_observer::OnStep;
use crate::{FlError, Result};

/// A round of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRound {
    /// Round, from 1.
    pub round: u32,
    /// What the round is for.
    pub kind: ExchangeKind,
    /// Number of clients that take part.
    pub clients: usize,
    /// Training steps of all of them.
    pub steps: u64,
}

/// What differs between the two drivers: how the clients of an exchange are made to work.
pub(crate) trait Driver {
    /// Why `client`, which would train `steps` steps, does not take part in the round of this exchange; `None` when it does.
    fn absence(&self, _exchange: &Exchange, _client: &ClientName, _steps: u64) -> Option<String> {
        None
    }

    /// Lets the cohort work on the broadcasts of `state`, and calls `fold` with the replies as they arrive.
    ///
    /// # Errors
    /// Those of `fold`, or the reason why the clients cannot be asked.
    fn exchange(&mut self, state: &ServerState, exchange: &Exchange, fold: &mut Fold) -> Result<ServerState>;

    /// Saves the clients' states as those of `position`.
    ///
    /// # Errors
    /// When one cannot be written.
    fn save_client_states(&mut self, _moment: RunPosition) -> Result<()> {
        Ok(())
    }

    /// Removes client states that no saved state of the server needs any more.
    ///
    /// # Errors
    /// When one cannot be removed.
    fn prune_client_states(&self) -> Result<()> {
        Ok(())
    }
}

/// [`Driver::absence`] as a closure.
pub(crate) type Absence<'a> = dyn Fn(&Exchange, &ClientName, u64) -> Option<String> + 'a;

/// Folds replies as they arrive; the number is the maximum of replies that may wait in memory to be folded.
pub(crate) type Fold<'a> = dyn FnMut(&mut dyn Arrivals, usize) -> Result<ServerState> + 'a;

/// Everything that the loop over the rounds needs, except the driver.
#[derive(Clone, Copy)]
pub(crate) struct Rounds<'a> {
    pub(crate) algorithm: &'a dyn Algorithm,
    pub(crate) roster: &'a Roster,
    pub(crate) failures: FailurePolicy,
    pub(crate) seed: u64,
    /// Threads for the server's own work.
    pub(crate) jobs: usize,
    pub(crate) checkpoints: &'a Checkpoints,
    pub(crate) on_step: &'a OnStep<'a>,
}

impl Rounds<'_> {
    /// Runs the algorithm to its end, from the first round or from a checkpoint; calls `observer` after each round.
    ///
    /// A client's failure is handled when its turn comes in the order of names, so which of several failures ends a run does not depend on
    /// which client is faster. A round with no participants leaves the parameters unchanged.
    pub(crate) fn run(
        &self,
        driver: &mut dyn Driver,
        from: Option<Checkpoint>,
        members: &mut dyn MemberSink,
        observer: &mut dyn RoundObserver,
    ) -> Result<ServerState> {
        let server = Threads::new(self.jobs);
        let (mut state, mut open_round) = match from {
            Some(Checkpoint { state, open_round, .. }) => (state, open_round),
            None => (self.algorithm.init(&self.roster.context(self.seed))?, None),
        };
        while let Some(exchange) = self.next(&state) {
            let mut round = Round { rounds: self, driver: &mut *driver, server: &server };
            let record;
            (record, state) = round.run(state, &exchange, open_round.take(), members, observer)?;
            driver.save_client_states(RunPosition::of(&state))?;
            let mut save =
                |notes| self.checkpoints.save(&state, None, notes).and_then(|()| driver.prune_client_states());
            observer.round(&record, &state, &mut save).map_err(driver_error)?;
        }
        Ok(state)
    }

    /// The exchange that follows `state`.
    pub(crate) fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.algorithm.next(state, &self.roster.context(self.seed))
    }

    /// All rounds of the run, in order; a progress bar counts up to them.
    pub(crate) fn plan(&self, absence: &Absence) -> Vec<PlannedRound> {
        let planned = |exchange: Exchange| {
            let (present, _) = self.presence(absence, &exchange);
            let steps = present.iter().map(|client| self.steps(&exchange, client)).sum();
            PlannedRound { round: exchange.round, kind: exchange.kind, clients: present.len(), steps }
        };
        first_exchanges(self.algorithm, self.roster, self.seed).map(planned).collect()
    }

    fn steps(&self, exchange: &Exchange, client: &ClientName) -> u64 {
        let num_examples = self.roster.context(self.seed).num_examples_of(client);
        self.algorithm.local_steps(exchange, num_examples)
    }

    /// The clients of the cohort that take part in the round, and those that do not.
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

/// The first exchange of each round of a run, in order.
fn first_exchanges(algorithm: &dyn Algorithm, roster: &Roster, seed: u64) -> impl Iterator<Item = Exchange> {
    let mut state = ServerState::after_round(0, Params::new());
    std::iter::from_fn(move || {
        let exchange = algorithm.next(&state, &roster.context(seed))?;
        state.round = exchange.round;
        Some(exchange)
    })
}

/// The training steps of each client of `roster` in a whole run with `seed`, in the order of their names.
pub fn planned_steps(algorithm: &dyn Algorithm, roster: &Roster, seed: u64) -> Vec<u64> {
    let context = roster.context(seed);
    let mut steps = vec![0_u64; roster.names().len()];
    for exchange in first_exchanges(algorithm, roster, seed) {
        for (client, steps) in roster.names().iter().zip(&mut steps) {
            if exchange.cohort.contains(client) {
                *steps = steps.saturating_add(algorithm.local_steps(&exchange, context.num_examples_of(client)));
            }
        }
    }
    steps
}

/// The averaged rounds in which each client of `roster` is asked, in a whole run with `seed`, in the order of their names.
pub fn planned_rounds(algorithm: &dyn Algorithm, roster: &Roster, seed: u64) -> Vec<u64> {
    let averaged = |exchange: &Exchange| exchange.kind == ExchangeKind::Average;
    let rounds: Vec<Exchange> = first_exchanges(algorithm, roster, seed).filter(averaged).collect();
    let of_client = |client| rounds.iter().filter(|exchange| exchange.cohort.contains(client)).count() as u64;
    roster.names().iter().map(of_client).collect()
}

/// Calls `on_step` again for the steps that `client` did before the run was cut off.
pub(crate) fn replay_steps(
    steps: &LossHistory,
    client: &ClientName,
    round: u32,
    names: &'static [LossName],
    on_step: &OnStep,
) -> Result<()> {
    match steps.records(client, round, names).try_for_each(|record| on_step(&record)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(FlError::Interrupted),
    }
}
