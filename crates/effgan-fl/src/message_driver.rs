//! Driver 2: clients at sites of their own, reached by messages.
//!
//! A reply is saved to disk as soon as it arrives, so a server that is cut off does not ask a site twice for the same work. A site that has
//! not replied by the deadline is missing from the round, and is asked again in the next.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use effgan_data::ClientName;
use effgan_nn::Params;

use crate::aggregate::MemberSink;
use crate::algorithm::Algorithm;
use crate::checkpoints::{Checkpoint, Checkpoints, Kept, Moment};
use crate::failure_policy::FailurePolicy;
use crate::loss_history::LossHistory;
use crate::message::{Broadcast, Exchange, Reply};
use crate::roster::Roster;
use crate::rounds::{Arrival, Arrivals, Clients, Done, Fold, PlannedRound, RoundObserver, Rounds, sketch};
use crate::state::ServerState;
use crate::{FlError, Result};

/// Number of replies that may wait in memory for their turn; the others wait in their files.
const MAX_IN_MEMORY: usize = 1;

/// A message from the server to a site.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteMessage {
    /// The broadcast to work on.
    pub broadcast: Broadcast,
    /// How far the server's run is. Client state that a site has saved for a later moment is discarded: the server has lost that
    /// moment, and repeats the work.
    pub now: Moment,
    /// The oldest moment from which the server can still resume.
    pub oldest: Moment,
}

/// A site's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The site.
    pub client: ClientName,
    /// Its update, or the reason why there is none.
    pub reply: Reply,
    /// Wall time of the work, in seconds.
    pub seconds: f64,
}

/// Carries messages to sites, and their answers back in any order.
pub trait Carrier: Send {
    /// Sends a message. For a site that cannot be reached, [`receive`](Self::receive) returns a failed answer with the reason. The tensors
    /// of a usable answer have `bytes` bytes in all, so a longer answer need not be read to its end.
    ///
    /// # Errors
    /// An error ends the run.
    fn send(&mut self, client: &ClientName, message: &SiteMessage, bytes: u64) -> Result<()>;

    /// The next answer; waits for it about a tenth of a second at most.
    ///
    /// # Errors
    /// An error ends the run, such as [`FlError::Interrupted`].
    fn receive(&mut self) -> Result<Option<Answered>>;

    /// Ends the exchange: [`receive`](Self::receive) must not return any answer that is still outstanding.
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
    /// How long an exchange waits for answers.
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

impl Clients for Sites<'_> {
    fn exchange(&mut self, state: &ServerState, exchange: &Exchange, fold: &mut Fold) -> Result<ServerState> {
        let Self { federation, carrier } = self;
        let mut arriving = Arriving::new(federation, *carrier, state, exchange);
        let folded = arriving.send().and_then(|()| fold(&mut arriving, MAX_IN_MEMORY));
        self.carrier.close();
        folded
    }
}

/// The answers of one exchange, as they arrive.
struct Arriving<'a> {
    federation: &'a Federation<'a>,
    carrier: &'a mut dyn Carrier,
    state: &'a ServerState,
    exchange: &'a Exchange,
    /// Clients whose replies are on disk already.
    kept: VecDeque<ClientName>,
    waiting: BTreeSet<ClientName>,
    started: Instant,
}

impl<'a> Arriving<'a> {
    fn new(
        federation: &'a Federation<'a>,
        carrier: &'a mut dyn Carrier,
        state: &'a ServerState,
        exchange: &'a Exchange,
    ) -> Self {
        let (kept, waiting, started) = (VecDeque::new(), BTreeSet::new(), Instant::now());
        Self { federation, carrier, state, exchange, kept, waiting, started }
    }

    /// Sends a message to each client whose reply is not on disk already.
    fn send(&mut self) -> Result<()> {
        let checkpoints = self.federation.checkpoints;
        let (now, oldest) = (Moment::of(self.state), checkpoints.oldest()?.unwrap_or_default());
        let expected = self.federation.algorithm.expects(self.state, self.exchange)?;
        let bytes = expected.values().map(|shape| 4 * shape.iter().product::<usize>() as u64).sum();
        for client in &self.exchange.cohort {
            if self.exchange.kind.trains() && checkpoints.load_reply(self.exchange, client)?.is_some() {
                self.kept.push_back(client.clone());
                continue;
            }
            self.carrier.send(client, &SiteMessage { broadcast: self.broadcast(client), now, oldest }, bytes)?;
            self.waiting.insert(client.clone());
        }
        self.started = Instant::now();
        Ok(())
    }

    fn broadcast(&self, client: &ClientName) -> Broadcast {
        self.federation.algorithm.broadcast(self.state, self.exchange, client)
    }

    fn arrival_of_kept(&self, client: ClientName) -> Result<Arrival> {
        let kept = self.federation.checkpoints.load_reply(self.exchange, &client)?;
        let Some(Kept { update, seconds, .. }) = kept else {
            return Err(FlError::LostReply { client, round: self.exchange.round });
        };
        Ok(self.arrival(client, Reply::Update(update), seconds, true))
    }

    /// Saves an answer to disk where it is a round's work.
    fn keep(&self, Answered { client, mut reply, seconds }: Answered) -> Result<Arrival> {
        let mut is_kept = false;
        if let (Reply::Update(update), true) = (&mut reply, self.exchange.kind.trains()) {
            let kept = Kept { update: update.clone(), memory: Params::new(), steps: LossHistory::default(), seconds };
            self.federation.checkpoints.save_reply(self.exchange, &client, &kept)?;
            is_kept = true;
        }
        Ok(self.arrival(client, reply, seconds, is_kept))
    }

    fn arrival(&self, client: ClientName, reply: Reply, seconds: f64, is_kept: bool) -> Arrival {
        let broadcast = self.broadcast(&client);
        let (update, bytes_down) = (sketch(&broadcast, &reply), broadcast.params.num_bytes());
        let done = Ok(Done { reply, steps: LossHistory::default(), seconds, is_kept });
        Arrival { client, done, update, on_disk: false, bytes_down }
    }

    fn is_past_deadline(&self) -> bool {
        self.started.elapsed() >= self.federation.deadline
    }
}

impl Arrivals for Arriving<'_> {
    fn next(&mut self) -> Result<Arrival> {
        if let Some(client) = self.kept.pop_front() {
            return self.arrival_of_kept(client);
        }
        loop {
            match self.carrier.receive()? {
                Some(answered) if self.waiting.remove(&answered.client) => return self.keep(answered),
                None if self.is_past_deadline() => {
                    let client =
                        self.waiting.pop_first().expect("the fold asks for one reply per client of the cohort");
                    let seconds = self.federation.deadline.as_secs_f64();
                    let reason = Reply::Failed(format!("no answer within {seconds} s"));
                    return Ok(self.arrival(client, reason, seconds, false));
                }
                Some(_) | None => {}
            }
        }
    }
}
