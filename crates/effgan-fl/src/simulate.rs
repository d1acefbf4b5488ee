//! Driver 1: a whole federation in one process, clients in parallel, on a thread each or more.
//!
//! Replies are folded in the order of names while later clients still work. One that comes out of turn waits on disk, so memory
//! holds the clients at work and not their number.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_nn::{Params, Streams, checkpoint, on_threads, threads_of_workers};

use crate::aggregate::MemberSink;
use crate::algorithm::{Algorithm, RoundContext, ServerState};
use crate::local::Shard;
use crate::message::{Broadcast, Exchange, ExchangeKind, Reply};
use crate::record::{ClientRecord, RoundRecord, StepRecord};
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
    /// How many are asked.
    pub clients: usize,
    /// Training steps of all of them.
    pub steps: u64,
}

impl Simulation<'_> {
    /// Runs the algorithm to its end; `on_round` is told after each exchange.
    ///
    /// A failure is told when its client's turn comes, after the clients before it in the order of names: which of several failures
    /// ends a run does not depend on who is quicker.
    ///
    /// # Errors
    /// The first client's failure, [`FlError::Interrupted`] when `watch` breaks, what `on_round` or `members` say.
    pub fn run(
        &self,
        members: &mut dyn MemberSink,
        mut on_round: impl FnMut(&RoundRecord, &ServerState) -> AfterRound,
    ) -> Result<ServerState> {
        let mut state = self.algorithm.init(&RoundContext { seed: self.seed, roster: &self.roster() })?;
        while let Some(exchange) = self.next(&state) {
            let (record, next) = self.exchange(state, &exchange, members)?;
            state = next;
            on_round(&record, &state).map_err(FlError::Driver)?;
        }
        Ok(state)
    }

    /// What follows `state`.
    pub fn next(&self, state: &ServerState) -> Option<Exchange> {
        self.algorithm.next(state, &RoundContext { seed: self.seed, roster: &self.roster() })
    }

    fn roster(&self) -> Vec<ClientName> {
        self.partition.clients.iter().map(|share| share.name.clone()).collect()
    }

    /// All rounds of the run, in order: what progress counts to.
    pub fn plan(&self) -> Vec<PlannedRound> {
        let mut state = ServerState { round: 0, params: Params::new() };
        let mut plan = Vec::new();
        while let Some(exchange) = self.next(&state) {
            let steps = |client| self.algorithm.local_steps(exchange.kind, self.share(client).train.len() as u64);
            let (round, kind, clients) = (exchange.round, exchange.kind, exchange.cohort.len());
            plan.push(PlannedRound { round, kind, clients, steps: exchange.cohort.iter().map(steps).sum() });
            state.round = round;
        }
        plan
    }

    fn exchange(
        &self,
        state: ServerState,
        exchange: &Exchange,
        members: &mut dyn MemberSink,
    ) -> Result<(RoundRecord, ServerState)> {
        let started = Instant::now();
        let folder = self.spool.join(format!("round_{:04}", exchange.round));
        let (next_client, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        // The fold takes the state while clients still work from it.
        let at_work = state.clone();
        let (folded, tally) = std::thread::scope(|scope| {
            // Dropped in reverse, also by a panic: first the receiver, which lets senders go, then clients at work are told to stop.
            let _stop = StopOnDrop(&stop);
            let (sender, receiver) = sync_channel(0);
            // Fewer clients than threads: the training step itself uses those to spare.
            for threads in threads_of_workers(exchange.cohort.len(), self.jobs) {
                let (sender, next_client, stop, at_work) = (sender.clone(), &next_client, &stop, &at_work);
                scope.spawn(move || on_threads(threads, || self.work(at_work, exchange, next_client, stop, &sender)));
            }
            drop(sender);
            let mut replies = InOrder::new(&exchange.cohort, receiver, &folder);
            (self.algorithm.aggregate(state, exchange, &mut replies, members), replies.tally)
        });
        remove_folder(&folder)?;
        let Tally { clients, bytes_down, bytes_up } = tally;
        let (round, kind, seconds) = (exchange.round, exchange.kind, started.elapsed().as_secs_f64());
        Ok((RoundRecord { round, kind, clients, missing: Vec::new(), bytes_down, bytes_up, seconds }, folded?))
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
            let broadcast = self.algorithm.broadcast(state, exchange, client);
            let bytes_down = broadcast.params.num_bytes();
            let reply = self.one_client(&broadcast, client, stop);
            let (ended, seconds) = (reply.is_err(), started.elapsed().as_secs_f64());
            if sender.send(Arrival { client: client.clone(), reply, bytes_down, seconds }).is_err() || ended {
                return;
            }
        }
    }

    fn one_client(&self, broadcast: &Broadcast, client: &ClientName, stop: &AtomicBool) -> Result<Reply> {
        let shard = Shard { client, images: self.images, train: &self.share(client).train };
        let streams = Streams::of_client(self.seed, broadcast.round, client.as_str());
        let memory_file = self.spool.join("clients").join(format!("{client}.safetensors"));
        let mut memory = if memory_file.exists() { checkpoint::load(&memory_file)? } else { Params::new() };
        let mut watch = |record: &StepRecord| {
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { (self.watch)(record) }
        };
        let done = self.algorithm.local_update(broadcast, &mut memory, &shard, &streams, &mut watch);
        match done.and_then(|update| update.params.check_finite().map(|()| update).map_err(FlError::from)) {
            Ok(update) => {
                if !memory.is_empty() {
                    save(&memory_file, &memory)?;
                }
                Ok(Reply::Update(update))
            }
            Err(FlError::Interrupted) => Err(FlError::Interrupted),
            Err(failure) => Ok(Reply::Failed(failure.to_string())),
        }
    }

    fn share(&self, client: &ClientName) -> &ClientShare {
        let clients = &self.partition.clients;
        let index = clients.binary_search_by(|share| share.name.cmp(client));
        &clients[index.expect("the cohort is drawn from the partition's clients")]
    }
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
    bytes_down: u64,
    seconds: f64,
}

