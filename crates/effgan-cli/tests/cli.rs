//! The program as a user meets it: a golden tiny run, samples, mistakes and their exit codes, Ctrl-C.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

mod program;

use program::{effgan, failure, golden, json, metrics, run_tiny, stdout, tiny_config, without_seconds};
use serde_json::Value;
use tempfile::TempDir;

/// Digits become `#`, so that what is left is the same on every machine.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for c in text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }) {
        if !(c == '#' && masked.ends_with('#')) {
            masked.push(c);
        }
    }
    masked.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A tiny run of the test's own.
fn tiny() -> (TempDir, PathBuf, Output) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("tiny");
    let output = run_tiny(&run, &["--jobs", "2"]);
    assert!(output.status.success(), "{output:?}");
    (folder, run, output)
}

#[test]
fn a_tiny_run_says_and_leaves_what_the_golden_one_did() {
    let (_folder, run, output) = tiny();
    let said: Vec<String> = stdout(&output).lines().map(masked).collect();
    let expected: Vec<String> = fs::read_to_string(golden("tiny.txt")).unwrap().lines().map(masked).collect();
    assert_eq!(said[..said.len() - 1], expected[..]);
    assert_eq!(said.last().unwrap(), &masked(&run.join("report.html").display().to_string()));

    for file in [
        "config.toml",
        "run.json",
        "metrics.jsonl",
        "partition.json",
        "report.html",
        "join/generator.safetensors",
        "join/discriminator.safetensors",
        "model/manifest.json",
        "model/global.safetensors",
        "model/members/client-0000.safetensors",
        "model/members/client-0002.safetensors",
        "samples/real.png",
        "samples/round_0001.png",
        "samples/round_0002.png",
        "samples/mean_of_members.png",
        "samples/ensemble.png",
        "samples/member_client-0002.png",
        "samples/summary.png",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    assert_eq!(json(&run.join("run.json"))["status"], "done");
    let no_discriminator = fs::read_dir(run.join("model")).unwrap().count();
    assert_eq!(no_discriminator, 3, "generators and their manifest, nothing else");
}

#[test]
fn scores_of_a_tiny_run_are_those_of_the_golden_one() {
    let (_folder, run, _) = tiny();
    let golden: Vec<Value> = serde_json::from_str(&fs::read_to_string(golden("tiny_scores.json")).unwrap()).unwrap();
    let scores: Vec<Value> = metrics(&run).into_iter().filter(|event| event["event"] == "score").collect();
    assert_eq!(scores.len(), golden.len());
    for (score, golden) in scores.iter().zip(&golden) {
        assert_eq!((&score["of"], &score["round"]), (&golden["of"], &golden["round"]));
        let (ours, theirs) = (score["fd_small"].as_f64().unwrap(), golden["fd_small"].as_f64().unwrap());
        // 0.5 %: another instruction set sums f32 in another order, and Adam magnifies it: with plain Rust instead of AVX-512 scores
        // differ by up to 0.3 %. Training moves them by 20 %.
        assert!((ours / theirs - 1.0).abs() < 0.005, "{score} is not {golden}");
    }
}

#[test]
fn jobs_change_neither_model_nor_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["1", "2"].map(|jobs| {
        let run = folder.path().join(jobs);
        assert!(run_tiny(&run, &["--jobs", jobs]).status.success());
        let metrics: Vec<Value> = metrics(&run).into_iter().map(without_seconds).collect();
        (json(&run.join("run.json"))["model_hash"].clone(), metrics)
    });
    assert!(one.0.is_string());
    assert_eq!(one, two);
}

#[test]
fn another_seed_is_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let hash = |seed: &str| {
        let run = folder.path().join(seed);
        assert!(run_tiny(&run, &["--seed", seed]).status.success());
        json(&run.join("run.json"))["model_hash"].clone()
    };
    assert_ne!(hash("1"), hash("2"));
}

