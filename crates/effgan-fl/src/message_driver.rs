//! Driver 2: clients at sites of their own, reached by messages.
//!
//! Replies are taken as they come, and lie on disk from then on: a run that is cut off asks no site twice. Who has not
//! answered when the deadline passes is missing in the round, and asked again in the next.

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

/// Replies out of turn whose tensors wait in memory; those of others wait in their files.
const ROOM: usize = 1;

/// A message to a site.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteMessage {
    /// What it is to work on.
    pub broadcast: Broadcast,
    /// How far the run is: what the site remembers of later is of a future that was given up.
    pub now: Moment,
    /// How far back the server may yet go.
    pub oldest: Moment,
}

/// What a site answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Who.
    pub client: ClientName,
    /// Its update, or why there is none.
    pub reply: Reply,
    /// Wall time of its work.
    pub seconds: f64,
}

/// Carries letters to sites, and their answers back in any order.
pub trait Carrier: Send {
    /// Sends; a site that cannot be reached answers with the reason. The tensors of a usable answer are `bytes` long: of what is
    /// longer no more need be taken.
    ///
    /// # Errors
    /// What ends the run.
    fn send(&mut self, client: &ClientName, letter: &SiteMessage, bytes: u64) -> Result<()>;

    /// The next answer; waits for it, but no longer than about a tenth of a second.
    ///
    /// # Errors
    /// What ends the run, such as [`FlError::Interrupted`].
    fn receive(&mut self) -> Result<Option<Answered>>;

    /// Nobody waits for the answers that are still out: none of them may come from [`receive`](Self::receive) any more.
    fn close(&mut self);
}

/// A federation of sites.
#[derive(Clone, Copy)]
pub struct Federation<'a> {
    /// The algorithm.
    pub algorithm: &'a dyn Algorithm,
    /// Who is in it, from its first round to its last.
    pub roster: &'a Roster,
    /// What is done about clients that fail.
    pub failures: FailurePolicy,
    /// How long an exchange waits for its answers.
    pub deadline: Duration,
    /// The run's seed.
    pub seed: u64,
    /// Threads of the server's own work, ≥ 1; changes no result.
    pub jobs: usize,
    /// Where the run and its replies are kept.
    pub checkpoints: &'a Checkpoints,
}

impl Federation<'_> {
    /// Runs the algorithm to its end, from its beginning or from where it was kept; `observer` is told after each round.
    ///
    /// # Errors
    /// As [`Simulation::run`](crate::Simulation::run), and what the `carrier` says.
    pub fn run(
        &self,
        carrier: &mut dyn Carrier,
        from: Option<Checkpoint>,
        members: &mut dyn MemberSink,
        observer: &mut dyn RoundObserver,
    ) -> Result<ServerState> {
        self.rounds().run(&mut Sites { federation: *self, carrier }, from, members, observer)
    }

    /// What follows `state`.
    pub fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.rounds().next(state)
    }

    /// All rounds of the run, in order.
    pub fn plan(&self) -> Vec<PlannedRound> {
        self.rounds().plan(&|_, _, _| None)
    }

    fn rounds(&self) -> Rounds<'_> {
        let Self { algorithm, roster, failures, seed, jobs, checkpoints, .. } = *self;
        // LossHistory are done elsewhere, and not told.
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
        let folded = arriving.send().and_then(|()| fold(&mut arriving, ROOM));
        self.carrier.close();
        folded
    }
}

/// The answers of one exchange.
struct Arriving<'a> {
    federation: &'a Federation<'a>,
    carrier: &'a mut dyn Carrier,
    state: &'a ServerState,
    exchange: &'a Exchange,
    /// Whose answers lie on disk already.
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

    /// Asks everyone whose answer is not there.
    fn send(&mut self) -> Result<()> {
        let checkpoints = self.federation.checkpoints;
        let (now, oldest) = (Moment::of(self.state), checkpoints.oldest()?.unwrap_or_default());
        let expected = self.federation.algorithm.expects(self.state, self.exchange)?;
        let bytes = expected.values().map(|shape| 4 * shape.iter().product::<usize>() as u64).sum();
        for client in &self.exchange.cohort {
            if self.exchange.kind.trains() && checkpoints.reply(self.exchange, client)?.is_some() {
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
        let kept = self.federation.checkpoints.reply(self.exchange, &client)?;
        let Some(Kept { update, seconds, .. }) = kept else {
            return Err(FlError::LostReply { client, round: self.exchange.round });
        };
        Ok(self.arrival(client, Reply::Update(update), seconds, true))
    }

    /// What arrived, on disk where it is a round's work.
    fn keep(&self, Answered { client, mut reply, seconds }: Answered) -> Result<Arrival> {
        let mut is_kept = false;
        if let (Reply::Update(update), true) = (&mut reply, self.exchange.kind.trains()) {
            let kept = Kept { update: update.clone(), memory: Params::new(), steps: LossHistory::default(), seconds };
            self.federation.checkpoints.keep_reply(self.exchange, &client, &kept)?;
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

    fn is_late(&self) -> bool {
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
                None if self.is_late() => {
                    let client = self.waiting.pop_first().expect("the cohort's answers are all that is asked for");
                    let seconds = self.federation.deadline.as_secs_f64();
                    let reason = Reply::Failed(format!("no answer within {seconds} s"));
                    return Ok(self.arrival(client, reason, seconds, false));
                }
                Some(_) | None => {}
            }
        }
    }
}
