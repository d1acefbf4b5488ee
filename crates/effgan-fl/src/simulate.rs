//! Driver 1: a whole federation in one process, clients in parallel, on a thread each or more.
//!
//! Replies are folded in the order of names while later clients still work. Those that come out of turn wait on disk,
//! but for as many as there are clients at work, so memory holds these and not their number.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_nn::{Params, Streams, Threads, checkpoint, threads_of_workers};

use crate::aggregate::MemberSink;
use crate::algorithm::{Algorithm, RoundContext, ServerState};
use crate::drift::{Sketch, drifts};
use crate::intake::{Answer, FailurePolicy, Intake};
use crate::local::Shard;
use crate::memory::Memories;
use crate::message::{Broadcast, Exchange, ExchangeKind, Reply, Update};
use crate::participation::SimulationConfig;
use crate::record::{ClientRecord, Missing, RoundRecord, StepRecord};
use crate::{FlError, Result};

/// What the driver's callback says after a round; its error ends the run.
pub type AfterRound = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

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
    /// Folder for replies out of turn and for what clients remember.
    pub spool: &'a Path,
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
    /// Runs the algorithm to its end; `on_round` is told after each round.
    ///
    /// A failure is told when its client's turn comes, after the clients before it in the order of names: which of several failures
    /// ends a run does not depend on who is quicker. A round that nobody answers leaves the parameters as they are.
    ///
    /// # Errors
    /// The first client's failure, [`FlError::Interrupted`] when `watch` breaks, what `on_round` or `members` say,
    /// [`FlError::NoReplies`] when nobody is there to collect from.
    pub fn run(
        &self,
        members: &mut dyn MemberSink,
        mut on_round: impl FnMut(&RoundRecord, &ServerState) -> AfterRound,
    ) -> Result<ServerState> {
        let roster = Roster::of(self.partition);
        let server = Threads::new(self.jobs);
        let memories = Memories::in_folder(self.spool.join("clients"));
        let mut state = self.algorithm.init(&roster.context(self.seed))?;
        while let Some(exchange) = self.algorithm.next(&state, &roster.context(self.seed)) {
            let round = Round { simulation: self, roster: &roster, server: &server, memories: &memories };
            let (record, next) = round.run(state, &exchange, members)?;
            memories.write()?;
            state = next;
            on_round(&record, &state).map_err(FlError::Driver)?;
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
    memories: &'a Memories,
}

impl Round<'_> {
    /// All exchanges of the round that begins with `first`.
    fn run(
        &self,
        mut state: ServerState,
        first: &Exchange,
        members: &mut dyn MemberSink,
    ) -> Result<(RoundRecord, ServerState)> {
        let started = Instant::now();
        let (present, missing) = self.simulation.presence(first);
        let mut record = RoundRecord::begun(first.round, first.kind, missing);
        if present.is_empty() {
            return Ok((record, self.without_clients(state, first)?));
        }
        // Fewer clients than threads: the training step itself uses those to spare.
        let threads = threads_of_workers(present.len(), self.simulation.jobs);
        let workers: Vec<Threads> = threads.into_iter().map(Threads::new).collect();
        let mut exchange = Exchange { cohort: present, ..*first };
        loop {
            state = self.exchange(state, &exchange, &workers, members, &mut record)?;
            if state.round == exchange.round {
                break;
            }
            let next = self.simulation.algorithm.next(&state, &self.roster.context(self.simulation.seed));
            exchange =
                Exchange { cohort: record.still_in(exchange.cohort), ..next.expect("a round that has begun is ended") };
        }
        record.seconds = started.elapsed().as_secs_f64();
        Ok((record, state))
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
        record: &mut RoundRecord,
    ) -> Result<ServerState> {
        let Simulation { algorithm, spool, seed, failures, .. } = self.simulation;
        let ctx = self.roster.context(*seed);
        let state = self.server.run(|| algorithm.prepare(state, exchange, &ctx))?;
        let intake = Intake::new(exchange, ctx, algorithm.expects(&state, exchange)?, *failures);
        let folder = spool.join(format!("round_{:04}", exchange.round));
        let (next_client, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (folded, tally, intake) = std::thread::scope(|scope| {
            // Dropped in reverse, also by a panic: first the receiver, which lets senders go, then clients at work are told to stop.
            let _stop = StopOnDrop(&stop);
            let (sender, receiver) = sync_channel(0);
            for threads in workers {
                let (sender, next_client, stop, state) = (sender.clone(), &next_client, &stop, &state);
                scope.spawn(move || threads.run(|| self.work(state, exchange, next_client, stop, &sender)));
            }
            drop(sender);
            let mut replies = InOrder::new(exchange, intake, receiver, &folder, workers.len());
            let folded = self.server.run(|| algorithm.aggregate(&state, exchange, &mut replies, members));
            (folded, replies.tally, replies.intake)
        });
        remove_folder(&folder)?;
        let (missing, refused) = intake.finish();
        record.miss(missing);
        record.refused.extend(refused);
        tally.tell(record, |num_examples| algorithm.weights().of(num_examples));
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
            let reply = self.one_client(&broadcast, client, stop);
            let (ended, seconds) = (reply.is_err(), started.elapsed().as_secs_f64());
            let update = sketch(&broadcast, &reply);
            let arrival = Arrival { client: client.clone(), reply, update, on_disk: false, bytes_down, seconds };
            if sender.send(arrival).is_err() || ended {
                return;
            }
        }
    }

    fn one_client(&self, broadcast: &Broadcast, client: &ClientName, stop: &AtomicBool) -> Result<Reply> {
        let Simulation { algorithm, images, participation, seed, watch, .. } = self.simulation;
        let shard = Shard { client, images, train: &self.simulation.share(client).train };
        let streams = Streams::of_client(*seed, broadcast.round, client.as_str());
        let mut memory = self.memories.take(client)?;
        let mut watch = |record: &StepRecord| {
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { watch(record) }
        };
        let done = algorithm.local_update(broadcast, &mut memory, &shard, &streams, &mut watch);
        match done {
            Ok(mut update) => {
                self.memories.put(client, memory)?;
                if let Some(attack) = participation.attack_of(*seed, &self.roster.names, client) {
                    attack.spoil(broadcast, &streams, &mut update)?;
                }
                Ok(Reply::Update(update))
            }
            Err(FlError::Interrupted) => Err(FlError::Interrupted),
            Err(failure) => Ok(Reply::Failed(failure.to_string())),
        }
    }
}

