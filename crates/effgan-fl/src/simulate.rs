//! Driver 1: a whole federation in one process, clients in parallel, on a thread each or more.
//!
//! Replies are folded in the order of names while later clients still work. Those that come out of turn wait on disk,
//! but for as many as there are clients at work, so memory holds these and not their number.

mod in_order;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_nn::{Params, Streams, Threads, threads_of_workers};
use serde_json::Value;

use self::in_order::{Arrival, Done, InOrder};
use crate::aggregate::MemberSink;
use crate::algorithm::{Algorithm, RoundContext, ServerState};
use crate::checkpoints::{Checkpoint, Checkpoints, Kept, Memories, Moment, OpenRound};
use crate::drift::Sketch;
use crate::intake::{FailurePolicy, Intake};
use crate::local::Shard;
use crate::message::{Broadcast, Exchange, ExchangeKind, Reply};
use crate::participation::SimulationConfig;
use crate::record::{LeftOff, Missing, RoundRecord, StepRecord, Watch};
use crate::steps::Steps;
use crate::{FlError, Result};

/// What an [`Observer`] answers; its error ends the run.
pub type Observed = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Keeps the state at hand, with what is noted beside it.
pub type Keep<'a> = dyn FnMut(Value) -> Result<()> + 'a;

/// Is told what a run has come to, and says when it is to be kept.
pub trait Observer {
    /// A round is done. What is told before `keep` is called is not told again by a run that goes on from there.
    ///
    /// # Errors
    /// What ends the run.
    fn round(&mut self, record: &RoundRecord, state: &ServerState, keep: &mut Keep) -> Observed;

    /// The state inside of a round of many exchanges is worth keeping.
    ///
    /// # Errors
    /// What ends the run.
    fn inside(&mut self, keep: &mut Keep) -> Observed {
        Ok(keep(Value::Null)?)
    }
}

impl<F: FnMut(&RoundRecord, &ServerState) -> Observed> Observer for F {
    fn round(&mut self, record: &RoundRecord, state: &ServerState, keep: &mut Keep) -> Observed {
        self(record, state)?;
        Ok(keep(Value::Null)?)
    }
}

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
    /// Told every training step of every client, from the client's thread; `Break` ends the run.
    pub watch: &'a (dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
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