#[test]
fn every_algorithm_runs_and_is_sampled() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["fedgan", "fedprox", "fedadam", "fedyogi", "md-gan", "ua-gan", "local-ensemble", "central"] {
        let run = folder.path().join(kind);
        let pull = if kind == "fedprox" { ", mu = 0.1" } else { "" };
        let algorithm = format!("algorithm={{ kind = \"{kind}\", rounds = 2{pull} }}");
        let output = run_tiny(&run, &["--set", &algorithm]);
        assert!(output.status.success(), "{kind}: {output:?}");
        let png = folder.path().join(format!("{kind}.png"));
        assert!(effgan(&["sample", run.to_str().unwrap(), "--out", png.to_str().unwrap()]).status.success());
    }
}

#[test]
fn a_sample_is_its_seed_whatever_its_length_and_form() {
    let (folder, run, _) = tiny();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let run = run.to_str().unwrap();
    for (out, num) in [("a.npy", "100"), ("b.npy", "50"), ("grid.png", "64"), ("files", "12")] {
        let output = effgan(&["sample", run, "--num", num, "--seed", "3", "--out", &path(out)]);
        assert!(output.status.success(), "{output:?}");
    }
    let pixels = |name: &str| {
        let bytes = fs::read(path(name)).unwrap();
        let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
        (npy.shape().to_vec(), npy.into_vec::<u8>().unwrap())
    };
    let ((a_shape, a), (b_shape, b)) = (pixels("a.npy"), pixels("b.npy"));
    assert_eq!((a_shape, b_shape), (vec![100, 1, 28, 28], vec![50, 1, 28, 28]));
    assert_eq!(a[..b.len()], b);

    assert_eq!(fs::read_dir(path("files")).unwrap().count(), 12);
    let file = image::open(path("files/07.png")).unwrap().to_luma8();
    assert_eq!(file.into_raw(), a[7 * 784..8 * 784]);
}

#[test]
fn members_and_the_averaged_generator_are_sampled_by_name() {
    let (folder, run, _) = tiny();
    let sample = |members: &[&str]| {
        let out = folder.path().join("sample.npy");
        let _ = fs::remove_file(&out);
        let mut args = vec!["sample", run.to_str().unwrap(), "--num", "64", "--out", out.to_str().unwrap()];
        args.extend(members.iter().flat_map(|member| ["--member", member]));
        let output = effgan(&args);
        (output.status.success().then(|| fs::read(&out).unwrap()), output)
    };
    let [all, one, two, global] = [&[][..], &["client-0001"], &["client-0001", "client-0002"], &["global"]]
        .map(|members| sample(members).0.unwrap());
    assert!(all != one && one != two && two != global && global != all);
    let (code, line) = failure(&sample(&["client-7"]).1);
    assert_eq!(code, Some(2));
    assert_eq!(line, "the model has no member client-7; it has client-0000, client-0001, client-0002");
}

