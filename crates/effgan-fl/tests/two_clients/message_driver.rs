//! Sites that are reached by messages: bit-identical to the simulation, even when sites are slow, silent or cut off.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use effgan_fl::{
    Carrier, ExchangeId, ExchangeKind, Federation, FlError, OnFailure, Reply, Roster, Shard, Site, SiteMessage,
};

use effgan_nn::DeviceName;

use super::resume::Recording;
use super::*;

/// Sites in this process that keep nothing in memory between messages. The site that is asked last replies first.
struct LocalCarrier<'a> {
    algorithm: &'a dyn Algorithm,
    /// The algorithm at the site `north`, which may have another device.
    at_north: &'a dyn Algorithm,
    partition: &'a Partition,
    /// Has one folder per site.
    folder: &'a Path,
    /// Counts the training steps of all sites.
    steps: &'a AtomicU64,
    /// A site that does not reply, and the round in which it does not.
    silent: Option<(&'a str, u32)>,
    /// Number of replies until the server is cut off.
    left: u64,
    /// The kinds of exchange that the server has asked for.
    asked: &'a Mutex<Vec<ExchangeKind>>,
    sent: VecDeque<(ClientName, SiteMessage)>,
}

impl Carrier for LocalCarrier<'_> {
    fn send(&mut self, client: &ClientName, message: &SiteMessage, _: u64) -> effgan_fl::Result<()> {
        self.asked.lock().unwrap().push(message.broadcast.kind);
        if self.silent != Some((client.as_str(), message.broadcast.round)) {
            self.sent.push_front((client.clone(), message.clone()));
        }
        Ok(())
    }

    fn receive(&mut self) -> effgan_fl::Result<Option<Reply>> {
        let Some((client, message)) = self.sent.pop_front() else { return Ok(None) };
        self.left = self.left.checked_sub(1).ok_or(FlError::Interrupted)?;
        let share = self.partition.clients.iter().find(|share| share.name == client).unwrap();
        let site = Site {
            algorithm: if client.as_str() == "north" { self.at_north } else { self.algorithm },
            shard: Shard { client: &client, images: &images(), train: &share.train },
            seed: SEED,
            jobs: 1,
            folder: &self.folder.join(client.as_str()),
            run: RunId::default(),
            checkpoint: CheckpointConfig::default(),
            warn: Arc::new(|line: &str| panic!("{line}")),
            keeps: false,
            on_step: &|_| {
                self.steps.fetch_add(1, Ordering::Relaxed);
                ControlFlow::Continue(())
            },
        };
        site.answer(&message).map(Some)
    }

    fn close(&mut self) {
        self.sent.clear();
    }
}

/// The result of a run: parameters, members, records without times, and the number of training steps that were done.
type Outcome = (Params, Members, Vec<RoundRecord>, u64);

/// [`run_over_sites`] of `config` with a GAN. Its exchanges are those that the algorithm's settings name.
fn over_sites(config: &AlgorithmConfig, silent: Option<(&str, u32)>, cut: u64) -> Outcome {
    let algorithm = config.build(model(), local(), &AggregationConfig::default(), device()).unwrap();
    let (outcome, asked) = run_over_sites(&*algorithm, &partition(), silent, cut);
    let is_asked = |kind: &ExchangeKind| asked.contains(kind);
    let named: Vec<_> = ExchangeKind::ALL.into_iter().filter(is_asked).collect();
    assert!(named.iter().all(|kind| config.exchanges().contains(kind)), "{}", config.name());
    assert_eq!(named.len(), config.exchanges().len(), "{}", config.name());
    outcome
}

/// Runs over sites, cuts the server off after every `cut` replies and resumes, until the run is done. Returns the outcome and the kinds of
/// the exchanges.
pub(crate) fn run_over_sites(
    algorithm: &dyn Algorithm,
    partition: &Partition,
    silent: Option<(&str, u32)>,
    cut: u64,
) -> (Outcome, Vec<ExchangeKind>) {
    run_over_different_sites(algorithm, algorithm, partition, silent, cut)
}

