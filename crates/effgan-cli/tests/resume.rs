//! Runs that are interrupted, killed, out of disk space or extended, and then resumed: they end as if uninterrupted.

mod program;

#[path = "resume/disk.rs"]
mod disk;
#[path = "resume/kills.rs"]
mod kills;
#[path = "resume/long.rs"]
mod long;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use effgan_nn::{ArithmeticVersion, sealed};
use program::{effgan, failure, json, outcome, run_tiny, stdout, tiny_config};
use serde_json::Value;
use tempfile::TempDir;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Resumes `run`, which must succeed, and returns its standard output.
fn resumed(run: &Path, more: &[&str]) -> String {
    let output = effgan(&[&["resume", text(run)][..], more].concat());
    assert!(output.status.success(), "{output:?}");
    stdout(&output)
}

/// A tiny run with these settings that has ended.
fn done(settings: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = run_tiny(&run, settings);
    assert!(output.status.success(), "{output:?}");
    (folder, run)
}

fn algorithm(kind: &str, rounds: u32) -> String {
    let fine_tune = if kind == "effgan" { ", fine_tune_epochs = 1" } else { "" };
    format!("algorithm={{ kind = \"{kind}\", rounds = {rounds}{fine_tune} }}")
}

/// A run that is under way and has printed a line that starts with `said`.
fn at_work(run: &Path, settings: &[&str], said: &str) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_effgan"))
        .args(["run", &tiny_config(), "--out", text(run)])
        .args(settings)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with(said)));
    child
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The files of kept states, newest first.
fn states(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort_by(|a, b| b.cmp(a));
    files
}

