//! `effgan bench`

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::program::{effgan, failure, stdout};

#[test]
fn each_instruction_set_trains_and_an_unknown_one_is_code_2() {
    let bench = |isa: &str, precision: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_effgan"));
        command.args(["bench", "train-step", "--steps", "1", "--base-channels", "16", "--batch", "4", "--json"]);
        command.args(["--precision", precision]).env("EFFGAN_ISA", isa).output().unwrap()
    };
    for isa in effgan_nn::Isa::available() {
        let said: Value = serde_json::from_str(&stdout(&bench(isa.name(), "f32"))).unwrap();
        assert_eq!(said["instruction_set"], isa.name());
    }
    for precision in ["f32", "bf16"] {
        let (code, line) = failure(&bench("mmx", precision));
        assert_eq!(code, Some(2));
        assert!(line.starts_with("EFFGAN_ISA = mmx is not available on this processor, which has portable"), "{line}");
    }
}

/// What `effgan bench … --json` says: one result per line, each with all these `fields` finite and above 0.
fn bench(args: &[&str], fields: &[&str]) -> Vec<Value> {
    let output = effgan(&[&["bench"], args, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let results: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for result in &results {
        assert!(result["engine"].as_str().unwrap().starts_with("effgan "), "{result}");
        for field in ["threads"].iter().chain(fields) {
            let value = result[field].as_f64().unwrap_or_else(|| panic!("{field} is not a number in {result}"));
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
        "gflop_per_step",
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
    let knows_memory = cfg!(target_os = "linux");
    assert_eq!(by_time[0]["memory_mb"].as_f64().is_some_and(|memory| memory > 0.0), knows_memory, "{}", by_time[0]);
    let both = effgan(&["bench", "train-step", "--seconds", "1", "--steps", "1"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn bench_of_a_training_step_is_of_the_given_network_and_images() {
    let fields = ["wall_ms_per_step", "gflop_per_step", "share_of_peak"];
    let small = ["train-step", "--steps", "1", "--base-channels", "4", "--batch", "4", "--channels", "3"];
    for (network, size) in [("dcgan", "32"), ("dcgan", "64"), ("resnet", "16"), ("resnet", "32")] {
        let said = bench(&[&small[..], &["--network", network, "--size", size]].concat(), &fields).remove(0);
        assert_eq!(said["network"], network);
        assert_eq!(["channels", "size", "width"].map(|key| said[key].to_string()), ["3", size, size]);
    }
    let (code, line) = failure(&effgan(&["bench", "train-step", "--network", "resnet", "--size", "28"]));
    assert_eq!(code, Some(2));
    assert!(line.starts_with("images of 1 x 28 x 28 do not fit a resnet"), "{line}");
}

#[test]
fn bench_of_a_training_step_reads_a_config() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let with = |local: &str| {
        let text = format!(
            "name = \"bench\"\nseed = 1\ndataset = {{ name = \"mnist-mini\", limit = 200, size = 16, channels = 3 }}\n\
             network = {{ kind = \"resnet\", base_channels = 4, conditional = true }}\n\
             partition = {{ kind = \"iid\", clients = 2 }}\nalgorithm = {{ kind = \"fedgan\", rounds = 1 }}\n\
             local = {{ batch_size = 8, steps = 1, {local} }}"
        );
        fs::write(&file, text).unwrap();
        ["train-step", "--steps", "1", "--config", file.to_str().unwrap()]
    };
    let step = |local| bench(&with(local), &["wall_ms_per_step", "images_per_second"]).remove(0);
    let once = step("loss = \"hinge\"");
    let number = |key| once[key].as_u64().unwrap();
    assert_eq!(once["network"], "resnet");
    assert_eq!(["channels", "size", "base_channels", "batch"].map(number), [3, 16, 4, 8]);
    let thrice = step("discriminator_steps = 3");
    assert!(thrice["gflop_per_step"].as_f64() > once["gflop_per_step"].as_f64());
    let args = with("discriminator_steps = 2");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "\nprivacy = { noise_multiplier = 1.0 }").unwrap();
    let private = bench(&args, &["wall_ms_per_step", "images_per_second"]).remove(0);
    assert!(private["wall_ms_per_step"].as_f64() > Some(0.0));
    let error = |args: &[&str]| failure(&effgan(&[&["bench"], args].concat()));
    let (code, line) = error(&[&with("beta1 = 0.0")[..], &["--batch", "4"]].concat());
    assert_eq!(code, Some(2));
    assert!(line.contains("cannot be used with"), "{line}");
    let (code, line) = error(&with("loss = \"l1\""));
    assert_eq!(code, Some(2));
    assert!(line.starts_with(&file.display().to_string()), "{line}");
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
fn bench_of_sampling_takes_networks_and_images_of_any_kind() {
    let resnet = ["--network", "resnet", "--size", "32", "--channels", "3", "--base-channels", "4", "--num", "64"];
    let results = bench(&[&["sample"], &resnet[..]].concat(), &["size", "channels", "images_per_second"]);
    assert_eq!((&results[0]["network"], &results[0]["size"]), (&Value::from("resnet"), &Value::from(32)));
    let (code, line) = failure(&effgan(&["bench", "sample", "--network", "resnet", "--size", "28"]));
    assert_eq!(code, Some(2), "{line}");
}

#[test]
fn bench_of_scores_uses_all_cores_and_then_one() {
    let fields = ["num", "dim", "prdc_ms", "kid_ms"];
    let results = bench(&["scores", "--num", "300", "--dims", "8,16"], &fields);
    assert!(results.len() == 2 || results.len() == 4);
    assert_eq!((&results[0]["dim"], &results.last().unwrap()["dim"]), (&Value::from(8), &Value::from(16)));
    assert_eq!(results.last().unwrap()["threads"], 1);
}

#[test]
fn bench_of_the_distance_times_statistics_separately() {
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
fn a_bench_prints_units() {
    for (args, unit) in [
        (&["train-step", "--base-channels", "4", "--batch", "4", "--steps", "2"][..], " images/s"),
        (&["sample", "--base-channels", "2", "--num", "8"], " images/s"),
        (&["frechet", "--num", "20", "--dims", "4"], " ms distance"),
        (&["average", "--clients", "2", "--megabytes", "1"], " GB/s"),
    ] {
        let said = stdout(&effgan(&[&["bench"], args].concat()));
        assert!(said.contains(unit) && said.lines().count() <= 3, "{said}");
    }
}