fn run_over_different_sites(
    algorithm: &dyn Algorithm,
    at_north: &dyn Algorithm,
    partition: &Partition,
    silent: Option<(&str, u32)>,
    cut: u64,
) -> (Outcome, Vec<ExchangeKind>) {
    let folder = tempfile::tempdir().unwrap();
    let (steps, asked) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let (roster, mut observer) = (Roster::of(partition), Recording::default());
    loop {
        let checkpoints = checkpoints(&folder.path().join("server"), None);
        let federation = Federation {
            algorithm,
            roster: &roster,
            failures: FailurePolicy { on_failure: OnFailure::LeaveOut, ..FailurePolicy::default() },
            deadline: Duration::from_millis(if silent.is_some() { 1 } else { 60_000 }),
            seed: SEED,
            jobs: 1,
            checkpoints: &checkpoints,
        };
        let mut carrier = LocalCarrier {
            algorithm,
            at_north,
            partition,
            folder: folder.path(),
            steps: &steps,
            silent,
            left: cut,
            asked: &asked,
            sent: VecDeque::new(),
        };
        let from = checkpoints.latest(|_| Ok(())).unwrap();
        let mut members = Members::new();
        match federation.run(&mut carrier, from, &mut members, &mut observer) {
            Ok(state) => {
                let rounds = observer.0.into_values().collect();
                let outcome = (state.params, members, rounds, steps.into_inner());
                return (outcome, asked.into_inner().unwrap());
            }
            Err(FlError::Interrupted) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn federated() -> impl Iterator<Item = AlgorithmConfig> {
    every_algorithm().into_iter().filter(|config| !config.pools_data())
}

#[test]
fn every_algorithm_is_bit_identical_to_its_simulation() {
    for config in federated() {
        let (params, members, rounds, _) = over_sites(&config, None, u64::MAX);
        let simulated = resume::outcome(&config, &local(), None, 2, None);
        assert_eq!((&params, &members), (&simulated.params, &simulated.members), "{}", config.name());
        assert_eq!(rounds, simulated.rounds.into_values().collect::<Vec<_>>(), "{}", config.name());
    }
}

/// `make gpu-test` names a GPU, on which one of the sites trains.
#[test]
fn sites_may_train_on_different_devices() {
    let gpu = std::env::var("EFFGAN_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
    let gpu = gpu.parse::<DeviceName>().unwrap().open().unwrap();
    for config in federated() {
        let [at_north, elsewhere] = [gpu, device()]
            .map(|device| config.build(model(), local(), &AggregationConfig::default(), device).unwrap());
        let ((params, members, ..), _) =
            run_over_different_sites(&*elsewhere, &*at_north, &partition(), None, u64::MAX);
        let (expected, expected_members) = simulated(&config, 1);
        assert_agree(&params, &expected, &config);
        assert_eq!(members.len(), expected_members.len(), "{}", config.name());
        for ((site, n, member), expected) in members.iter().zip(&expected_members) {
            assert_eq!((site, n), (&expected.0, &expected.1), "{}", config.name());
            assert_agree(
                &member.clone().named_under("generator"),
                &expected.2.clone().named_under("generator"),
                &config,
            );
        }
    }
}

/// Both are one result of training, but for the rounding of a device. Adam's first steps are as long for a gradient of 1e-9 as for one of
/// 1, so the rounding of single values may grow to a step: what counts is the difference beside the way from the first parameters.
fn assert_agree(ours: &Params, theirs: &Params, config: &AlgorithmConfig) {
    let first = first_params();
    // A tensor that a server keeps beside the parameters, such as its moments, begins at 0.
    let distance = |a: &Params, b: &Params| {
        let squares = a.iter().flat_map(|(name, array)| {
            let other = b.get(name).map_or_else(|_| vec![0.0; array.values().len()], |other| other.values().to_vec());
            array.values().iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).collect::<Vec<_>>()
        });
        squares.sum::<f64>().sqrt()
    };
    assert!(ours.iter().map(|(name, _)| name).eq(theirs.iter().map(|(name, _)| name)), "{}", config.name());
    let (apart, moved) = (distance(ours, theirs), distance(theirs, &first));
    assert!(apart < 0.02 * moved || apart == 0.0, "{}: {apart} apart after a way of {moved}", config.name());
}

/// Replies arrive in the reverse of the order in which they are folded, and one of them may wait in memory: the others wait in files.
#[test]
fn replies_that_wait_in_files_are_folded_as_those_that_do_not() {
    let share = |name, train| ClientShare { name: ClientName::new(name).unwrap(), train, held_out: Vec::new() };
    let clients = [("a", 0..5), ("b", 5..10), ("c", 10..15), ("d", 15..20)];
    let partition = Partition { clients: clients.map(|(name, train)| share(name, train.collect())).into() };
    for config in federated() {
        let algorithm = config.build(model(), local(), &AggregationConfig::default(), device()).unwrap();
        let ((params, members, rounds, _), _) = run_over_sites(&*algorithm, &partition, None, u64::MAX);
        let simulated = driven(&*algorithm, &SimulationConfig::default(), &partition, 1);
        assert_eq!((params, members), simulated, "{}", config.name());
        for round in rounds {
            let asked = if config.takes_turns() && round.kind == ExchangeKind::Average { 1 } else { 4 };
            assert_eq!(round.clients.len(), asked, "{}", config.name());
        }
    }
}

/// Sends a reply to another exchange before the right one.
struct Straying<C>(C, Option<Reply>);

impl<C: Carrier> Carrier for Straying<C> {
    fn send(&mut self, client: &ClientName, message: &SiteMessage, bytes: u64) -> effgan_fl::Result<()> {
        self.0.send(client, message, bytes)
    }

    fn receive(&mut self) -> effgan_fl::Result<Option<Reply>> {
        if let Some(right) = self.1.take() {
            return Ok(Some(right));
        }
        let Some(reply) = self.0.receive()? else { return Ok(None) };
        self.1 = Some(reply.clone());
        let exchange = ExchangeId { round: reply.exchange.round + 7, ..reply.exchange };
        Ok(Some(Reply::new(reply.client, exchange, reply.outcome)))
    }

    fn close(&mut self) {
        self.0.close();
    }
}

#[test]
fn a_reply_to_another_exchange_is_refused_and_the_right_one_is_still_waited_for() {
    let (folder, partition) = (tempfile::tempdir().unwrap(), partition());
    let algorithm = fedgan(1).build(model(), local(), &AggregationConfig::default(), device()).unwrap();
    let checkpoints = checkpoints(&folder.path().join("server"), None);
    let federation = Federation {
        algorithm: &*algorithm,
        roster: &Roster::of(&partition),
        failures: FailurePolicy::default(),
        deadline: Duration::from_mins(1),
        seed: SEED,
        jobs: 1,
        checkpoints: &checkpoints,
    };
    let (steps, asked, mut observer) = (AtomicU64::new(0), Mutex::new(Vec::new()), Recording::default());
    let carrier = LocalCarrier {
        algorithm: &*algorithm,
        at_north: &*algorithm,
        partition: &partition,
        folder: folder.path(),
        steps: &steps,
        silent: None,
        left: u64::MAX,
        asked: &asked,
        sent: VecDeque::new(),
    };
    let state = federation.run(&mut Straying(carrier, None), None, &mut Members::new(), &mut observer).unwrap();
    assert_eq!(state.params, simulated(&fedgan(1), 1).0);
    let reasons: Vec<&str> = observer.0[&1].refused.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons, ["answers average of round 8, step 1, not average of round 1, step 1"; 2]);
    assert!(!folder.path().join("server/round_0008").exists());
}

#[test]
fn a_server_that_is_cut_off_after_each_reply_asks_no_site_twice() {
    for config in [fedgan(2), effgan(2, 1)] {
        assert_eq!(over_sites(&config, None, 1), over_sites(&config, None, u64::MAX), "{}", config.name());
    }
}

/// Sites of MD-GAN and UA-GAN have client state, which they must discard when it belongs to a round that the server has lost.
#[test]
fn sites_go_back_with_a_server_that_lost_a_round() {
    for config in [md_gan(3), ua_gan(3)] {
        let (params, members, rounds, steps) = over_sites(&config, None, 17);
        let (whole, whole_members, whole_rounds, whole_steps) = over_sites(&config, None, u64::MAX);
        assert_eq!((params, members), (whole, whole_members), "{}", config.name());
        assert_eq!(rounds, whole_rounds, "{}", config.name());
        assert!(steps > whole_steps, "{}: it was cut off within a round", config.name());
    }
}

#[test]
fn a_silent_site_is_missing_from_its_round_and_asked_again_in_the_next() {
    let (.., rounds, _) = over_sites(&fedgan(3), Some(("north", 2)), u64::MAX);
    let here = |round: &RoundRecord| round.clients.iter().map(|client| client.name.to_string()).collect::<Vec<_>>();
    let both = vec!["north".to_owned(), "south".to_owned()];
    assert_eq!(rounds.iter().map(here).collect::<Vec<_>>(), [both.clone(), vec!["south".to_owned()], both]);
    assert_eq!(rounds[1].missing[0].name.as_str(), "north");
    assert_eq!(rounds[1].missing[0].reason, "no answer within 0.001 s");
}
