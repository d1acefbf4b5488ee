//! `kill -9` at random moments, and the end of the program in the middle of writing a file.

use std::env;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use super::*;

/// Numbers that differ from one start of the test to the next; the seed is printed when it fails.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = env::var("EFFGAN_KILL_SEED").ok().map(|seed| seed.parse().unwrap());
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        Self(seed.unwrap_or_else(now))
    }

    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// How a start of the program is to end.
#[derive(Clone, Debug)]
enum End {
    /// It is killed after this time.
    Kill(Duration),
    /// It ends at this place in the writing of a file.
    Fault(String),
}

impl End {
    fn random(random: &mut Random, whole: Duration) -> Self {
        if random.below(2) == 0 {
            return Self::Kill(whole.mul_f64(random.below(1000) as f64 / 1000.0));
        }
        let place = ["half", "beside", "renamed"][random.below(3) as usize];
        let file = ["/round_", "/clients/", ".work.", "/model/", "run.json"][random.below(5) as usize];
        Self::Fault(format!("{place}:{file}:{}", 1 + random.below(6)))
    }
}

/// Starts or resumes `run`, which ends by itself or by `end`.
fn start(run: &Path, settings: &[&str], end: Option<&End>) -> ExitStatus {
    let begun = run.exists();
    let mut command = Command::new(env!("CARGO_BIN_EXE_effgan"));
    if begun {
        command.args(["resume", text(run)]);
    } else {
        command.args(["run", &tiny_config(), "--out", text(run)]).args(settings);
    }
    if let Some(End::Fault(fault)) = end {
        command.env("EFFGAN_FAULT", fault);
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    if let Some(End::Kill(after)) = end {
        sleep(*after);
        // It may have ended.
        let _ = child.kill();
    }
    child.wait().unwrap()
}

/// Kills tiny runs `kills` times, at most twice each, and checks that every outcome is that of an uninterrupted run.
#[expect(clippy::print_stdout, reason = "it prints the figure of docs/reliability.md")]
fn kill(kills: usize, settings: &[&str]) {
    let mut random = Random::new();
    let seed = random.0;
    let began = Instant::now();
    let (folder, whole) = done(settings);
    let (whole, took) = (outcome(&whole), began.elapsed());
    let (mut killed, mut faults) = (0, 0);
    for trial in 0.. {
        let (run, mut ends) = (folder.path().join(trial.to_string()), Vec::new());
        for _ in 0..2 {
            let end = End::random(&mut random, took);
            let status = start(&run, settings, Some(&end));
            // Ended by a signal: no exit code.
            if status.code().is_none() {
                killed += 1;
                faults += usize::from(matches!(end, End::Fault(_)));
            }
            ends.push(end);
        }
        assert!(start(&run, settings, None).success(), "after {ends:?}; EFFGAN_KILL_SEED={seed}");
        assert_eq!(outcome(&run), whole, "after {ends:?}; EFFGAN_KILL_SEED={seed}");
        fs::remove_dir_all(&run).unwrap();
        if killed >= kills {
            println!(
                "{killed} starts were killed, {faults} of them while a file was written: one hash, one row of metrics"
            );
            return;
        }
    }
}

/// Number of kills; `make torture` sets it.
fn kills() -> usize {
    env::var("EFFGAN_KILLS").ok().map_or(10, |kills| kills.parse().expect("EFFGAN_KILLS is a number"))
}

#[test]
fn ten_random_kills_change_neither_hash_nor_metrics() {
    kill(kills(), &["--set", "checkpoint.every_steps=5"]);
}

#[test]
#[ignore = "takes minutes: make torture"]
fn neither_do_kills_of_an_algorithm_whose_clients_remember() {
    kill(kills(), &["--set", "checkpoint.every_steps=5", "--set", &algorithm("md-gan", 3)]);
}
