//! The verdict at the end of a run, on runs that went wrong in different ways.

use serde_json::Value;

use crate::program::{metrics, run_tiny, stdout};

const LONG_ENOUGH: [&str; 4] = ["--set", "local.epochs=60", "--set", "algorithm.fine_tune_epochs=60"];

/// The verdict of a tiny run with changed settings; what it prints and what its report says are the same.
fn verdict(more: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = run_tiny(&run, more);
    assert!(output.status.success(), "{output:?}");
    let events: Vec<Value> = metrics(&run);
    let verdicts: Vec<&Value> = events.iter().filter(|event| event["event"] == "verdict").collect();
    let [verdict] = verdicts[..] else { panic!("{verdicts:?}") };
    let [word, reason] = ["verdict", "reason"].map(|key| verdict[key].as_str().unwrap().to_owned());
    assert!(stdout(&output).lines().any(|line| line.starts_with("the run ") && line.contains(&reason)), "{output:?}");
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains(&reason), "the report says it too");
    assert_eq!(verdict["advice"].is_string(), word != "fine", "whoever can mend something is told how");
    (word, reason)
}

#[test]
fn a_run_of_a_few_steps_is_too_short() {
    let (word, reason) = verdict(&[]);
    assert_eq!((&*word, &*reason), ("short", "a generator had 32 training steps, fewer than 300"));
}

#[test]
fn a_run_that_works_is_fine() {
    let (word, reason) = verdict(&LONG_ENOUGH);
    assert_eq!(word, "fine", "{reason}");
}

#[test]
fn a_run_whose_learning_rate_is_50_has_diverged() {
    let (word, reason) = verdict(&["--set", "local.learning_rate=50"]);
    assert_eq!(word, "diverged", "{reason}");
}

/// A discriminator that hardly learns lets its generator draw one image.
#[test]
fn a_run_whose_members_draw_one_image_has_collapsed() {
    let local =
        "local={ batch_size = 16, generator_learning_rate = 5e-3, discriminator_learning_rate = 1e-6, epochs = 60 }";
    let (word, reason) = verdict(&["--set", local, "--set", "algorithm.fine_tune_epochs=60"]);
    assert_eq!(word, "collapsed", "{reason}");
    assert!(reason.contains("are spread 0."), "{reason}");
}