#[test]
fn a_reader_that_leaves_does_not_stop_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut child = Command::new(env!("CARGO_BIN_EXE_effgan"))
        .args(["run", &tiny_config(), "--out", run.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(json(&run.join("run.json"))["status"], "done");
}

#[test]
fn nothing_is_overwritten() {
    let (folder, run, _) = tiny();
    let before = fs::read(run.join("run.json")).unwrap();
    let (code, line) = failure(&run_tiny(&run, &[]));
    assert_eq!(code, Some(2));
    assert!(line.contains("exists and nothing is overwritten; resume it with effgan resume "), "{line}");
    assert!(line.ends_with(", or choose another --out"), "{line}");
    assert_eq!(fs::read(run.join("run.json")).unwrap(), before);
    let png = folder.path().join("grid.png");
    fs::write(&png, "mine").unwrap();
    let output = effgan(&["sample", run.to_str().unwrap(), "--out", png.to_str().unwrap()]);
    assert_eq!(failure(&output).0, Some(2));
    assert_eq!(fs::read_to_string(png).unwrap(), "mine");
}

#[test]
fn a_place_that_cannot_be_written_is_code_2_and_one_line() {
    let (folder, run, _) = tiny();
    let nowhere = folder.path().join("nowhere/grid.png");
    let nowhere = nowhere.to_str().unwrap();
    for command in [
        &["sample", run.to_str().unwrap(), "--out", nowhere][..],
        &["partition", &tiny_config(), "--out", nowhere],
        &["features", "train", "mnist-mini", "--out", nowhere],
    ] {
        let (code, line) = failure(&effgan(command));
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains("nowhere is not a folder, so"), "{line}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let (code, line) = failure(&run_tiny(&file.join("run"), &[]));
    assert_eq!(code, Some(2), "{line}");
    assert!(line.starts_with("cannot make the run folder"), "{line}");
}

/// Fails before the run folder is made.
fn refused(settings: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let refused = failure(&run_tiny(&run, &settings));
    assert!(!run.exists(), "{refused:?} left a folder");
    refused
}

#[test]
fn a_wrong_config_is_code_2_and_one_line() {
    for (setting, said) in [
        ("local.epoch=3", "[local] unknown field `epoch`, expected one of"),
        ("partition.clients=121", "partition.clients = 121 is more than the 120 images to assign"),
        ("partition.min_examples=50", "fewer than min_examples = 50, with 3 clients"),
        ("dataset.limit=10001", "dataset.limit = 10001 is outside 1..=10000"),
        ("dataset.name=mnist", "set dataset.dir to the folder with train-images-idx3-ubyte"),
        ("network.base_channels=0", "network.base_channels = 0 is outside 1..=1024"),
        ("algorithm.rounds=4000000000", "algorithm.rounds = 4000000000 is outside 0..=1000000"),
        ("local.batch_size=1", "local.batch_size = 1 must be at least 2"),
        ("evaluation.samples=20", "there is no image of class"),
        ("local.learning_rate=-1", "local.learning_rate = -1 must be above 0"),
        ("algorithm.cohort=1.5", "algorithm.cohort = 1.5 is outside 0..=1"),
        ("evaluation.samples=2001", "evaluation.samples = 2001 is outside 2..=2000"),
    ] {
        let (code, line) = refused(&[setting]);
        assert_eq!(code, Some(2), "{setting}: {line}");
        assert!(line.contains(said), "{setting}: {line}");
    }
    let dirichlet = "partition={ kind = \"dirichlet\", alpha = 0.01, clients = 50 }";
    let (code, line) = refused(&[dirichlet]);
    assert_eq!(code, Some(2));
    assert!(line.contains("alpha = 0.01 and 50 clients; raise alpha or lower clients or min_examples"), "{line}");
}

#[test]
fn data_that_cannot_be_read_is_code_3_and_one_line() {
    let data = tempfile::tempdir().unwrap();
    let dir = format!("dataset.dir={}", data.path().display());
    let files = ["dataset.name=mnist", &dir];
    let (code, line) = refused(&files);
    assert_eq!(code, Some(3));
    assert!(line.contains("train-images-idx3-ubyte"), "{line}");
    // Headers that promise 60,000 images and labels, and nothing behind them.
    let header = [0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 28, 0, 0, 0, 28];
    fs::write(data.path().join("train-images-idx3-ubyte"), header).unwrap();
    fs::write(data.path().join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0xea, 0x60]).unwrap();
    let (code, line) = refused(&files);
    assert_eq!(code, Some(3));
    assert!(line.contains("truncated: expected 47040016 bytes in all, got 16"), "{line}");
}

#[test]
fn a_loss_that_is_no_number_is_code_4_and_a_readable_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (code, line) = failure(&run_tiny(&run, &["--set", "local.learning_rate=1e30"]));
    assert_eq!(code, Some(4));
    assert!(line.contains("failed in round 1: the ") && line.contains("lower local.learning_rate"), "{line}");
    let info = json(&run.join("run.json"));
    assert_eq!(info["status"], "failed");
    assert_eq!(info["reason"], line);
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("lower local.learning_rate"));
}

