//! Driver 2: clients at sites of their own, reached by messages.
//!
//! A reply is saved to disk as soon as it arrives, so a server that is cut off does not ask a site twice for the same work. A site that has
//! not replied by the deadline is missing from the round, and is asked again in the next.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use effgan_data::ClientName;

use crate::aggregate::MemberSink;
use crate::algorithm::Algorithm;
use crate::checkpoints::{Checkpoint, Checkpoints, RunPosition};
use crate::failure_policy::FailurePolicy;
use crate::message::{Broadcast, Exchange};
use crate::reply::Reply;
use crate::roster::Roster;
use crate::rounds::{Arrival, Arrivals, Driver, Fold, PlannedRound, RoundObserver, Rounds};
use crate::state::{ClientState, ServerState};
use crate::{FlError, Result};

/// Number of replies that may wait in memory for their turn; the others wait in their files.
const MAX_IN_MEMORY: usize = 1;

/// A message from the server to a site.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteMessage {
    /// The broadcast to work on.
    pub broadcast: Broadcast,
    /// How far the server's run is. Client state that a site has saved for a later position is discarded: the server has lost that
    /// position, and repeats the work.
    pub now: RunPosition,
    /// The oldest position from which the server can still resume.
    pub oldest: RunPosition,
}

/// Carries messages to sites, and their replies back in any order.
pub trait Carrier: Send {
    /// Sends a message. For a site that cannot be reached, [`receive`](Self::receive) returns a failed reply with the reason. The tensors
    /// of a usable reply have `bytes` bytes in all, so a longer reply need not be read to its end.
    ///
    /// # Errors
    /// An error ends the run.
    fn send(&mut self, client: &ClientName, message: &SiteMessage, bytes: u64) -> Result<()>;

    /// The next reply; waits for it about a tenth of a second at most.
    ///
    /// # Errors
    /// An error ends the run, such as [`FlError::Interrupted`].
    fn receive(&mut self) -> Result<Option<Reply>>;

    /// Ends the exchange: [`receive`](Self::receive) must not return any reply that is still outstanding.
    fn close(&mut self);
}

/// A federation of sites.
#[derive(Clone, Copy)]
pub struct Federation<'a> {
    /// The algorithm.
    pub algorithm: &'a dyn Algorithm,
    /// The clients, the same from the first round to the last.
    pub roster: &'a Roster,
    /// What happens when clients fail.
    pub failures: FailurePolicy,
    /// How long an exchange waits for replies.
    pub deadline: Duration,
    /// The run's seed.
    pub seed: u64,
    /// Threads for the server's own work, ≥ 1; the result does not depend on it.
    pub jobs: usize,
    /// Where the state and the replies are saved.
    pub checkpoints: &'a Checkpoints,
}

impl Federation<'_> {
    /// Runs the algorithm to its end, from the first round or from a checkpoint; calls `observer` after each round.
    ///
    /// # Errors
    /// As [`Simulation::run`](crate::Simulation::run), and those of `carrier`.
    pub fn run(
        &self,
        carrier: &mut dyn Carrier,
        from: Option<Checkpoint>,
        members: &mut dyn MemberSink,
        observer: &mut dyn RoundObserver,
    ) -> Result<ServerState> {
        self.rounds().run(&mut Sites { federation: *self, carrier }, from, members, observer)
    }

    /// The exchange that follows `state`.
    pub fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.rounds().next(state)
    }

    /// All rounds of the run, in order.
    pub fn plan(&self) -> Vec<PlannedRound> {
        self.rounds().plan(&|_, _, _| None)
    }

    fn rounds(&self) -> Rounds<'_> {
        let Self { algorithm, roster, failures, seed, jobs, checkpoints, .. } = *self;
        // Training steps happen at the sites, which do not report them.
        Rounds {
            algorithm,
            roster,
            failures,
            seed,
            jobs,
            checkpoints,
            on_step: &|_| std::ops::ControlFlow::Continue(()),
        }
    }
}

struct Sites<'a> {
    federation: Federation<'a>,
    carrier: &'a mut dyn Carrier,
}

