//! The simulation as a driver: order of replies, client state, failures, interruption.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use effgan_data::{ClientName, ClientShare, ImageSet, Partition};
use effgan_fl::aggregate::{MemberSink, Weights, average};
use effgan_fl::algorithms::{FedGanConfig, LocalEnsembleConfig};
use effgan_fl::message::{Numbers, Replies};
use effgan_fl::state::ClientState;
use effgan_fl::{
    AggregationConfig, Algorithm, AlgorithmConfig, Bounds, Broadcast, CheckpointConfig, Checkpoints, ClientRecord,
    Exchange, ExchangeKind, FailurePolicy, FlError, LocalConfig, Missing, OnFailure, Result, RoundContext, RoundRecord,
    RunId, ServerState, Shapes, Shard, Simulation, SimulationConfig, Speed, StepObserver, StepRecord, Update,
};
use effgan_nn::gan::GanModel;
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig};
use effgan_nn::{Array, Device, Params, Streams};

const CLIENTS: usize = 7;

/// Each client counts its rounds in its state and replies with the count times its number; the server averages. The first client
/// is the slowest.
struct Counting {
    /// The round in which the third client fails; 0 for never.
    fails_in: u32,
}

const COUNTING: Counting = Counting { fails_in: 0 };

fn number(value: f32) -> Params {
    [("number".to_owned(), Array::new([1], vec![value]))].into_iter().collect()
}

impl Algorithm for Counting {
    fn init(&self, _: &RoundContext) -> Result<ServerState> {
        Ok(ServerState::after_round(0, number(0.0)))
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        let (round, cohort) = (state.round + 1, ctx.roster.to_vec());
        (round <= 3).then_some(Exchange::of_round(round, ExchangeKind::Average, cohort))
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, _: &ClientName) -> Broadcast {
        exchange.message(state.params.clone())
    }

    fn expects(&self, _: &ServerState, _: &Exchange) -> Result<Shapes> {
        Ok([("number".to_owned(), vec![1])].into())
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        client_state: &mut ClientState,
        shard: &Shard,
        _: &Streams,
        _: &mut dyn StepObserver,
    ) -> Result<Update> {
        if broadcast.round == self.fails_in && shard.train[0] == 2 {
            return Err(FlError::Config("its disk is full".into()));
        }
        sleep(Duration::from_millis(if shard.train[0] == 0 { 40 } else { 1 }));
        let count = client_state.get("number").map_or(0.0, |array| array.values()[0]) + 1.0;
        *client_state = number(count);
        let params = number(count * (1 + shard.train[0]) as f32);
        Ok(Update { params, num_examples: shard.train.len() as u64, metrics: Numbers::default() })
    }

    fn aggregate(
        &self,
        _: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        _: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        Ok(ServerState::after_round(exchange.round, average(replies, Weights::Examples, exchange.round)?))
    }

