//! Driver 1: a whole federation in one process, clients in parallel, on a thread each or more.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_nn::{Threads, threads_of_workers};

use crate::Result;
use crate::aggregate::MemberSink;
use crate::algorithm::Algorithm;
use crate::checkpoints::{Checkpoint, Checkpoints, Memories, Moment};
use crate::client::Client;
use crate::failure_policy::FailurePolicy;
use crate::local::Shard;
use crate::message::Exchange;
use crate::participation::SimulationConfig;
use crate::roster::Roster;
use crate::rounds::{Arrival, Arrivals, Clients, Fold, PlannedRound, RoundObserver, Rounds, sketch};
use crate::state::ServerState;
use crate::step_observer::OnStep;

/// A federation to simulate.
pub struct Simulation<'a> {
    /// The algorithm.
    pub algorithm: &'a dyn Algorithm,
    /// All images.
    pub images: &'a ImageSet,
    /// Who has which of them.
    pub partition: &'a Partition,
    /// Who of those that are asked is missing.
    pub participation: &'a SimulationConfig,
    /// What is done about clients that fail.
    pub failures: FailurePolicy,
    /// The run's seed.
    pub seed: u64,
    /// Threads, ≥ 1, shared out among the clients at work; changes no result.
    pub jobs: usize,
    /// Where the run is kept, and replies out of turn wait.
    pub checkpoints: &'a Checkpoints,
    /// OnStep every training step of every client, from the client's thread; `Break` ends the run.
    pub on_step: &'a OnStep<'a>,
}

impl Simulation<'_> {
    /// Runs the algorithm to its end, from its beginning or from where it was kept; `observer` is told after each round.
    ///
    /// A failure is told when its client's turn comes, after the clients before it in the order of names: which of several failures
    /// ends a run does not depend on who is quicker. A round to which nobody comes leaves the parameters as they are.
    ///
    /// # Errors
    /// What the [`FailurePolicy`] says of failures, [`FlError::Interrupted`](crate::FlError::Interrupted) when `on_step` breaks, what `observer` or
    /// `members` say, [`FlError::NoReplies`](crate::FlError::NoReplies) when nobody is there to collect from; files that cannot be written.
    pub fn run(
        &self,
        from: Option<Checkpoint>,
        members: &mut dyn MemberSink,
        observer: &mut dyn RoundObserver,
    ) -> Result<ServerState> {
        let now = from.as_ref().map(|kept| Moment::of(&kept.state)).unwrap_or_default();
        let roster = self.roster();
        self.rounds(&roster).run(&mut Workers::new(self, &roster, now), from, members, observer)
    }

    /// What follows `state`.
    pub fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.rounds(&self.roster()).next(state)
    }

    /// All rounds of the run, in order: what progress counts to.
    pub fn plan(&self) -> Vec<PlannedRound> {
        let roster = self.roster();
        self.rounds(&roster).plan(&|exchange, client, steps| self.absence(exchange, client, steps))
    }

    fn roster(&self) -> Roster {
        Roster::of(self.partition).at_most(|_| self.failures.bounds.max_examples)
    }

    fn absence(&self, exchange: &Exchange, client: &ClientName, steps: u64) -> Option<String> {
        // All images at one client are no federation.
        if self.algorithm.pools_data() {
            return None;
        }
        self.participation.absence(self.seed, exchange.round, client, steps)
    }

    fn rounds<'a>(&'a self, roster: &'a Roster) -> Rounds<'a> {
        let Self { algorithm, failures, seed, jobs, checkpoints, on_step, .. } = *self;
        Rounds { algorithm, roster, failures, seed, jobs, checkpoints, on_step }
    }
}

/// The clients of a simulation: threads, each of which takes the next client when it is done with one.
struct Workers<'a> {
    simulation: &'a Simulation<'a>,
    roster: &'a Roster,
    memories: Memories<'a>,
    /// As many as there is work for.
    threads: Vec<Threads>,
    /// Clients for whom they are.
    present: usize,
}

impl Clients for Workers<'_> {
    fn absence(&self, exchange: &Exchange, client: &ClientName, steps: u64) -> Option<String> {
        self.simulation.absence(exchange, client, steps)
    }

    fn exchange(&mut self, state: &ServerState, exchange: &Exchange, fold: &mut Fold) -> Result<ServerState> {
        self.hire(exchange.cohort.len());
        let (this, next_client, stop) = (&*self, AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            // Dropped in reverse, also by a panic: first the receiver, which lets senders go, then clients at work are told to stop.
            let _stop = StopOnDrop(&stop);
            let (sender, mut receiver) = sync_channel(0);
            for threads in &this.threads {
                let (sender, next_client, stop) = (sender.clone(), &next_client, &stop);
                scope.spawn(move || threads.run(|| this.work(state, exchange, next_client, stop, &sender)));
            }
            drop(sender);
            fold(&mut receiver, this.threads.len())
        })
    }

    fn remember(&mut self, moment: Moment) -> Result<()> {
        self.memories.write(moment)
    }

    fn forget(&self) -> Result<()> {
        let oldest = self.simulation.checkpoints.oldest()?;
        oldest.map_or(Ok(()), |oldest| self.memories.prune(oldest))
    }
}

impl Arrivals for Receiver<Arrival> {
    fn next(&mut self) -> Result<Arrival> {
        Ok(self.recv().expect("a worker hands in a reply for each client it took"))
    }
}

impl<'a> Workers<'a> {
    fn new(simulation: &'a Simulation<'a>, roster: &'a Roster, now: Moment) -> Self {
        let memories = Memories::at(now, simulation.checkpoints);
        Self { simulation, roster, memories, threads: Vec::new(), present: 0 }
    }

    /// Shares the threads out among `clients`. Fewer clients than threads: the training step itself uses those to spare.
    fn hire(&mut self, clients: usize) {
        if clients != self.present {
            let threads = threads_of_workers(clients, self.simulation.jobs);
            (self.threads, self.present) = (threads.into_iter().map(Threads::new).collect(), clients);
        }
    }

    fn share(&self, client: &ClientName) -> &'a ClientShare {
        let clients = &self.simulation.partition.clients;
        let index = clients.binary_search_by(|share| share.name.cmp(client));
        &clients[index.expect("the cohort is drawn from the partition's clients")]
    }

    /// One worker: takes the next client until there is none, or one of its own ended the run.
    fn work(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        next_client: &AtomicUsize,
        stop: &AtomicBool,
        sender: &SyncSender<Arrival>,
    ) {
        while let Some(client) = exchange.cohort.get(next_client.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let broadcast = self.simulation.algorithm.broadcast(state, exchange, client);
            let bytes_down = broadcast.params.num_bytes();
            let done = self.client(client, stop).answer(&broadcast);
            let ended = done.is_err();
            let update = done.as_ref().ok().and_then(|done| sketch(&broadcast, &done.reply));
            let arrival = Arrival { client: client.clone(), done, update, on_disk: false, bytes_down };
            if sender.send(arrival).is_err() || ended {
                return;
            }
        }
    }

    /// `client` at its work, until `stop`.
    fn client<'c>(&'c self, client: &'c ClientName, stop: &'c AtomicBool) -> Client<'c> {
        let Simulation { algorithm, images, participation, seed, on_step, checkpoints, .. } = *self.simulation;
        let shard = Shard { client, images, train: &self.share(client).train };
        let attack = participation.attack_of(seed, self.roster.names(), client);
        Client { algorithm, shard, seed, attack, checkpoints, memories: &self.memories, on_step, stop }
    }
}

/// Tells clients at work to stop, however a round ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
