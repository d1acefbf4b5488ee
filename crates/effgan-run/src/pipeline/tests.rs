//! What a listener is told is what `metrics.jsonl` has.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::progress::{Listener, Progress};
use crate::record::events::{LossCurve, Note};
use crate::record::run_dir::read_events;

/// A listener that holds what it takes the file to have, and stops the run at an event that `stops`.
#[derive(Clone)]
struct Follower {
    events: Arc<Mutex<Vec<Event>>>,
    stop: Arc<AtomicBool>,
    stops: fn(&Event) -> bool,
}

impl Listener for Follower {
    fn resumed(&self, events: &[Event]) {
        *self.events.lock().unwrap() = events.to_vec();
    }

    fn event(&self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
        if (self.stops)(event) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Follower {
    fn that_stops(stops: fn(&Event) -> bool) -> Self {
        Self { events: Arc::default(), stop: Arc::default(), stops }
    }

    /// The lines that the file should have.
    fn lines(&self) -> Vec<String> {
        self.events.lock().unwrap().iter().map(|event| serde_json::to_string(event).unwrap()).collect()
    }
}

fn config() -> Config {
    Config::parse(include_str!("../../tests/tiny.toml"), &[]).unwrap()
}

fn lines_of(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("metrics.jsonl")).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_listener_has_the_lines_of_metrics_jsonl_before_and_after_a_resume() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    // The checkpoint of a round is older than its score, so the score is cut off and comes again, as do the stages.
    let first = Follower::that_stops(|event| matches!(event, Event::Score(score) if score.round == 1));
    let progress = Progress::new(first.clone());
    let stopped = run(&config(), &folder, Execution::new(Some(2), &progress, &first.stop)).unwrap_err();
    assert_eq!(stopped.kind(), Kind::Interrupted);
    let lines = lines_of(&folder);
    assert_eq!(first.lines(), lines);

    let second = Follower { stop: Arc::default(), stops: |_| false, ..first };
    let progress = Progress::new(second.clone());
    resume(&folder, &[], Execution::new(Some(2), &progress, &second.stop)).unwrap();
    let resumed = lines_of(&folder);
    assert!(!resumed.starts_with(&lines), "lines after the checkpoint are cut off");
    assert_eq!(second.lines(), resumed);
    let (events, unreadable) = read_events(&folder).unwrap();
    assert_eq!((events.iter().filter(|event| matches!(event, Event::Stage(_))).count(), unreadable), (4, vec![]));
}

#[test]
fn a_loss_or_a_score_with_nan_is_a_note_for_the_listener_as_in_the_file() {
    let place = tempfile::tempdir().unwrap();
    let (folder, config, follower) = (place.path().join("run"), config(), Follower::that_stops(|_| false));
    let progress = Progress::new(follower.clone());
    let execution = Execution::new(Some(2), &progress, &follower.stop);
    let inputs = RunInputs::new(&config, RunData::load(&config, execution.progress).unwrap(), execution).unwrap();
    let dir = RunDir::create(&folder, &config, inputs.info(&config, execution)).unwrap();
    let mut run = Run::new(&config, &inputs, dir, execution);

    let scores = serde_json::from_value(serde_json::json!({ "n": 9, "fd_small": 8.5 })).unwrap();
    let score = Score { round: 2, of: Scored::Average, norm_statistics: None, scores, seconds: 1.5 };
    let losses = [("loss_d".to_owned(), vec![0.5, f64::NAN])].into();
    for event in [
        Event::Losses(LossCurve { round: 2, client: "north".into(), steps: 80, losses }),
        Event::Score(Score { seconds: f64::NAN, ..score.clone() }),
        Event::Score(score.clone()),
    ] {
        run.record(&event).unwrap();
    }

    let left_out = |what| {
        Event::Note(Note {
            note: format!("the event `{what}` of round 2 had a number that is not finite and was left out"),
        })
    };
    assert_eq!(*follower.events.lock().unwrap(), [left_out("losses"), left_out("score"), Event::Score(score.clone())]);
    assert_eq!(follower.lines(), lines_of(&folder));
    assert_eq!(run.scores, [score], "a resumed run does not read the other one");
}

/// The hash of the model of a run of `kind` in three equal steps, with these settings.
fn hash_of(kind: &str, weights: &str, settings: &[&str]) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    let algorithm = format!("algorithm={{ kind = \"{kind}\", rounds = 1, weights = \"{weights}\" }}");
    let local = "local={ batch_size = 8, learning_rate = 2e-3, steps = 3 }";
    let all: Vec<String> =
        [&[algorithm.as_str(), local][..], settings].concat().into_iter().map(str::to_owned).collect();
    let config = Config::parse(include_str!("../../tests/tiny.toml"), &all).unwrap();
    let stop = AtomicBool::new(false);
    run(&config, &folder, Execution::new(Some(2), &Progress::events(|_| {}), &stop)).unwrap();
    info_of(&folder).unwrap().model_hash
}

#[test]
fn a_cap_below_the_batch_size_lowers_the_weights_alone() {
    for kind in ["md-gan", "ua-gan"] {
        let capped = hash_of(kind, "examples", &["federation.max_examples=4"]);
        assert!(capped.is_some());
        // All three clients count for four images, so for the same.
        assert_eq!(capped, hash_of(kind, "uniform", &[]), "{kind}");
        assert_ne!(capped, hash_of(kind, "examples", &[]), "{kind}");
    }
}
