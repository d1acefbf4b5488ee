//! A run that is cut off again and again and resumes is bit-identical to an uninterrupted run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use effgan_fl::rounds::{ObserverResult, SaveState};
use effgan_fl::{FlError, RoundObserver, StepRecord};
use effgan_nn::ArithmeticVersion;

use super::*;

/// Steps of the round, images and losses of a step.
type Step = (u64, u64, Vec<f32>);

/// Everything that is observed of a run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) params: Params,
    pub(crate) members: Members,
    /// Without times.
    pub(crate) rounds: BTreeMap<u32, RoundRecord>,
    /// By round, client and step.
    steps: BTreeMap<(u32, ClientName, u64), Step>,
}

/// Saves the state after each round, and collects the records without times.
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

/// The outcome of `config` with a GAN.
pub(crate) fn outcome(
    config: &AlgorithmConfig,
    local: &LocalConfig,
    every_steps: Option<u64>,
    jobs: usize,
    cut: Option<u64>,
) -> Outcome {
    let model = Arc::new(local.gan(network()));
    let algorithm = config.build(model, local.clone(), &AggregationConfig::default(), device()).unwrap();
    outcome_of(&*algorithm, every_steps, jobs, cut)
}

/// Starts the run again and again until it ends. Each start is interrupted after `cut` new training steps.
pub(crate) fn outcome_of(
    algorithm: &dyn Algorithm,
    every_steps: Option<u64>,
    jobs: usize,
    cut: Option<u64>,
) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let partition = if algorithm.pools_data() { partition().pooled() } else { partition() };
    let (mut observer, observed) = (Recording::default(), Mutex::new(BTreeMap::new()));
    for start in 0.. {
        assert!(start < 1000, "it ends");
        let new = AtomicU64::new(0);
        let on_step = |record: &StepRecord| {
            let StepRecord { client, round, step, steps, batch_size, losses, .. } = record.clone();
            let seen = (steps, batch_size, losses);
            let known = observed.lock().unwrap().insert((round, client, step), seen.clone());
            assert!(known.as_ref().is_none_or(|known| *known == seen), "a repeated step is the same");
            let cut = known.is_none() && cut.is_some_and(|cut| new.fetch_add(1, Ordering::Relaxed) + 1 >= cut);
            if cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let checkpoints = checkpoints(folder.path(), every_steps);
        let simulation = Simulation {
            algorithm,
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
        let mut members = Members::new();
        match simulation.run(from, &mut members, &mut observer) {
            Ok(state) => {
                let steps = observed.into_inner().unwrap();
                return Outcome { params: state.params, members, rounds: observer.0, steps };
            }
            Err(FlError::Interrupted) => (),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("it came to an end or panicked")
}

#[test]
fn a_run_that_is_cut_off_every_few_steps_is_bit_identical() {
    let local = LocalConfig { ema: None, ..local() };
    for config in every_algorithm() {
        let whole = outcome(&config, &local, None, 1, None);
        for (jobs, cut) in [(1, 1), (2, 1), (1, 2), (2, 4)] {
            assert_eq!(
                outcome(&config, &local, Some(1), jobs, Some(cut)),
                whole,
                "{}, {jobs} jobs, {cut}",
                config.name()
            );
        }
    }
}

#[test]
fn moving_averages_proximal_terms_and_several_discriminator_updates_are_resumed_too() {
    let local = LocalConfig {
        ema: Some(0.9),
        discriminator_steps: DiscriminatorSteps::Fixed(2),
        epochs: None,
        steps: Some(5),
        ..local()
    };
    for config in [effgan(1, 2), fedprox(2, 0.5), local_ensemble(1)] {
        let whole = outcome(&config, &local, None, 1, None);
        assert_eq!(outcome(&config, &local, Some(2), 2, Some(1)), whole, "{}", config.name());
    }
}

/// Clients whose work is done are not asked again: a run that was cut off at the second of two clients resumes there.
#[test]
fn finished_replies_of_the_open_round_are_not_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let algorithm = fedgan(1).build(model(), local(), &AggregationConfig::default(), device()).unwrap();
    let steps = |stop_at: Option<&'static str>| {
        let (observed, images, partition) = (Mutex::new(Vec::new()), images(), partition());
        let on_step = |record: &StepRecord| {
            observed.lock().unwrap().push(record.client.to_string());
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
        (done.is_ok(), observed.into_inner().unwrap())
    };
    assert_eq!(steps(Some("south")), (false, ["north", "north", "north", "south"].map(String::from).to_vec()));
    let file = folder.path().join("round_0001/north.safetensors");
    let written = || std::fs::metadata(&file).unwrap().modified().unwrap();
    let before = written();
    // The observer is called again for its steps, and its file is unchanged.
    assert_eq!(steps(Some("south")).1.len(), 4);
    assert_eq!(written(), before);
    assert!(steps(None).0);
}

/// A site whose images were changed after its work was cut off: fewer images are fewer steps than are saved.
#[test]
fn unfinished_work_of_another_number_of_steps_is_done_again() {
    let (folder, images, warned) = (tempfile::tempdir().unwrap(), images(), Arc::new(Mutex::new(Vec::new())));
    let algorithm = fedgan(1).build(model(), local(), &AggregationConfig::default(), device()).unwrap();
    let run = |partition: &Partition, stop_at: u64| {
        let lines = warned.clone();
        let warn = move |line: &str| lines.lock().unwrap().push(line.to_owned());
        let config = CheckpointConfig { every_steps: Some(1), ..CheckpointConfig::default() };
        let simulation = Simulation {
            algorithm: &*algorithm,
            images: &images,
            partition,
            participation: &SimulationConfig::default(),
            failures: FailurePolicy::default(),
            seed: SEED,
            jobs: 1,
            checkpoints: &Checkpoints::new(folder.path().into(), RunId::default(), config, warn),
            on_step: &|record| if record.step == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
        };
        simulation.run(None, &mut Members::new(), &mut Recording::default()).map(|state| state.params)
    };
    let mut fewer = partition();
    fewer.clients[0].train.truncate(5);
    assert!(matches!(run(&partition(), 3), Err(FlError::Interrupted)));
    assert_eq!(run(&fewer, 0).unwrap(), driven(&*algorithm, &SimulationConfig::default(), &fewer, 1).0);
    let [line] = &warned.lock().unwrap()[..] else { panic!("one line") };
    assert!(line.ends_with("is of 3 steps, and there are 2 now; the client's work is done again"), "{line}");
}

/// Checkpoints after every step of a run that was begun with this version of the arithmetic.
fn of_version(folder: &Path, version: u32) -> Checkpoints {
    let run = RunId { arithmetic_version: ArithmeticVersion(version), ..RunId::default() };
    let config = CheckpointConfig { every_steps: Some(1), ..CheckpointConfig::default() };
    Checkpoints::new(folder.into(), run, config, |line| panic!("{line}"))
}

#[test]
fn states_replies_and_unfinished_work_of_another_arithmetic_are_refused() {
    let (images, ours) = (images(), ArithmeticVersion::OURS);
    let algorithm = fedgan(2).build(model(), local(), &AggregationConfig::default(), device()).unwrap();
    let run = |checkpoints: &Checkpoints, stop_at: (u32, &str, u64)| {
        let simulation = Simulation {
            algorithm: &*algorithm,
            images: &images,
            partition: &partition(),
            participation: &SimulationConfig::default(),
            failures: FailurePolicy { on_failure: OnFailure::LeaveOut, ..FailurePolicy::default() },
            seed: SEED,
            jobs: 1,
            checkpoints,
            on_step: &|record| {
                let stops = (record.round, record.client.as_str(), record.step) == stop_at;
                if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        };
        let from = checkpoints.latest(|_| Ok(()))?;
        simulation.run(from, &mut Members::new(), &mut Recording::default())
    };
    for (stop_at, first_read) in [
        ((1, "north", 1), "round_0001/north.work.safetensors"),
        ((1, "south", 1), "round_0001/north.safetensors"),
        ((2, "north", 1), "round_0001.safetensors"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(run(&of_version(folder.path(), 1), stop_at), Err(FlError::Interrupted)));
        let error = run(&of_version(folder.path(), ours.0), (0, "", 0)).unwrap_err().to_string();
        let versions = format!("is of arithmetic version 1, and this program computes with version {ours}");
        let advice = "finish the run with the effgan that began it, or start a new run";
        assert_eq!(error, format!("{} {versions}; {advice}", folder.path().join(first_read).display()));
    }
}

#[test]
fn rounds_of_another_arithmetic_are_not_adopted() {
    let (donor, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = ServerState::after_round(1, first_params());
    of_version(donor.path(), 1).save(&state, None, serde_json::Value::Null).unwrap();
    assert!(!of_version(&folder.path().join("other"), 2).adopt(donor.path(), 1).unwrap());
    assert!(of_version(&folder.path().join("same"), 1).adopt(donor.path(), 1).unwrap());
}