    fn local_steps(&self, _: &Exchange, _: u64) -> u64 {
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
    on_step: &(dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
) -> Result<(ServerState, Vec<RoundRecord>)> {
    run_with(&SimulationConfig::default(), algorithm, jobs, spool, on_step)
}

fn run_with(
    participation: &SimulationConfig,
    algorithm: &dyn Algorithm,
    jobs: usize,
    spool: &Path,
    on_step: &(dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
) -> Result<(ServerState, Vec<RoundRecord>)> {
    run_with_failures(FailurePolicy::default(), participation, algorithm, jobs, spool, on_step)
}

fn run_with_failures(
    failures: FailurePolicy,
    participation: &SimulationConfig,
    algorithm: &dyn Algorithm,
    jobs: usize,
    spool: &Path,
    on_step: &(dyn Fn(&StepRecord) -> ControlFlow<()> + Sync),
) -> Result<(ServerState, Vec<RoundRecord>)> {
    let mut records = Vec::new();
    let (images, partition) = (images(), partition(4));
    let checkpoints = checkpoints(spool);
    let simulation = Simulation {
        algorithm,
        images: &images,
        partition: &partition,
        participation,
        failures,
        seed: 1,
        jobs,
        checkpoints: &checkpoints,
        on_step,
    };
    let mut on_round = |record: &RoundRecord, _: &ServerState| {
        records.push(record.clone());
        Ok(())
    };
    let state = simulation.run(None, &mut Vec::new(), &mut on_round)?;
    Ok((state, records))
}

fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints::new(folder.into(), RunId::default(), CheckpointConfig::default(), |line| panic!("{line}"))
}

fn ignore_steps(_: &StepRecord) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn device() -> Device {
    Device::cpu().unwrap()
}

fn network() -> Network {
    let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, ..DcganConfig::default() };
    Network::new(NetworkConfig::Dcgan(dcgan), [1, 4, 4]).unwrap()
}

fn model(learning_rate: f64) -> Arc<GanModel> {
    Arc::new(local(learning_rate).gan(network()))
}

fn local(learning_rate: f64) -> LocalConfig {
    LocalConfig { batch_size: 2, learning_rate, steps: Some(5), ..LocalConfig::default() }
}

/// With a cohort of half the clients.
fn fedgan(learning_rate: f64) -> Box<dyn Algorithm> {
    let config = FedGanConfig { rounds: 2, cohort: 0.5, weights: Weights::Examples };
    AlgorithmConfig::Fedgan(config)
        .build(model(learning_rate), local(learning_rate), &AggregationConfig::default(), device())
        .unwrap()
}

fn fedgan_of_all() -> Box<dyn Algorithm> {
    let config = FedGanConfig { rounds: 2, cohort: 1.0, weights: Weights::Examples };
    AlgorithmConfig::Fedgan(config).build(model(1e-3), local(1e-3), &AggregationConfig::default(), device()).unwrap()
}

#[test]
fn replies_are_folded_by_name_and_client_states_kept_whichever_client_is_faster() {
    // With two jobs, more replies wait for the first client's than may wait in memory.
    for jobs in [1, 2, CLIENTS] {
        let folder = tempfile::tempdir().unwrap();
        let (state, records) = run(&COUNTING, jobs, folder.path(), &ignore_steps).unwrap();
        // Third time: 3 · (1 + 2 + … + 7) / 7 = 12.
        assert_eq!(state.params, number(12.0));
        for record in records {
            assert!(record.clients.is_sorted_by_key(|client| &client.name), "jobs {jobs}");
            assert_eq!((record.clients.len(), record.bytes_up, record.bytes_down), (CLIENTS, 28, 28));
        }
        let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: BTreeSet<_> = left.map(|name| name.into_string().unwrap()).collect();
        let expected = ["clients", "round_0002.safetensors", "round_0003.safetensors"].map(String::from);
        assert_eq!(left, expected.into(), "replies and older states are removed");
    }
}

#[test]
fn a_loss_that_is_not_finite_names_client_round_and_step() {
    let folder = tempfile::tempdir().unwrap();
    let error = run(&*fedgan(1e30), 2, folder.path(), &ignore_steps).unwrap_err().to_string();
    assert!(error.starts_with("client client-000") && error.contains("failed in round 1: the "), "{error}");
    assert!(error.contains(" of 5 is "), "{error}");
}

#[test]
fn an_interrupted_run_stops_at_the_next_step() {
    for jobs in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let steps = AtomicUsize::new(0);
        let on_step = |_: &StepRecord| match steps.fetch_add(1, Ordering::Relaxed) {
            0..7 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let error = run(&*fedgan(1e-3), jobs, folder.path(), &on_step).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
        assert!(steps.load(Ordering::Relaxed) <= 7 + jobs, "each client at work does at most one more step");
    }
}

#[test]
fn a_panic_in_a_clients_training_reaches_the_caller_with_its_own_message_and_stops_the_other_clients() {
    const STEPS: u32 = 100_000;
    let config = LocalEnsembleConfig { rounds: 1, weights: Weights::Examples };
    let local = LocalConfig { steps: Some(STEPS), ..local(1e-9) };
    let algorithm = AlgorithmConfig::LocalEnsemble(config)
        .build(model(1e-9), local, &AggregationConfig::default(), device())
        .unwrap();
    for jobs in [1, 3] {
        let (folder, steps) = (tempfile::tempdir().unwrap(), AtomicU32::new(0));
        let on_step = |_: &StepRecord| {
            assert!(steps.fetch_add(1, Ordering::Relaxed) != 7, "a bug in the eighth step");
            ControlFlow::Continue(())
        };
        let panic = catch_unwind(AssertUnwindSafe(|| run(&*algorithm, jobs, folder.path(), &on_step))).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug in the eighth step"), "jobs {jobs}");
        assert!(steps.into_inner() < STEPS, "no other client does all of its steps");
    }
}

fn dropout(dropout: f64) -> SimulationConfig {
    SimulationConfig { dropout, ..SimulationConfig::default() }
}

/// Half of the clients are too slow for five steps per second.
fn half_late() -> SimulationConfig {
    let speed = Some(Speed { median: 5.0, sigma: 1.0 });
    SimulationConfig { deadline: Some(1.0), speed, ..SimulationConfig::default() }
}

#[test]
fn the_plan_has_as_many_steps_as_the_run() {
    let (algorithm, images, partition) = (fedgan(1e-3), images(), partition(4));
    for participation in [SimulationConfig::default(), dropout(0.4), half_late()] {
        let folder = tempfile::tempdir().unwrap();
        let done = AtomicUsize::new(0);
        let on_step = |_: &StepRecord| {
            done.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        let simulation = Simulation {
            algorithm: &*algorithm,
            images: &images,
            partition: &partition,
            participation: &participation,
            failures: FailurePolicy::default(),
            seed: 1,
            jobs: 2,
            checkpoints: &checkpoints(folder.path()),
            on_step: &on_step,
        };
        let total: u64 = simulation.plan().iter().map(|round| round.steps).sum();
        simulation.run(None, &mut Vec::new(), &mut |_: &RoundRecord, _: &ServerState| Ok(())).unwrap();
        assert_eq!(total, done.load(Ordering::Relaxed) as u64);
        // Two rounds, half of seven clients rounded up, five steps each.
        assert_eq!(total == 40, participation == SimulationConfig::default(), "{participation:?}");
    }
}

#[test]
fn the_plan_of_clients_that_count_for_fewer_images_has_the_steps_that_they_make() {
    let local = LocalConfig { steps: None, epochs: Some(2), ..local(1e-3) };
    let config = FedGanConfig { rounds: 1, cohort: 1.0, weights: Weights::Examples };
    let algorithm = AlgorithmConfig::Fedgan(config).build(model(1e-3), local, &AggregationConfig::default(), device());
    let (folder, bounds) = (tempfile::tempdir().unwrap(), Bounds { max_examples: Some(1), ..Bounds::default() });
    let simulation = Simulation {
        algorithm: &*algorithm.unwrap(),
        images: &images(),
        partition: &partition(4),
        participation: &SimulationConfig::default(),
        failures: FailurePolicy { bounds, ..FailurePolicy::default() },
        seed: 1,
        jobs: 2,
        checkpoints: &checkpoints(folder.path()),
        on_step: &ignore_steps,
    };
    // Two batches of two images, twice.
    assert_eq!(simulation.plan()[0].steps, 4 * CLIENTS as u64);
}

#[test]
fn a_missing_client_is_named_with_the_reason_and_does_no_work() {
    let everyone: Vec<_> = (0..CLIENTS).map(|i| ClientName::simulated(i, CLIENTS)).collect();
    for (participation, word) in [(dropout(0.4), "dropped out"), (half_late(), "late: ")] {
        let steps_of = Mutex::new(BTreeSet::new());
        let on_step = |record: &StepRecord| {
            steps_of.lock().unwrap().insert((record.round, record.client.clone()));
            ControlFlow::Continue(())
        };
        let folder = tempfile::tempdir().unwrap();
        let (_, records) = run_with(&participation, &*fedgan_of_all(), 2, folder.path(), &on_step).unwrap();
        for RoundRecord { round, clients, missing, .. } in &records {
            assert!(missing.iter().all(|missing| missing.reason.starts_with(word)), "{missing:?}");
            assert!(missing.is_sorted_by_key(|missing| &missing.name));
            let worked = |name: &ClientName| steps_of.lock().unwrap().contains(&(*round, name.clone()));
            assert!(clients.iter().all(|client| worked(&client.name)));
            assert!(!missing.iter().any(|missing| worked(&missing.name)));
            let names = clients.iter().map(|client| &client.name).chain(missing.iter().map(|missing| &missing.name));
            assert_eq!(names.collect::<BTreeSet<_>>(), everyone.iter().collect());
        }
        assert!(records.iter().any(|record| !record.missing.is_empty() && !record.clients.is_empty()), "{word}");
    }
}

#[test]
fn the_mean_is_over_the_clients_that_replied() {
    let folder = tempfile::tempdir().unwrap();
    let (state, records) = run_with(&dropout(0.4), &COUNTING, 2, folder.path(), &ignore_steps).unwrap();
    let last = records.last().unwrap();
    assert!(!last.missing.is_empty() && !last.clients.is_empty());
    // A client replies with the number of rounds in which it took part, times its number.
    let there =
        |name: &ClientName| records.iter().filter(|record| record.clients.iter().any(|c| c.name == *name)).count();
    let place = |name: &ClientName| (0..CLIENTS).position(|i| ClientName::simulated(i, CLIENTS) == *name).unwrap() + 1;
    let sum: usize = last.clients.iter().map(|client| there(&client.name) * place(&client.name)).sum();
    assert_eq!(state.params, number((sum as f64 / last.clients.len() as f64) as f32));
}

#[test]
fn a_round_with_no_participants_leaves_the_parameters_unchanged_and_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let (state, records) = run_with(&dropout(0.999), &COUNTING, 2, folder.path(), &ignore_steps).unwrap();
    assert_eq!((state.round, state.params), (3, number(0.0)));
    let numbers = records.iter().map(|record| (record.clients.len(), record.missing.len(), record.bytes_down));
    assert_eq!(numbers.collect::<Vec<_>>(), [(0, CLIENTS, 0); 3]);
}

#[test]
fn an_ensemble_with_no_members_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = LocalEnsembleConfig { rounds: 1, weights: Weights::Examples };
    let algorithm = AlgorithmConfig::LocalEnsemble(config)
        .build(model(1e-3), local(1e-3), &AggregationConfig::default(), device())
        .unwrap();
    let error = run_with(&dropout(0.999), &*algorithm, 2, folder.path(), &ignore_steps).unwrap_err();
    assert_eq!(error.to_string(), "no client answered in round 1");
}