impl Simulation<'_> {
    /// Runs the algorithm to its end, from its beginning or from where it was kept; `observer` is told after each round.
    ///
    /// A failure is told when its client's turn comes, after the clients before it in the order of names: which of several failures
    /// ends a run does not depend on who is quicker. A round to which nobody comes leaves the parameters as they are.
    ///
    /// # Errors
    /// What the [`FailurePolicy`] says of failures, [`FlError::Interrupted`] when `watch` breaks, what `observer` or
    /// `members` say, [`FlError::NoReplies`] when nobody is there to collect from; files that cannot be written.
    pub fn run(
        &self,
        from: Option<Checkpoint>,
        members: &mut dyn MemberSink,
        observer: &mut dyn Observer,
    ) -> Result<ServerState> {
        let roster = Roster::of(self.partition);
        let server = Threads::new(self.jobs);
        let (mut state, mut open) = match from {
            Some(Checkpoint { state, open, .. }) => (state, open),
            None => (self.algorithm.init(&roster.context(self.seed))?, None),
        };
        let memories = Memories::at(Moment::of(&state), self.checkpoints);
        while let Some(exchange) = self.algorithm.next(&state, &roster.context(self.seed)) {
            let round = Round { simulation: self, roster: &roster, server: &server, memories: &memories };
            let record;
            (record, state) = round.run(state, &exchange, open.take(), members, observer)?;
            memories.write(Moment::of(&state))?;
            let mut keep = |notes| self.checkpoints.save(&state, None, notes).and_then(|()| memories.prune());
            observer.round(&record, &state, &mut keep).map_err(driver_error)?;
        }
        Ok(state)
    }

    /// What follows `state`.
    pub fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.algorithm.next(state, &Roster::of(self.partition).context(self.seed))
    }

    /// All rounds of the run, in order: what progress counts to.
    pub fn plan(&self) -> Vec<PlannedRound> {
        let roster = Roster::of(self.partition);
        let mut state = ServerState::after_round(0, Params::new());
        let mut plan = Vec::new();
        while let Some(exchange) = self.algorithm.next(&state, &roster.context(self.seed)) {
            let (present, _) = self.presence(&exchange);
            let steps = present.iter().map(|client| self.steps(&exchange, client)).sum();
            plan.push(PlannedRound { round: exchange.round, kind: exchange.kind, clients: present.len(), steps });
            state.round = exchange.round;
        }
        plan
    }

    fn steps(&self, exchange: &Exchange, client: &ClientName) -> u64 {
        self.algorithm.local_steps(exchange, self.share(client).train.len() as u64)
    }

    /// The record of the round that `first` begins, with those who are not in it.
    fn begun(&self, first: &Exchange) -> RoundRecord {
        RoundRecord::begun(first.round, first.kind, self.presence(first).1)
    }

    /// Who of the cohort takes part in the round, and who does not.
    fn presence(&self, exchange: &Exchange) -> (Vec<ClientName>, Vec<Missing>) {
        let (mut present, mut missing) = (Vec::new(), Vec::new());
        for name in exchange.cohort.iter().cloned() {
            match self.absence(exchange, &name) {
                None => present.push(name),
                Some(reason) => missing.push(Missing { name, reason }),
            }
        }
        (present, missing)
    }

    fn absence(&self, exchange: &Exchange, client: &ClientName) -> Option<String> {
        // All images at one client are no federation.
        if self.algorithm.pools_data() {
            return None;
        }
        self.participation.absence(self.seed, exchange.round, client, self.steps(exchange, client))
    }

    fn share(&self, client: &ClientName) -> &ClientShare {
        let clients = &self.partition.clients;
        let index = clients.binary_search_by(|share| share.name.cmp(client));
        &clients[index.expect("the cohort is drawn from the partition's clients")]
    }
}

/// Names and sizes of all clients, in the order of names.
struct Roster {
    names: Vec<ClientName>,
    num_examples: Vec<u64>,
}

impl Roster {
    fn of(partition: &Partition) -> Self {
        let clients = &partition.clients;
        Self {
            names: clients.iter().map(|share| share.name.clone()).collect(),
            num_examples: clients.iter().map(|share| share.train.len() as u64).collect(),
        }
    }

    fn context(&self, seed: u64) -> RoundContext<'_> {
        RoundContext { seed, roster: &self.names, num_examples: &self.num_examples }
    }
}

/// What a round works with.
struct Round<'a> {
    simulation: &'a Simulation<'a>,
    roster: &'a Roster,
    /// Threads of the server's own work.
    server: &'a Threads,
    memories: &'a Memories<'a>,
}

