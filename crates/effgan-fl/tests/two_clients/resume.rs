//! A run that is cut off, again and again, and goes on from what it kept: the same bits as in one go.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use effgan_fl::rounds::{ObserverResult, SaveState};
use effgan_fl::{FlError, RoundObserver, StepRecord};
use effgan_nn::gan::Losses;

use super::*;

/// All that a run shows.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Shown {
    pub(crate) params: Params,
    pub(crate) members: Members,
    /// Without times.
    pub(crate) rounds: BTreeMap<u32, RoundRecord>,
    /// By round, client and step.
    steps: BTreeMap<(u32, ClientName, u64), (u64, u64, Losses)>,
}

/// Keeps each round, and takes its record without times.
#[derive(Default)]
pub(crate) struct Recording(pub(crate) BTreeMap<u32, RoundRecord>);

impl RoundObserver for Recording {
    fn round(&mut self, record: &RoundRecord, _: &ServerState, keep: &mut SaveState) -> ObserverResult {
        let mut record = RoundRecord { seconds: 0.0, ..record.clone() };
        record.clients.iter_mut().for_each(|client| client.seconds = 0.0);
        self.0.insert(record.round, record);
        Ok(keep(serde_json::Value::Null)?)
    }
}

/// Starts the run until it ends; each start ends after `steps_a_start` new training steps.
pub(crate) fn shown(
    config: &AlgorithmConfig,
    local: &LocalConfig,
    every_steps: Option<u64>,
    jobs: usize,
    cut: Option<u64>,
) -> Shown {
    let folder = tempfile::tempdir().unwrap();
    let algorithm = config.build(network(), local.clone(), &AggregationConfig::default()).unwrap();
    let partition = if algorithm.pools_data() { partition().pooled() } else { partition() };
    let (mut observer, told) = (Recording::default(), Mutex::new(BTreeMap::new()));
    for start in 0.. {
        assert!(start < 1000, "{}: it comes to an end", config.name());
        let new = AtomicU64::new(0);
        let on_step = |record: &StepRecord| {
            let StepRecord { client, round, step, steps, batch_size, losses } = record.clone();
            let known = told.lock().unwrap().insert((round, client, step), (steps, batch_size, losses));
            assert!(known.is_none_or(|known| known == (steps, batch_size, losses)), "a step told again is the same");
            let cut = known.is_none() && cut.is_some_and(|cut| new.fetch_add(1, Ordering::Relaxed) + 1 >= cut);
            if cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let checkpoints = checkpoints(folder.path(), every_steps);
        let simulation = Simulation {
            algorithm: &*algorithm,
            images: &images(),
            partition: &partition,
            participation: &SimulationConfig::default(),
            failures: FailurePolicy::default(),
            seed: SEED,
            jobs,
            checkpoints: &checkpoints,
            on_step: &on_step,
        };
        let from = checkpoints.latest(|_| Ok(())).unwrap();
        // A round of MD-GAN that is not kept inside must be given the time to end.
        let mut members = Members::new();
        match simulation.run(from, &mut members, &mut observer) {
            Ok(state) => {
                let steps = told.into_inner().unwrap();
                return Shown { params: state.params, members, rounds: observer.0, steps };
            }
            Err(FlError::Interrupted) => (),
            Err(error) => panic!("{}: {error}", config.name()),
        }
    }
    unreachable!("it came to an end or panicked")
}

#[test]
fn a_run_that_is_cut_off_after_every_few_steps_comes_to_the_same_bits() {
    let local = LocalConfig { ema: None, ..local() };
    for config in every_algorithm() {
        let whole = shown(&config, &local, None, 1, None);
        for (jobs, cut) in [(1, 1), (2, 1), (1, 2), (2, 4)] {
            assert_eq!(
                shown(&config, &local, Some(1), jobs, Some(cut)),
                whole,
                "{}, {jobs} jobs, {cut}",
                config.name()
            );
        }
    }
}

#[test]
fn moving_averages_pulls_and_more_updates_of_the_discriminator_go_on_too() {
    let local = LocalConfig { ema: Some(0.9), discriminator_steps: 2, epochs: None, steps: Some(5), ..local() };
    for config in [effgan(1, 2), fedprox(2, 0.5), local_ensemble(1)] {
        let whole = shown(&config, &local, None, 1, None);
        assert_eq!(shown(&config, &local, Some(2), 2, Some(1)), whole, "{}", config.name());
    }
}

/// Clients whose work is done are not asked again: without steps in between, a run of a round of two clients goes on at the second.
#[test]
fn finished_replies_of_the_open_round_are_not_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let algorithm = fedgan(1).build(network(), local(), &AggregationConfig::default()).unwrap();
    let steps = |stop_at: Option<&'static str>| {
        let (told, images, partition) = (Mutex::new(Vec::new()), images(), partition());
        let on_step = |record: &StepRecord| {
            told.lock().unwrap().push(record.client.to_string());
            if stop_at == Some(record.client.as_str()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let checkpoints = checkpoints(folder.path(), None);
        let simulation = Simulation {
            algorithm: &*algorithm,
            images: &images,
            partition: &partition,
            participation: &SimulationConfig::default(),
            failures: FailurePolicy::default(),
            seed: SEED,
            jobs: 1,
            checkpoints: &checkpoints,
            on_step: &on_step,
        };
        let done = simulation.run(None, &mut Members::new(), &mut Recording::default());
        (done.is_ok(), told.into_inner().unwrap())
    };
    assert_eq!(steps(Some("south")), (false, ["north", "north", "north", "south"].map(String::from).to_vec()));
    let file = folder.path().join("round_0001/north.safetensors");
    let written = || std::fs::metadata(&file).unwrap().modified().unwrap();
    let before = written();
    // Its steps are told again, and its file is as it was.
    assert_eq!(steps(Some("south")).1.len(), 4);
    assert_eq!(written(), before);
    assert!(steps(None).0);
}