/// How far the client went, where it trained what it was sent.
fn sketch(broadcast: &Broadcast, reply: &Result<Reply>) -> Option<Sketch> {
    let trains = matches!(broadcast.kind, ExchangeKind::Average | ExchangeKind::Collect);
    let Ok(Reply::Update(update)) = reply else { return None };
    if trains { Sketch::of_update(&broadcast.params, &update.params).ok() } else { None }
}

/// Tells clients at work to stop, however a round ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A reply as it arrives.
struct Arrival {
    client: ClientName,
    reply: Result<Reply>,
    update: Option<Sketch>,
    /// Whether its tensors wait in a file.
    on_disk: bool,
    bytes_down: u64,
    seconds: f64,
}

/// What a round's record says of the replies of one exchange.
#[derive(Default)]
struct Tally {
    clients: Vec<(ClientRecord, Option<Sketch>)>,
    bytes_down: u64,
    bytes_up: u64,
}

/// Replies in the order of `cohort`, whatever order they arrive in.
struct InOrder<'a> {
    exchange: &'a Exchange,
    cohort: std::slice::Iter<'a, ClientName>,
    intake: Intake<'a>,
    arriving: Receiver<Arrival>,
    /// Out of turn.
    waiting: BTreeMap<ClientName, Arrival>,
    /// How many of them wait in memory at most; the tensors of others lie in `folder`.
    room: usize,
    folder: &'a Path,
    tally: Tally,
}

impl<'a> InOrder<'a> {
    fn new(
        exchange: &'a Exchange,
        intake: Intake<'a>,
        arriving: Receiver<Arrival>,
        folder: &'a Path,
        room: usize,
    ) -> Self {
        let (cohort, waiting, tally) = (exchange.cohort.iter(), BTreeMap::new(), Tally::default());
        Self { exchange, cohort, intake, arriving, waiting, room, folder, tally }
    }