impl Round<'_> {
    /// All exchanges from `first` to the end of its round, which may be `open` already.
    fn run(
        &self,
        mut state: ServerState,
        first: &Exchange,
        open: Option<OpenRound>,
        members: &mut dyn MemberSink,
        observer: &mut dyn Observer,
    ) -> Result<(RoundRecord, ServerState)> {
        let started = Instant::now();
        let mut open = match open {
            Some(open) => self.told_again(open)?,
            None => OpenRound { record: self.simulation.begun(first), steps: BTreeMap::new() },
        };
        let seconds_before = open.record.seconds;
        let present = open.record.still_in(first.cohort.clone());
        if present.is_empty() {
            return Ok((open.record, self.without_clients(state, first)?));
        }
        // Fewer clients than threads: the training step itself uses those to spare.
        let threads = threads_of_workers(present.len(), self.simulation.jobs);
        let workers: Vec<Threads> = threads.into_iter().map(Threads::new).collect();
        let mut exchange = Exchange { cohort: present, ..*first };
        loop {
            state = self.exchange(state, &exchange, &workers, members, &mut open)?;
            open.record.seconds = seconds_before + started.elapsed().as_secs_f64();
            if state.round == exchange.round {
                return Ok((open.record, state));
            }
            let next = self.simulation.algorithm.next(&state, &self.roster.context(self.simulation.seed));
            let next = next.expect("a round that has begun is ended");
            if self.is_worth_keeping(&exchange, &next) {
                self.keep_inside(&state, &open, observer)?;
            }
            exchange = Exchange { cohort: open.record.still_in(exchange.cohort), ..next };
        }
    }

    /// Tells the steps that were done before the run was cut off.
    fn told_again(&self, open: OpenRound) -> Result<OpenRound> {
        for (client, steps) in &open.steps {
            tell_again(steps, client, open.record.round, self.simulation.watch)?;
        }
        Ok(open)
    }

    /// Whether a step of the server is done, and so many of them since the last time.
    fn is_worth_keeping(&self, done: &Exchange, next: &Exchange) -> bool {
        let every = self.simulation.checkpoints.every_steps();
        next.iteration > done.iteration && every.is_some_and(|every| next.iteration.is_multiple_of(every))
    }

    fn keep_inside(&self, state: &ServerState, open: &OpenRound, observer: &mut dyn Observer) -> Result<()> {
        self.memories.write(Moment::of(state))?;
        let checkpoints = self.simulation.checkpoints;
        let mut keep = |notes| checkpoints.save(state, Some(open), notes).and_then(|()| self.memories.prune());
        observer.inside(&mut keep).map_err(driver_error)
    }

    /// A round to which nobody comes changes nothing, unless it needs some; without members there is no ensemble.
    fn without_clients(&self, state: ServerState, exchange: &Exchange) -> Result<ServerState> {
        let Simulation { failures, .. } = self.simulation;
        if exchange.kind == ExchangeKind::Collect || failures.min_clients.is_some() {
            return Err(FlError::NoReplies { round: exchange.round });
        }
        Ok(ServerState::after_round(exchange.round, state.params))
    }

    fn exchange(
        &self,
        state: ServerState,
        exchange: &Exchange,
        workers: &[Threads],
        members: &mut dyn MemberSink,
        open: &mut OpenRound,
    ) -> Result<ServerState> {
        let Simulation { algorithm, checkpoints, seed, failures, .. } = *self.simulation;
        let ctx = self.roster.context(seed);
        let state = self.server.run(|| algorithm.prepare(state, exchange, &ctx))?;
        let intake = Intake::new(exchange, ctx, algorithm.expects(&state, exchange)?, failures);
        let (next_client, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (folded, replies) = std::thread::scope(|scope| {
            // Dropped in reverse, also by a panic: first the receiver, which lets senders go, then clients at work are told to stop.
            let _stop = StopOnDrop(&stop);
            let (sender, receiver) = sync_channel(0);
            for threads in workers {
                let (sender, next_client, stop, state) = (sender.clone(), &next_client, &stop, &state);
                scope.spawn(move || threads.run(|| self.work(state, exchange, next_client, stop, &sender)));
            }
            drop(sender);
            let mut replies = InOrder::new(exchange, intake, receiver, checkpoints, workers.len());
            let folded = self.server.run(|| algorithm.aggregate(&state, exchange, &mut replies, members));
            (folded, replies.done())
        });
        replies.tell(open, exchange, |num_examples| algorithm.weights().of(num_examples));
        let state = folded?;
        state.params.check_finite().map_err(|source| FlError::ServerState { round: exchange.round, source })?;
        Ok(state)
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
            let started = Instant::now();
            let broadcast = self.simulation.algorithm.broadcast(state, exchange, client);
            let bytes_down = broadcast.params.num_bytes();
            let done = self.one_client(&broadcast, exchange, client, stop, started);
            let ended = done.is_err();
            let update = done.as_ref().ok().and_then(|done| sketch(&broadcast, &done.reply));
            let arrival = Arrival { client: client.clone(), done, update, on_disk: false, bytes_down };
            if sender.send(arrival).is_err() || ended {
                return;
            }
        }
    }

    /// The client's work, or what was kept of it.
    fn one_client(
        &self,
        broadcast: &Broadcast,
        exchange: &Exchange,
        client: &ClientName,
        stop: &AtomicBool,
        started: Instant,
    ) -> Result<Done> {
        let Simulation { algorithm, images, participation, seed, watch: told, checkpoints, .. } = *self.simulation;
        if let Some(kept) = self.kept(exchange, client)? {
            return Ok(kept);
        }
        let shard = Shard { client, images, train: &self.simulation.share(client).train };
        let streams = Streams::of_client(seed, broadcast.round, client.as_str());
        let mut memory = self.memories.take(client)?;
        let mut watch = ClientWatch { told, stop, checkpoints, exchange, client, steps: Steps::default() };
        let done = algorithm.local_update(broadcast, &mut memory, &shard, &streams, &mut watch);
        let (steps, seconds) = (watch.steps, started.elapsed().as_secs_f64());
        let mut update = match done {
            Ok(update) => update,
            Err(FlError::Interrupted) => return Err(FlError::Interrupted),
            Err(failure) if failure.is_of_the_server() => return Err(failure),
            Err(failure) => {
                return Ok(Done { reply: Reply::Failed(failure.to_string()), steps, seconds, is_kept: false });
            }
        };
        if let Some(attack) = participation.attack_of(seed, &self.roster.names, client) {
            attack.spoil(broadcast, &streams, &mut update)?;
        }
        let kept = Kept { update, memory, steps, seconds };
        if exchange.kind.trains() {
            checkpoints.keep_reply(exchange, client, &kept)?;
        }
        self.memories.put(client, kept.memory)?;
        let (reply, steps) = (Reply::Update(kept.update), kept.steps);
        Ok(Done { reply, steps, seconds, is_kept: exchange.kind.trains() })
    }

    /// The reply that an earlier start of the program has kept, where it is a round's work.
    fn kept(&self, exchange: &Exchange, client: &ClientName) -> Result<Option<Done>> {
        if !exchange.kind.trains() {
            return Ok(None);
        }
        let Some(Kept { update, memory, steps, seconds }) = self.simulation.checkpoints.reply(exchange, client)? else {
            return Ok(None);
        };
        tell_again(&steps, client, exchange.round, self.simulation.watch)?;
        self.memories.put(client, memory)?;
        Ok(Some(Done { reply: Reply::Update(update), steps, seconds, is_kept: true }))
    }
}