#[test]
fn drift_has_the_norm_of_an_update_and_its_cosine_to_the_mean() {
    let folder = tempfile::tempdir().unwrap();
    let (_, records) = run(&COUNTING, 2, folder.path(), &ignore_steps).unwrap();
    let drifts = |round: usize| -> Vec<(f64, f64)> {
        let drift = |client: &ClientRecord| client.drift.map(|drift| (drift.norm, drift.cosine)).unwrap();
        records[round].clients.iter().map(drift).collect()
    };
    // In round 1 they are sent 0 and reply 1, 2, …, 7; in round 2 they are sent the mean 4 and reply 2, 4, …, 14, whose mean is 8.
    assert_eq!(drifts(0), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0].map(|norm| (norm, 1.0)));
    let second = [(2.0, -1.0), (0.0, 0.0), (2.0, 1.0), (4.0, 1.0), (6.0, 1.0), (8.0, 1.0), (10.0, 1.0)];
    assert_eq!(drifts(1), second);
}

#[test]
fn a_client_that_fails_is_left_out_of_its_round_by_name_and_asked_again_in_the_next() {
    let failing = Counting { fails_in: 2 };
    let run = |failures| {
        let folder = tempfile::tempdir().unwrap();
        run_with_failures(failures, &SimulationConfig::default(), &failing, 2, folder.path(), &ignore_steps)
    };
    let leave_out =
        |min_clients| FailurePolicy { on_failure: OnFailure::LeaveOut, min_clients, ..FailurePolicy::default() };
    let (state, records) = run(leave_out(Some(CLIENTS - 1))).unwrap();
    let missing = records.iter().map(|record| record.missing.clone()).collect::<Vec<_>>();
    let name = ClientName::simulated(2, CLIENTS);
    assert_eq!(missing, [vec![], vec![Missing { name, reason: "its disk is full".into() }], vec![]]);
    assert_eq!(records.iter().map(|record| record.clients.len()).collect::<Vec<_>>(), [7, 6, 7]);
    // In the third round it has counted to 2, the others to 3: (3 · (1 + … + 7) − 3) / 7.
    assert_eq!(state.params, number(81.0 / 7.0));

    let error = run(FailurePolicy::default()).unwrap_err().to_string();
    assert_eq!(error, "client client-0002 failed in round 2: its disk is full");
    let error = run(leave_out(Some(CLIENTS))).unwrap_err().to_string();
    assert!(
        error.starts_with("6 of 7 clients gave a usable reply in round 2, and at least 7 must; client-0002: its disk")
    );
}