/// What a round's record says of its replies.
#[derive(Default)]
struct Tally {
    clients: Vec<ClientRecord>,
    bytes_down: u64,
    bytes_up: u64,
}

/// Replies in the order of `cohort`, whatever order they arrive in.
struct InOrder<'a> {
    cohort: std::slice::Iter<'a, ClientName>,
    arriving: Receiver<Arrival>,
    /// Out of turn: all but the tensors, which lie in `folder`.
    waiting: BTreeMap<ClientName, Arrival>,
    folder: &'a Path,
    tally: Tally,
}

impl<'a> InOrder<'a> {
    fn new(cohort: &'a [ClientName], arriving: Receiver<Arrival>, folder: &'a Path) -> Self {
        Self { cohort: cohort.iter(), arriving, waiting: BTreeMap::new(), folder, tally: Tally::default() }
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
        if let Ok(Reply::Update(update)) = &mut arrival.reply {
            save(&self.file(&arrival.client), &update.params)?;
            update.params = Params::new();
        }
        Ok(arrival)
    }

    fn fetch(&self, mut arrival: Arrival) -> Result<Arrival> {
        if let Ok(Reply::Update(update)) = &mut arrival.reply {
            update.params = checkpoint::load(&self.file(&arrival.client))?;
        }
        Ok(arrival)
    }

    fn file(&self, client: &ClientName) -> PathBuf {
        self.folder.join(format!("{client}.safetensors"))
    }
}

impl Tally {
    fn add(&mut self, arrival: &Arrival) {
        self.bytes_down += arrival.bytes_down;
        if let Ok(Reply::Update(update)) = &arrival.reply {
            self.bytes_up += update.params.num_bytes();
            let (name, num_examples) = (arrival.client.clone(), update.num_examples);
            let metrics = update.metrics.clone();
            self.clients.push(ClientRecord { name, num_examples, metrics, seconds: arrival.seconds, drift: None });
        }
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<(ClientName, Reply)>;

    fn next(&mut self) -> Option<Self::Item> {
        let client = self.cohort.next()?;
        let arrival = match self.wait_for(client) {
            Ok(arrival) => arrival,
            Err(error) => return Some(Err(error)),
        };
        self.tally.add(&arrival);
        Some(arrival.reply.map(|reply| (client.clone(), reply)))
    }
}

fn save(file: &Path, params: &Params) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| FlError::Io { path: folder.into(), source })?;
    Ok(checkpoint::save(file, params)?)
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(FlError::Io { path: folder.into(), source })
        }
        _ => Ok(()),
    }
}