/// Tells the steps of `client` as they were told once.
fn tell_again(
    steps: &Steps,
    client: &ClientName,
    round: u32,
    told: &(dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
) -> Result<()> {
    match steps.records(client, round).try_for_each(|record| told(&record)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(FlError::Interrupted),
    }
}

/// One client's watch: it passes on what it is told, and keeps the work.
struct ClientWatch<'a> {
    told: &'a (dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
    /// Set when the round has ended without this client.
    stop: &'a AtomicBool,
    checkpoints: &'a Checkpoints,
    exchange: &'a Exchange,
    client: &'a ClientName,
    steps: Steps,
}

impl Watch for ClientWatch<'_> {
    fn step(&mut self, record: &StepRecord) -> ControlFlow<()> {
        self.steps.add(record);
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { (self.told)(record) }
    }

    fn left_off(&mut self) -> Result<Option<LeftOff>> {
        self.checkpoints.work(self.exchange, self.client)
    }

    fn keep(&mut self, step: u64, ending: bool, work: &dyn Fn() -> Params) -> Result<()> {
        let due = self.checkpoints.every_steps().is_some_and(|every| step.is_multiple_of(every));
        if !(due || ending) {
            return Ok(());
        }
        self.checkpoints.keep_work(self.exchange, self.client, &self.steps, work())
    }
}

fn driver_error(error: Box<dyn std::error::Error + Send + Sync>) -> FlError {
    match error.downcast::<FlError>() {
        Ok(error) => *error,
        Err(error) => FlError::Driver(error),
    }
}

/// How far the client went, where it trained what it was sent.
fn sketch(broadcast: &Broadcast, reply: &Reply) -> Option<Sketch> {
    let Reply::Update(update) = reply else { return None };
    if broadcast.kind.trains() { Sketch::of_update(&broadcast.params, &update.params).ok() } else { None }
}

/// Tells clients at work to stop, however a round ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