#[test]
fn ctrl_c_is_code_130_and_a_readable_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut child = Command::new(env!("CARGO_BIN_EXE_effgan"))
        .args(["run", &tiny_config(), "--set", "local.epochs=40", "--set", "algorithm.rounds=1000"])
        .args(["--out", run.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().starts_with("round 1 ")));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(json(&run.join("run.json"))["status"], "interrupted");
    assert!(metrics(&run).iter().any(|event| event["event"] == "round" && event["round"] == 1));
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("nterrupted"));
}

#[test]
fn json_puts_nothing_else_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = run_tiny(&run, &["--json"]);
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, metrics(&run));
}

#[test]
fn a_partition_is_shown_without_training() {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("heat.png");
    let output = effgan(&["partition", &tiny_config(), "--out", png.to_str().unwrap()]);
    let said = stdout(&output);
    let rows: Vec<&str> = said.lines().filter(|line| line.starts_with("client-000")).collect();
    assert_eq!(rows.len(), 3, "{said}");
    // Name, ten classes with their shades, train, held out: all 120 images.
    let sum: u64 =
        rows.iter().flat_map(|row| row.split_whitespace().rev().take(2)).map(|n| n.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 120);
    assert!(image::open(png).unwrap().width() > 100);
}

#[test]
fn a_damaged_model_is_code_3_and_one_line() {
    let (folder, run, _) = tiny();
    let out = folder.path().join("grid.png");
    let sample = || failure(&effgan(&["sample", run.to_str().unwrap(), "--out", out.to_str().unwrap()]));
    let member = run.join("model/members/client-0001.safetensors");
    let bytes = fs::read(&member).unwrap();
    fs::write(&member, &bytes[..bytes.len() - 4]).unwrap();
    let (code, line) = sample();
    assert_eq!(code, Some(3));
    assert!(line.contains("client-0001.safetensors: its sha256 is"), "{line}");
    fs::write(run.join("model/manifest.json"), "{}").unwrap();
    assert_eq!(sample().0, Some(3));
    fs::remove_dir_all(run.join("model")).unwrap();
    assert_eq!(sample().0, Some(3));
}

#[test]
fn each_instruction_set_trains_and_an_unknown_one_is_code_2() {
    let bench = |isa: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_effgan"));
        command.args(["bench", "train-step", "--steps", "1", "--base-channels", "16", "--batch", "4", "--json"]);
        command.env("EFFGAN_ISA", isa).output().unwrap()
    };
    for isa in effgan_nn::Isa::available() {
        let said: Value = serde_json::from_str(&stdout(&bench(isa.name()))).unwrap();
        assert_eq!(said["instruction_set"], isa.name());
    }
    let (code, line) = failure(&bench("mmx"));
    assert_eq!(code, Some(2));
    assert!(line.starts_with("EFFGAN_ISA = mmx is not available on this processor, which has portable"), "{line}");
}