impl Driver for Sites<'_> {
    fn exchange(&mut self, state: &ServerState, exchange: &Exchange, fold: &mut Fold) -> Result<ServerState> {
        let Self { federation, carrier } = self;
        let mut arriving = Arriving::new(federation, *carrier, state, exchange);
        let folded = arriving.send().and_then(|()| fold(&mut arriving, MAX_IN_MEMORY));
        self.carrier.close();
        folded
    }
}

/// The replies of one exchange, as they arrive.
struct Arriving<'a> {
    federation: &'a Federation<'a>,
    carrier: &'a mut dyn Carrier,
    state: &'a ServerState,
    exchange: &'a Exchange,
    /// Clients whose replies are on disk already.
    kept: VecDeque<ClientName>,
    /// What the others were sent.
    waiting: BTreeMap<ClientName, Broadcast>,
    started: Instant,
}

impl<'a> Arriving<'a> {
    fn new(
        federation: &'a Federation<'a>,
        carrier: &'a mut dyn Carrier,
        state: &'a ServerState,
        exchange: &'a Exchange,
    ) -> Self {
        let (kept, waiting, started) = (VecDeque::new(), BTreeMap::new(), Instant::now());
        Self { federation, carrier, state, exchange, kept, waiting, started }
    }

    /// Sends a message to each client whose reply is not on disk already.
    fn send(&mut self) -> Result<()> {
        let checkpoints = self.federation.checkpoints;
        let (now, oldest) = (RunPosition::of(self.state), checkpoints.oldest()?.unwrap_or_default());
        let expected = self.federation.algorithm.expects(self.state, self.exchange)?;
        let bytes = expected.values().map(|shape| 4 * shape.iter().product::<usize>() as u64).sum();
        for client in &self.exchange.cohort {
            if self.exchange.kind.trains() && checkpoints.load_reply(self.exchange.id(), client)?.is_some() {
                self.kept.push_back(client.clone());
                continue;
            }
            let message = SiteMessage { broadcast: self.broadcast(client), now, oldest };
            self.carrier.send(client, &message, bytes)?;
            self.waiting.insert(client.clone(), message.broadcast);
        }
        self.started = Instant::now();
        Ok(())
    }

    fn broadcast(&self, client: &ClientName) -> Broadcast {
        self.federation.algorithm.broadcast(self.state, self.exchange, client)
    }

    fn load(&self, client: &ClientName) -> Result<Reply> {
        let lost = || FlError::LostReply { client: client.clone(), round: self.exchange.round };
        let saved = self.federation.checkpoints.load_reply(self.exchange.id(), client)?;
        let (reply, _) = saved.ok_or_else(lost)?;
        Ok(reply.compared_to(&self.broadcast(client)))
    }

    /// Saves a reply to disk where it is a round's work.
    fn save(&self, mut reply: Reply) -> Result<Reply> {
        if self.exchange.kind.trains() {
            self.federation.checkpoints.save_reply(&mut reply, &ClientState::new())?;
        }
        Ok(reply)
    }

    fn is_past_deadline(&self) -> bool {
        self.started.elapsed() >= self.federation.deadline
    }
}

impl Arrivals for Arriving<'_> {
    fn next(&mut self) -> Result<Arrival> {
        if let Some(client) = self.kept.pop_front() {
            let reply = self.load(&client)?;
            return Ok((client, Ok(reply)));
        }
        loop {
            let received = self.carrier.receive()?;
            if let Some(reply) = received {
                if reply.exchange != self.exchange.id() {
                    // It is refused, and the right one is still waited for.
                    return Ok((reply.client.clone(), Ok(reply)));
                }
                if let Some(sent) = self.waiting.remove(&reply.client) {
                    return Ok((reply.client.clone(), Ok(self.save(reply)?.compared_to(&sent))));
                }
            } else if self.is_past_deadline() {
                let (client, sent) =
                    self.waiting.pop_first().expect("the fold asks for one reply per client of the cohort");
                let seconds = self.federation.deadline.as_secs_f64();
                let reason = format!("no answer within {seconds} s");
                let reply = Reply { seconds, ..Reply::new(client.clone(), self.exchange.id(), Err(reason)) };
                return Ok((client, Ok(reply.compared_to(&sent))));
            }
        }
    }
}
