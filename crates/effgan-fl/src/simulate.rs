//! Driver 1: a whole federation in one process, with clients in parallel on one or more threads each.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_nn::{Threads, threads_of_workers};

use crate::Result;
use crate::aggregate::MemberSink;
use crate::algorithm::Algorithm;
use crate::checkpoints::{Checkpoint, Checkpoints, ClientStates, RunPosition};
use crate::client::Client;
use crate::failure_policy::FailurePolicy;
use crate::local::Shard;
use crate::message::Exchange;
use crate::participation::SimulationConfig;
use crate::roster::Roster;
use crate::rounds::{Arrival, Arrivals, Driver, Fold, PlannedRound, RoundObserver, Rounds};
use crate::state::ServerState;
use crate::step_observer::OnStep;

/// A federation to simulate.
pub struct Simulation<'a> {
    /// The algorithm.
    pub algorithm: &'a dyn Algorithm,
    /// All images.
    pub images: &'a ImageSet,
    /// Which images each client has.
    pub partition: &'a Partition,
    /// Which clients drop out, are late, or attack.
    pub participation: &'a SimulationConfig,
    /// What happens when clients fail.
    pub failures: FailurePolicy,
    /// The run's seed.
    pub seed: u64,
    /// Threads, ≥ 1, divided among the clients at work; the result does not depend on it.
    pub jobs: usize,
    /// Where the state is saved, and where replies wait for their turn.
    pub checkpoints: &'a Checkpoints,
    /// Called after every training step of every client, from the client's thread; `Break` ends the run.
    pub on_step: &'a OnStep<'a>,
}

impl Simulation<'_> {
    /// Runs the algorithm to its end, from the first round or from a checkpoint; calls `observer` after each round.
    ///
    /// A client's failure is handled when its turn comes in the order of names, so which of several failures ends a run does not depend on
    /// which client is faster. A round with no participants leaves the parameters unchanged.
    ///
    /// # Errors
    /// A client's failure where the [`FailurePolicy`] says so; [`FlError::Interrupted`](crate::FlError::Interrupted) when
    /// `on_step` breaks; errors of `observer` and `members`; [`FlError::NoReplies`](crate::FlError::NoReplies) when there is no
    /// client to collect from; files that cannot be written.
    ///
    /// # Panics
    /// With the panic of a client, which stops the others at their next step.
    pub fn run(
        &self,
        from: Option<Checkpoint>,
        members: &mut dyn MemberSink,
        observer: &mut dyn RoundObserver,
    ) -> Result<ServerState> {
        let now = from.as_ref().map(|checkpoint| RunPosition::of(&checkpoint.state)).unwrap_or_default();
        let roster = self.roster();
        self.rounds(&roster).run(&mut Workers::new(self, &roster, now), from, members, observer)
    }

    /// The exchange that follows `state`.
    pub fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.rounds(&self.roster()).next(state)
    }

    /// All rounds of the run, in order; a progress bar counts up to them.
    pub fn plan(&self) -> Vec<PlannedRound> {
        let roster = self.roster();
        self.rounds(&roster).plan(&|exchange, client, steps| self.absence(exchange, client, steps))
    }

    fn roster(&self) -> Roster {
        Roster::of(self.partition).at_most(|_| self.failures.bounds.max_examples)
    }

    fn absence(&self, exchange: &Exchange, client: &ClientName, steps: u64) -> Option<String> {
        // With all images at one client there is no federation from which it could drop out.
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

/// The clients of a simulation: each worker thread takes the next client when it is done with one.
struct Workers<'a> {
    simulation: &'a Simulation<'a>,
    roster: &'a Roster,
    states: ClientStates<'a>,
    /// One pool of threads per worker.
    pools: Vec<Threads>,
    /// Number of clients for which the pools were sized.
    num_clients: usize,
}

impl Driver for Workers<'_> {
    fn absence(&self, exchange: &Exchange, client: &ClientName, steps: u64) -> Option<String> {
        self.simulation.absence(exchange, client, steps)
    }

    fn exchange(&mut self, state: &ServerState, exchange: &Exchange, fold: &mut Fold) -> Result<ServerState> {
        self.resize_pools(exchange.cohort.len());
        let (this, next_client, stop) = (&*self, AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            // Dropped in reverse order, also when a panic unwinds: first the receiver, which unblocks the senders, then this,
            // which stops the clients at work.
            let _stop = StopOnDrop(&stop);
            let (sender, mut receiver) = sync_channel(0);
            for threads in &this.pools {
                let (sender, next_client, stop) = (sender.clone(), &next_client, &stop);
                scope.spawn(move || {
                    let work = || threads.run(|| this.work(state, exchange, next_client, stop, &sender));
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                        // Nobody receives it when the run has already ended for another reason.
                        let _ = sender.send(Err(panic));
                    }
                });
            }
            drop(sender);
            fold(&mut receiver, this.pools.len())
        })
    }

    fn save_client_states(&mut self, position: RunPosition) -> Result<()> {
        self.states.write(position)
    }

    fn prune_client_states(&self) -> Result<()> {
        let oldest = self.simulation.checkpoints.oldest()?;
        oldest.map_or(Ok(()), |oldest| self.states.prune(oldest))
    }
}

/// A client's panic goes on in the thread that folds, which ends the run with the panic's own message.
impl Arrivals for Receiver<thread::Result<Arrival>> {
    fn next(&mut self) -> Result<Arrival> {
        let arrival = self.recv().expect("a worker sends a reply for each client it took, or its panic");
        Ok(arrival.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl<'a> Workers<'a> {
    fn new(simulation: &'a Simulation<'a>, roster: &'a Roster, now: RunPosition) -> Self {
        let states = ClientStates::at(now, simulation.checkpoints);
        Self { simulation, roster, states, pools: Vec::new(), num_clients: 0 }
    }

    /// Divides the threads among `clients`. With fewer clients than threads, a training step runs on several threads.
    fn resize_pools(&mut self, clients: usize) {
        if clients != self.num_clients {
            let threads = threads_of_workers(clients, self.simulation.jobs);
            (self.pools, self.num_clients) = (threads.into_iter().map(Threads::new).collect(), clients);
        }
    }

    fn share(&self, client: &ClientName) -> &'a ClientShare {
        let clients = &self.simulation.partition.clients;
        let index = clients.binary_search_by(|share| share.name.cmp(client));
        &clients[index.expect("the cohort is drawn from the partition's clients")]
    }

    /// The loop of one worker: takes the next client until there is none left, or until one of its clients ended the run.
    fn work(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        next_client: &AtomicUsize,
        stop: &AtomicBool,
        sender: &SyncSender<thread::Result<Arrival>>,
    ) {
        while let Some(client) = exchange.cohort.get(next_client.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let broadcast = self.simulation.algorithm.broadcast(state, exchange, client);
            let reply = self.client(client, stop).answer(&broadcast).map(|reply| reply.compared_to(&broadcast));
            let ended = reply.is_err();
            if sender.send(Ok((client.clone(), reply))).is_err() || ended {
                return;
            }
        }
    }

    /// `client` with everything that it works with, until `stop` is set.
    fn client<'c>(&'c self, client: &'c ClientName, stop: &'c AtomicBool) -> Client<'c> {
        let Simulation { algorithm, images, participation, seed, on_step, checkpoints, .. } = *self.simulation;
        let shard = Shard { client, images, train: &self.share(client).train };
        let attack = participation.attack_of(seed, self.roster.names(), client);
        Client { algorithm, shard, seed, attack, checkpoints, states: &self.states, on_step, keeps: false, stop }
    }
}

/// Stops the clients at work, however a round ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