    /// The update of `client`; nothing when it is left out.
    fn update_of(&mut self, client: &ClientName) -> Result<Option<Update>> {
        let arrival = self.wait_for(client)?;
        let Arrival { reply, update: sketch, bytes_down, seconds, .. } = arrival;
        self.tally.bytes_down += bytes_down;
        let taken = self.intake.take(Answer::to(self.exchange, client.clone(), reply?))?;
        if let Some(update) = &taken {
            self.tally.add(client, update, sketch, seconds);
        }
        Ok(taken)
    }

    fn wait_for(&mut self, client: &ClientName) -> Result<Arrival> {
        if let Some(arrival) = self.waiting.remove(client) {
            return self.fetch(arrival);
        }
        loop {
            let arrival = self.arriving.recv().expect("a worker hands in a reply for each client it took");
            if arrival.client == *client {
                return Ok(arrival);
            }
            let waiting = self.put_aside(arrival)?;
            self.waiting.insert(waiting.client.clone(), waiting);
        }
    }

    fn put_aside(&self, mut arrival: Arrival) -> Result<Arrival> {
        if self.waiting.values().filter(|waiting| !waiting.on_disk).count() < self.room {
            return Ok(arrival);
        }
        if let Ok(Reply::Update(update)) = &mut arrival.reply {
            spool(&self.file(&arrival.client), &update.params)?;
            (update.params, arrival.on_disk) = (Params::new(), true);
        }
        Ok(arrival)
    }

    fn fetch(&self, mut arrival: Arrival) -> Result<Arrival> {
        if let (Ok(Reply::Update(update)), true) = (&mut arrival.reply, arrival.on_disk) {
            update.params = checkpoint::load(&self.file(&arrival.client))?;
        }
        Ok(arrival)
    }

    fn file(&self, client: &ClientName) -> PathBuf {
        self.folder.join(format!("{client}.safetensors"))
    }
}

impl Tally {
    fn add(&mut self, client: &ClientName, update: &Update, sketch: Option<Sketch>, seconds: f64) {
        self.bytes_up += update.params.num_bytes();
        let Update { num_examples, ref metrics, .. } = *update;
        let record =
            ClientRecord { name: client.clone(), num_examples, metrics: metrics.clone(), seconds, drift: None };
        self.clients.push((record, sketch));
    }

    /// Adds the exchange to the round's record; an update counts as `weight` says of n_k.
    fn tell(self, record: &mut RoundRecord, weight: impl Fn(u64) -> f64) {
        record.bytes_down += self.bytes_down;
        record.bytes_up += self.bytes_up;
        let weights: Vec<f64> = self.clients.iter().map(|(client, _)| weight(client.num_examples)).collect();
        let (clients, sketches): (Vec<_>, Vec<_>) = self.clients.into_iter().unzip();
        let sketches: Option<Vec<Sketch>> = sketches.into_iter().collect();
        let drifts = sketches.map(|all| drifts(&all.into_iter().zip(weights).collect::<Vec<_>>()));
        for (index, client) in clients.into_iter().enumerate() {
            record.add(ClientRecord { drift: drifts.as_ref().map(|drifts| drifts[index]), ..client });
        }
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<(ClientName, Update)>;

    /// An error also when all are done and they are too few.
    fn next(&mut self) -> Option<Self::Item> {
        while let Some(client) = self.cohort.next() {
            match self.update_of(client) {
                Ok(None) => {}
                Ok(Some(update)) => return Some(Ok((client.clone(), update))),
                Err(error) => return Some(Err(error)),
            }
        }
        self.intake.enough().err().map(Err)
    }
}

/// Writes a reply for this process alone: nothing is lost with it that a run that stops would want back.
fn spool(file: &Path, params: &Params) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, checkpoint::to_bytes(params)))
        .map_err(|source| FlError::Io { path: file.into(), source })
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(FlError::Io { path: folder.into(), source })
        }
        _ => Ok(()),
    }
}
