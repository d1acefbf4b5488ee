//! The simulation as a driver: order of replies, what clients remember, failures, interruption.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_fl::aggregate::{MemberSink, Weights, average};
use effgan_fl::algorithm::{ClientState, Replies};
use effgan_fl::algorithms::FedGanConfig;
use effgan_fl::message::Numbers;
use effgan_fl::{
    Algorithm, AlgorithmConfig, Broadcast, Exchange, ExchangeKind, LocalConfig, Result, RoundContext, RoundRecord,
    ServerState, Shard, Simulation, StepRecord, Update, Watch,
};
use effgan_nn::kernels::Precision;
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, NormKind};
use effgan_nn::{Array, Params, Streams};

const CLIENTS: usize = 7;

/// A client adds 1 to what it remembers and answers with it; the server averages. The first clients are the slowest.
struct Counting;

fn number(value: f32) -> Params {
    [("number".to_owned(), Array::new([1], vec![value]))].into_iter().collect()
}

impl Algorithm for Counting {
    fn init(&self, _: &RoundContext) -> Result<ServerState> {
        Ok(ServerState { round: 0, params: number(0.0) })
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        let (round, cohort) = (state.round + 1, ctx.roster.to_vec());
        (round <= 3).then_some(Exchange { round, kind: ExchangeKind::Average, cohort })
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, _: &ClientName) -> Broadcast {
        Broadcast { round: exchange.round, kind: exchange.kind, params: state.params.clone() }
    }

    fn local_update(
        &self,
        _: &Broadcast,
        memory: &mut ClientState,
        shard: &Shard,
        _: &Streams,
        _: &mut dyn Watch,
    ) -> Result<Update> {
        sleep(Duration::from_millis(8 - u64::from(shard.train[0])));
        let count = memory.get("number").map_or(0.0, |array| array.values[0]) + 1.0;
        *memory = number(count);
        let params = number(count * (1 + shard.train[0]) as f32);
        Ok(Update { params, num_examples: 1, metrics: Numbers::default() })
    }

    fn aggregate(
        &self,
        _: ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        _: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        Ok(ServerState { round: exchange.round, params: average(replies, Weights::Examples, exchange.round)? })
    }

    fn local_steps(&self, _: ExchangeKind, _: u64) -> u64 {
        1
    }
}

fn images() -> ImageSet {
    ImageSet::new([1, 4, 4], (0..CLIENTS * 16).map(|i| i as u8).collect(), vec![0; CLIENTS], 1).unwrap()
}

/// `images_each` images for every client.
fn partition(images_each: u32) -> Partition {
    let share = |i| {
        let train = (0..images_each).map(|k| (i as u32 + k) % CLIENTS as u32).collect();
        ClientShare { name: ClientName::simulated(i, CLIENTS), train, held_out: Vec::new() }
    };
    Partition { clients: (0..CLIENTS).map(share).collect() }
}

fn run(
    algorithm: &dyn Algorithm,
    jobs: usize,
    spool: &Path,
    watch: &(dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
) -> Result<(ServerState, Vec<RoundRecord>)> {
    let mut records = Vec::new();
    let (images, partition) = (images(), partition(4));
    let simulation = Simulation { algorithm, images: &images, partition: &partition, seed: 1, jobs, spool, watch };
    let state = simulation.run(&mut Vec::new(), |record, _| {
        records.push(record.clone());
        Ok(())
    })?;
    Ok((state, records))
}

fn watch_nothing(_: &StepRecord) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn fedgan(learning_rate: f64) -> Box<dyn Algorithm> {
    let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, norm: NormKind::Batch };
    let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 4, 4]).unwrap();
    let local = LocalConfig {
        batch_size: 2,
        learning_rate,
        beta1: 0.5,
        epochs: None,
        steps: Some(5),
        ema: None,
        precision: Precision::F32,
    };
    let config = FedGanConfig { rounds: 2, cohort: 0.5, weights: Weights::Examples };
    AlgorithmConfig::Fedgan(config).build(network, local).unwrap()
}

#[test]
fn replies_are_folded_by_name_and_memories_kept_whoever_is_quicker() {
    for jobs in [1, CLIENTS] {
        let folder = tempfile::tempdir().unwrap();
        let (state, records) = run(&Counting, jobs, folder.path(), &watch_nothing).unwrap();
        // Third time: 3 · (1 + 2 + … + 7) / 7 = 12.
        assert_eq!(state.params, number(12.0));
        for record in records {
            assert!(record.clients.is_sorted_by_key(|client| &client.name), "jobs {jobs}");
            assert_eq!((record.clients.len(), record.bytes_up, record.bytes_down), (CLIENTS, 28, 28));
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["clients"], "replies out of turn are gone");
    }
}

#[test]
fn a_loss_that_is_no_number_names_client_round_and_step() {
    let folder = tempfile::tempdir().unwrap();
    let error = run(&*fedgan(1e30), 2, folder.path(), &watch_nothing).unwrap_err().to_string();
    assert!(error.starts_with("client client-000") && error.contains("failed in round 1: the "), "{error}");
    assert!(error.contains(" of 5 is "), "{error}");
}

#[test]
fn an_interrupted_run_stops_at_the_next_step() {
    for jobs in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let steps = AtomicUsize::new(0);
        let watch = |_: &StepRecord| match steps.fetch_add(1, Ordering::Relaxed) {
            0..7 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let error = run(&*fedgan(1e-3), jobs, folder.path(), &watch).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
        assert!(steps.load(Ordering::Relaxed) <= 7 + jobs, "each client at work does one step more at most");
    }
}

#[test]
fn a_progress_bar_counts_the_steps_that_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let (algorithm, images, partition) = (fedgan(1e-3), images(), partition(4));
    let done = AtomicUsize::new(0);
    let watch = |_: &StepRecord| {
        done.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let simulation = Simulation {
        algorithm: &*algorithm,
        images: &images,
        partition: &partition,
        seed: 1,
        jobs: 2,
        spool: folder.path(),
        watch: &watch,
    };
    let total: u64 = simulation.plan().iter().map(|round| round.steps).sum();
    simulation.run(&mut Vec::new(), |_, _| Ok(())).unwrap();
    // Two rounds, half of seven clients rounded up, five steps each.
    assert_eq!((total, done.load(Ordering::Relaxed)), (40, 40));
}