fn flip_a_bit(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_run_that_sigterm_ended_says_how_it_is_resumed_and_ends_as_if_uninterrupted() {
    let long = ["--set", "local.epochs=15"];
    let (folder, whole) = done(&long);
    let run = folder.path().join("cut");
    let child = at_work(&run, &long, "round 1 ");
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    let line = format!("interrupted; effgan resume {} continues the run", run.display());
    assert_eq!(failure(&output), (Some(130), line));
    assert_eq!(json(&run.join("run.json"))["status"], "interrupted");
    let said = resumed(&run, &["--jobs", "1"]);
    assert!(said.starts_with(&format!("{} resumes after round 1\n", run.display())), "{said}");
    assert_eq!(outcome(&run), outcome(&whole));
    assert_eq!(json(&run.join("run.json"))["resumed"], 1);
    assert!(resumed(&run, &[]).contains(" is done; "));
}

#[test]
fn more_rounds_make_the_run_that_had_them_from_the_beginning() {
    // Scores follow every second round and the last one, so the scored rounds depend on the number of rounds.
    let every = ["--set", "evaluation.every=2", "--set", "local.epochs=1"];
    for kind in ["effgan", "fedadam", "md-gan"] {
        let (long, short) = (algorithm(kind, 4), algorithm(kind, 2));
        let (folder, whole) = done(&[&["--set", &long][..], &every].concat());
        let run = folder.path().join("short");
        assert!(run_tiny(&run, &[&["--set", &short][..], &every].concat()).status.success());
        let of_two = outcome(&run);
        resumed(&run, &["--set", "algorithm.rounds=4", "--set", "checkpoint.keep=9"]);
        assert_eq!(outcome(&run), outcome(&whole), "{kind}");
        // Fewer rounds work as well, as long as the state after the last of them is kept.
        resumed(&run, &["--set", "algorithm.rounds=2"]);
        assert_eq!(outcome(&run), of_two, "{kind}");
    }
}

#[test]
fn a_setting_that_may_not_change_is_refused_and_nothing_is_touched() {
    let (_folder, run) = done(&["--set", "local.decay=linear"]);
    let config = fs::read(run.join("config.toml")).unwrap();
    for (setting, key) in [
        ("local.learning_rate=1e-3", "local.learning_rate from 0.002 to 0.001"),
        ("seed=2", "seed from 1 to 2"),
        ("algorithm.rounds=3", "algorithm.rounds from 2 to 3"),
    ] {
        let (code, line) = failure(&effgan(&["resume", text(&run), "--set", setting]));
        assert_eq!(code, Some(2), "{setting}");
        assert_eq!(line, format!("a run that is resumed may not change {key}; start a new run for it"));
    }
    assert_eq!(fs::read(run.join("config.toml")).unwrap(), config);
    let (code, line) = failure(&effgan(&["resume", text(run.parent().unwrap())]));
    assert_eq!((code, line.ends_with(" is not a run folder (no config.toml)")), (Some(2), true), "{line}");
}

#[test]
fn rounds_that_no_kept_state_leads_to_are_refused_with_those_that_one_does_and_nothing_is_touched() {
    for (kind, rounds, kept) in [("effgan", 0, "2 and 3"), ("md-gan", 1, "1 and 2")] {
        let (_folder, run) = done(&["--set", &algorithm(kind, 2), "--set", "local.epochs=1"]);
        let before = ["config.toml", "run.json", "metrics.jsonl"].map(|name| fs::read(run.join(name)).unwrap());
        let (code, line) = failure(&effgan(&["resume", text(&run), "--set", &format!("algorithm.rounds={rounds}")]));
        assert_eq!(code, Some(2), "{line}");
        let said = format!(
            "algorithm.rounds = {rounds} passes through none of the states that {} keeps, which are those after round {kept}; set it \
             to at least 2, or start a new run",
            run.display()
        );
        assert_eq!(line, said);
        let after = ["config.toml", "run.json", "metrics.jsonl"].map(|name| fs::read(run.join(name)).unwrap());
        assert_eq!(after, before);
        resumed(&run, &["--set", "algorithm.rounds=2", "--set", "name=again"]);
    }
}

/// Damages a file that had these bytes.
type Damage = fn(&Path, &[u8]);

#[test]
fn a_torn_checkpoint_is_said_and_skipped_for_the_one_before_and_the_outcome_is_the_same() {
    let (_folder, run) = done(&[]);
    let whole = outcome(&run);
    let newest = states(&run)[0].clone();
    let bytes = fs::read(&newest).unwrap();
    let damages: [(Damage, &str); 3] = [
        (|path, _| flip_a_bit(path), "its checksum is wrong; trying the checkpoint before it"),
        (|path, bytes| fs::write(path, &bytes[..bytes.len() / 2]).unwrap(), "trying the checkpoint before it"),
        (
            |path, _| assert!(fs::copy(&states_beside(path)[1], path).unwrap() > 0),
            "was renamed: it is the state of another round; trying the checkpoint before it",
        ),
    ];
    for (damage, said) in damages {
        damage(&newest, &bytes);
        // A changed setting, since a finished run would be left alone.
        let output = effgan(&["resume", text(&run), "--set", "name=again"]);
        assert!(output.status.success(), "{output:?}");
        let warned = String::from_utf8(output.stderr).unwrap();
        assert!(
            warned.starts_with(&format!("effgan: {} ", newest.display())) && warned.trim_end().ends_with(said),
            "{warned}"
        );
        assert_eq!(outcome(&run), whole);
    }
}

fn states_beside(state: &Path) -> Vec<PathBuf> {
    states(state.parent().unwrap().parent().unwrap())
}

#[test]
fn checkpoints_of_another_run_or_of_no_use_are_refused() {
    let ((_a, run), (_b, other)) = (done(&[]), done(&["--seed", "2"]));
    let resume = || failure(&effgan(&["resume", text(&run), "--set", "name=again"]));
    let newest = states(&run)[0].clone();
    let own = fs::read(&newest).unwrap();
    fs::copy(&states(&other)[0], &newest).unwrap();
    let (code, line) = resume();
    assert_eq!(code, Some(3));
    assert!(
        line.contains("round_0003.safetensors belongs to another config than this run's; restore what was changed"),
        "{line}"
    );
    fs::write(&newest, own).unwrap();

    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    fs::write(run.join("config.toml"), config.replace("learning_rate = 0.002", "learning_rate = 0.003")).unwrap();
    assert!(resume().1.contains("belongs to another config"));
    fs::write(run.join("config.toml"), config.replace("limit = 120", "limit = 130")).unwrap();
    assert!(resume().1.contains("belongs to another config"));
    fs::write(run.join("config.toml"), config).unwrap();

    for state in states(&run) {
        fs::write(state, "no tensors").unwrap();
    }
    let output = effgan(&["resume", text(&run), "--set", "name=again"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(3), 3), "{said}");
    assert!(
        said.trim_end().ends_with("checkpoints has no usable checkpoint; remove the folder to start over"),
        "{said}"
    );

    let whole = outcome(&run);
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    assert!(resumed(&run, &["--set", "name=again"]).contains("resumes after round 0"));
    assert_eq!(outcome(&run), whole);
}

#[test]
fn a_run_or_a_checkpoint_of_another_arithmetic_is_refused_in_one_line_and_nothing_is_touched() {
    let ((_folder, run), ours) = (done(&[]), ArithmeticVersion::OURS);
    let refused = |what: &Path, version: u32| {
        let info = fs::read(run.join("run.json")).unwrap();
        let (code, line) = failure(&effgan(&["resume", text(&run), "--set", "algorithm.rounds=3"]));
        let said = "finish the run with the effgan that began it, or start a new run";
        let versions = format!("is of arithmetic version {version}, and this program computes with version {ours}");
        assert_eq!((code, line), (Some(3), format!("{} {versions}; {said}", what.display())));
        assert_eq!(fs::read(run.join("run.json")).unwrap(), info);
    };
    let written = json(&run.join("run.json"));
    assert_eq!(written["arithmetic_version"], ours.0);
    // Programs of version 1 did not name it.
    for (name, version) in [(None, 1), (Some(1), 1), (Some(77), 77)] {
        fs::write(run.join("run.json"), renamed(written.clone(), name).to_string()).unwrap();
        refused(&run, version);
    }
    fs::write(run.join("run.json"), written.to_string()).unwrap();
    for state in states(&run) {
        let (mut head, params) = sealed::load::<Value>(&state).unwrap();
        head["run"] = renamed(head["run"].take(), None);
        sealed::save(&state, &head, &params).unwrap();
        refused(&states(&run)[0], 1);
    }
}

/// A record with this version of the arithmetic, or without any.
fn renamed(mut record: Value, version: Option<u32>) -> Value {
    record.as_object_mut().unwrap().remove("arithmetic_version").expect("it names its arithmetic");
    if let Some(version) = version {
        record["arithmetic_version"] = version.into();
    }
    record
}

#[test]
fn metrics_that_have_lost_lines_are_not_gone_on_with() {
    let (_folder, run) = done(&[]);
    let whole = outcome(&run);
    let path = run.join("metrics.jsonl");
    let lines = fs::read_to_string(&path).unwrap();
    let after_two_rounds = lines.match_indices('\n').nth(lines.lines().count() / 2).unwrap().0;
    fs::write(&path, &lines[..after_two_rounds]).unwrap();
    let output = effgan(&["resume", text(&run), "--set", "name=again"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains(" is newer than metrics.jsonl, which has "));
    assert_eq!(outcome(&run), whole);
}

#[test]
fn a_record_with_null_a_bad_line_and_a_torn_end_is_read_without_them_by_report_evaluate_and_resume() {
    let (_folder, run) = done(&[]);
    let path = run.join("metrics.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let padded = |line: &str, text: &str| format!("{text:<0$}", line.len());
    let drift = whole.lines().position(|line| line.contains("\"cosine\":")).unwrap();
    let spoiled = whole.lines().enumerate().map(|(i, line)| match i {
        0 => padded(line, "\u{fffd}=1+1"),
        _ if i == drift => {
            let (before, after) = line.split_once("\"cosine\":").unwrap();
            let (_, after) = after.split_once('}').unwrap();
            padded(line, &format!("{before}\"cosine\":null}}{after}"))
        }
        _ => line.to_owned(),
    });
    let spoiled: String = spoiled.map(|line| line + "\n").collect::<String>() + "{\"event\":\"rou";
    fs::write(&path, &spoiled).unwrap();
    let last = spoiled.lines().count();

    assert!(effgan(&["report", text(&run)]).status.success());
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    let lines = format!("were skipped: lines 1, {}, {last}.", drift + 1);
    assert!(page.contains(&lines), "{lines}");
    let scored = effgan(&["evaluate", text(&run), "--num", "64"]);
    assert!(scored.status.success(), "{scored:?}");

    let output = effgan(&["resume", text(&run), "--set", "algorithm.rounds=3"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let told = format!("{}: skipped unreadable lines 1, {}", path.display(), drift + 1);
    assert!(said.contains(&told), "{said}");
    let (_whole, longer) = done(&["--set", "algorithm.rounds=3"]);
    let hash = |run: &Path| json(&run.join("run.json"))["model_hash"].clone();
    assert_eq!(hash(&run), hash(&longer));
}

#[test]
fn two_programs_are_never_in_one_run_folder() {
    let (folder, whole) = done(&["--set", "local.epochs=15"]);
    let run = folder.path().join("first");
    let first = at_work(&run, &["--set", "local.epochs=15"], "round 1 ");
    let (code, line) = failure(&effgan(&["resume", text(&run)]));
    assert_eq!(code, Some(2));
    assert!(line.ends_with("is in use by another effgan process; wait until it ends, or stop it"), "{line}");
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(outcome(&run), outcome(&whole));
}

#[test]
fn a_run_that_failed_resumes_when_it_may_leave_clients_out_and_stops_when_none_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (code, line) = failure(&run_tiny(&run, &["--set", "local.learning_rate=1e30"]));
    assert_eq!(code, Some(4));
    assert!(
        line.starts_with("client client-000") && line.contains(" failed in round 1: the ") && line.contains(", step "),
        "{line}"
    );
    let (code, line) = failure(&effgan(&["resume", text(&run), "--set", "aggregation.on_failure=leave-out"]));
    assert_eq!(code, Some(4));
    assert!(
        line.starts_with("0 of 3 clients gave a usable reply in round 1, and at least 1 must; client-0000: the "),
        "{line}"
    );
}