/// What `effgan bench … --json` says: a result a line, each with all these `fields` finite and above 0.
fn bench(args: &[&str], fields: &[&str]) -> Vec<Value> {
    let output = effgan(&[&["bench"], args, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let results: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for result in &results {
        assert!(result["engine"].as_str().unwrap().starts_with("effgan "), "{result}");
        for field in ["threads"].iter().chain(fields) {
            let value = result[field].as_f64().unwrap_or_else(|| panic!("{field} is no number in {result}"));
            assert!(value.is_finite() && value > 0.0, "{field} in {result}");
        }
    }
    results
}

#[test]
fn bench_of_a_training_step_takes_a_time_or_a_number_of_steps() {
    let fields = [
        "batch",
        "base_channels",
        "wall_ms_per_step",
        "user_ms_per_step",
        "images_per_second",
        "gflop_per_second",
        "peak_gflop_per_second",
        "share_of_peak",
    ];
    let small = ["train-step", "--base-channels", "8", "--batch", "16"];
    let by_time = bench(&[&small[..], &["--seconds", "0.3"]].concat(), &fields);
    let by_steps = bench(&[&small[..], &["--steps", "30", "--jobs", "2"]].concat(), &fields);
    assert_eq!((by_time.len(), &by_time[0]["threads"]), (1, &Value::from(1)));
    assert_eq!((by_steps.len(), &by_steps[0]["threads"]), (1, &Value::from(2)));
    assert!(by_time[0]["instruction_set"].is_string());
    let both = effgan(&["bench", "train-step", "--seconds", "1", "--steps", "1"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn bench_of_sampling_uses_all_cores_and_then_one() {
    let fields = ["members", "base_channels", "num", "seconds", "images_per_second"];
    let results = bench(&["sample", "--base-channels", "4", "--num", "128"], &fields);
    // One result where there is one core.
    assert!((1..=2).contains(&results.len()));
    assert_eq!(results.last().unwrap()["threads"], 1);
}

#[test]
fn bench_of_the_distance_times_statistics_apart() {
    let results =
        bench(&["frechet", "--num", "200", "--dims", "8,16"], &["num", "dim", "statistics_ms", "distance_ms"]);
    assert_eq!(results.iter().map(|result| result["dim"].as_u64().unwrap()).collect::<Vec<_>>(), [8, 16]);
}

#[test]
fn bench_of_averaging_counts_its_clients() {
    let fields = ["clients", "megabytes", "seconds", "gigabytes_per_second"];
    let results = bench(&["average", "--clients", "3", "--megabytes", "2"], &fields);
    assert_eq!((results.len(), &results[0]["clients"], &results[0]["megabytes"]), (1, &3.into(), &2.0.into()));
}

#[test]
fn a_bench_for_people_says_units() {
    for (args, unit) in [
        (&["train-step", "--base-channels", "4", "--batch", "4", "--steps", "2"][..], " images/s"),
        (&["sample", "--base-channels", "2", "--num", "8"], " images/s"),
        (&["frechet", "--num", "20", "--dims", "4"], " ms distance"),
        (&["average", "--clients", "2", "--megabytes", "1"], " GB/s"),
    ] {
        let said = stdout(&effgan(&[&["bench"], args].concat()));
        assert!(said.contains(unit) && said.lines().count() <= 2, "{said}");
    }
}

#[test]
fn the_exit_codes_are_explained() {
    assert!(stdout(&effgan(&["help", "exit-codes"])).contains("130  interrupted"));
}

#[test]
fn a_wrong_command_line_is_code_2_and_one_line() {
    let (code, line) = failure(&effgan(&["run", "config.toml", "--job", "3"]));
    assert_eq!(code, Some(2));
    assert!(line.starts_with("unexpected argument '--job' found; a similar argument exists: '--jobs'"), "{line}");
    let help = effgan(&["run", "--help"]);
    assert!(help.status.success() && stdout(&help).lines().count() > 10);
    assert_eq!(stdout(&effgan(&["--version"])), format!("effgan {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&effgan(&["completions", shell]));
        for verb in ["run", "resume", "sample", "partition", "features", "report", "bench", "completions", "man"] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man1");
    assert!(effgan(&["man", "--out", man.to_str().unwrap()]).status.success());
    let page = |name: &str| fs::read_to_string(man.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (name, said) in [
        ("effgan.1", "interrupted by Ctrl"),
        ("effgan-run.1", "SECTION.KEY=VALUE"),
        ("effgan-sample.1", "averaged generator"),
        ("effgan-bench-train-step.1", "seconds"),
    ] {
        assert!(page(name).contains(said) && page(name).is_ascii(), "{name}");
    }
    assert_eq!(stdout(&effgan(&["man"])), page("effgan.1"));
}
