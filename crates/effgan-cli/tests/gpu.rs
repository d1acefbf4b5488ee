//! A whole run on a GPU, or on what acts as one: `make gpu-test`.

#[path = "../../effgan-metrics/tests/inception/formula.rs"]
mod formula;
mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use effgan_nn::checkpoint;
use image::GrayImage;
use program::{effgan, failure, json, metrics, run_tiny, stdout, tiny_config};
use serde_json::Value;
use tempfile::TempDir;

/// The device that `make gpu-test` names.
fn device() -> String {
    std::env::var("EFFGAN_TEST_DEVICE").expect("make gpu-test names a device")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Settings with which the tiny run takes a few steps.
fn few_steps() -> Vec<&'static str> {
    let settings = ["local.epochs=1", "algorithm.rounds=1", "algorithm.fine_tune_epochs=2", "evaluation.samples=100"];
    settings.into_iter().flat_map(|setting| ["--set", setting]).collect()
}

/// A run on this device, and its folder.
fn run_on(device: &str) -> (TempDir, String) {
    run_with(device, &[])
}

fn run_with(device: &str, more: &[&str]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = run_tiny(&run, &[&few_steps()[..], more, &["--device", device]].concat());
    assert!(output.status.success(), "{output:?}");
    (folder, text(&run).to_owned())
}

/// u8 images that `effgan sample` draws from the first member.
fn samples(run: &str, device: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("images.npy");
    let output = effgan(&["sample", run, "--num", "32", "--device", device, "--out", text(&out)]);
    assert!(output.status.success(), "{output:?}");
    fs::read(out).unwrap()
}

#[test]
fn a_run_says_what_computed_it_and_its_files_are_those_of_a_run_on_the_cpu() {
    let longer = ["--set", "local.epochs=6"];
    let ((_a, gpu), (_b, cpu)) = (run_with(&device(), &longer), run_with("cpu", &longer));
    let info = json(&Path::new(&gpu).join("run.json"));
    let named = info["machine"]["gpu"].as_str().unwrap();
    assert!(named.starts_with(&format!("{}, ", device())), "{named}");
    assert_eq!(info["jobs"], 1, "clients share the device's memory");
    assert!(fs::read_to_string(Path::new(&gpu).join("report.html")).unwrap().contains("networks computed by"));
    let manifest = |run: &str| json(&Path::new(run).join("model/manifest.json"));
    let names =
        |run: &str| manifest(run)["members"].as_array().unwrap().iter().map(|m| m["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&gpu), names(&cpu));
    assert_eq!(manifest(&gpu)["network"], manifest(&cpu)["network"]);
    // The first step is the same networks on the same images; after some steps, rounding has grown.
    let losses = |run: &str| metrics(Path::new(run)).into_iter().find(|event| event["event"] == "losses").unwrap();
    for loss in ["loss_d", "loss_g"] {
        // More steps than between two reads, of which none is lost.
        let all = |run: &str| losses(run)[loss].as_array().unwrap().len();
        assert!(all(&gpu) > 16 && all(&gpu) == all(&cpu), "{} losses, not {}", all(&gpu), all(&cpu));
        let first = |run: &str| losses(run)[loss][0].as_f64().unwrap();
        assert!((first(&gpu) - first(&cpu)).abs() < 1e-4, "{loss}: {} is not {}", first(&gpu), first(&cpu));
    }
}

#[test]
fn members_that_were_trained_there_draw_the_same_images_on_the_cpu() {
    let (_folder, run) = run_on(&device());
    let (ours, theirs) = (samples(&run, &device()), samples(&run, "cpu"));
    assert_eq!(ours.len(), theirs.len());
    // A value may be on the border between two grey levels.
    assert!(ours.iter().zip(&theirs).all(|(a, b)| a.abs_diff(*b) <= 1));
}

#[test]
fn a_model_has_the_same_scores_on_both() {
    let (_folder, run) = run_on("cpu");
    let scores = |device: &str| -> Value {
        let args = ["evaluate", &run, "--num", "200", "--device", device, "--json"];
        serde_json::from_str(&stdout(&effgan(&args))).unwrap()
    };
    let (ours, theirs) = (scores(&device()), scores("cpu"));
    for score in ["fd_small", "kd_small"] {
        let (ours, theirs) = (ours[score].as_f64().unwrap(), theirs[score].as_f64().unwrap());
        assert!((ours - theirs).abs() <= 1e-3 * theirs.abs(), "{score}: {ours} is not {theirs}");
    }
}

/// A folder of images of noise, whose grey levels span `levels`.
fn noise(folder: &Path, name: &str, levels: u64) -> String {
    let images = folder.join(name);
    fs::create_dir(&images).unwrap();
    for i in 0..6 {
        let seed = format!("{name} {i}");
        let mut numbers = formula::numbers(&seed);
        let image = GrayImage::from_fn(28, 28, |_, _| [(numbers.next().unwrap() % levels) as u8].into());
        image.save(images.join(format!("{i}.png"))).unwrap();
    }
    text(&images).to_owned()
}

#[test]
fn images_have_the_same_fid_on_both() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    checkpoint::save(&weights, &formula::weights()).unwrap();
    let (images, reference) = (noise(folder.path(), "images", 256), noise(folder.path(), "reference", 200));
    let fid = |device: &str| -> f64 {
        let network = ["--features", "inception", "--weights", text(&weights)];
        let args = ["evaluate", &images, "--reference", &reference, "--device", device, "--json"];
        let found: Value = serde_json::from_str(&stdout(&effgan(&[&args[..], &network].concat()))).unwrap();
        found["fid"].as_f64().unwrap()
    };
    let (ours, theirs) = (fid(&device()), fid("cpu"));
    assert!(theirs > 0.0 && (ours - theirs).abs() <= 1e-3 * theirs, "{ours} is not {theirs}");
}

#[test]
fn a_run_that_was_interrupted_goes_on_there_and_on_the_cpu() {
    for next in [&*device(), "cpu"] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let child = Command::new(env!("CARGO_BIN_EXE_effgan"))
            .args(["run", &tiny_config(), "--device", &device(), "--out", text(&run)])
            .args(few_steps())
            .args(["--set", "checkpoint.every_steps=1", "--set", "local.epochs=3"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let has_saved = || fs::read_dir(run.join("checkpoints")).is_ok_and(|files| files.count() > 0);
        while !has_saved() {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let output = effgan(&["resume", text(&run), "--device", next]);
        assert!(output.status.success(), "{output:?}");
        let scores: Vec<Value> = metrics(&run).into_iter().filter(|event| event["of"] == "ensemble").collect();
        assert!(scores.len() == 1 && scores[0]["fd_small"].as_f64().unwrap().is_finite(), "{scores:?}");
        let info = json(&run.join("run.json"));
        assert_eq!(info["status"], "done");
        let named = info["machine"]["gpu"].as_str().unwrap();
        assert_eq!(named.ends_with("; then the processor"), next == "cpu", "{named}");
    }
}

/// The kernels that ran, by name, as Burn logs them.
fn kernels(args: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let out = folder.path().join("images.npy");
    let output = Command::new(env!("CARGO_BIN_EXE_effgan"))
        .args(args)
        .args(["--device", &device(), "--out", text(&out)])
        .envs([("CUBECL_DEBUG_LOG", text(&log)), ("CUBECL_DEBUG_OPTION", "profile-medium")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = fs::read_to_string(log).unwrap();
    // | 91.646µs   | CopyKernel_bedb8335
    let name = |line: &str| line.strip_prefix("| ")?.split_once('|').map(|(_, name)| name.trim().to_owned());
    lines.lines().filter_map(name).collect()
}

#[test]
fn no_map_is_copied_between_the_layers_of_a_generator() {
    let (_folder, run) = run_on("cpu");
    let kernels = kernels(&["sample", &run, "--member", "global", "--num", "64"]);
    assert!(kernels.iter().any(|name| name.starts_with("ConvTranspose2d")), "{kernels:?}");
    let copies: Vec<&String> = kernels.iter().filter(|name| name.starts_with("Copy")).collect();
    assert!(copies.is_empty(), "{copies:?} of {kernels:?}");
}

#[test]
fn a_device_that_is_missing_is_one_line_that_names_those_that_are_there() {
    let (code, line) = failure(&effgan(&["run", &tiny_config(), "--device", "gpu:9", "--out", "/nowhere/run"]));
    assert_eq!(code, Some(2));
    assert!(line.ends_with(&format!("device = gpu:9 is not on this machine; give cpu or {}", device())), "{line}");
    assert!(stdout(&effgan(&["devices"])).contains(&format!("\n{}   ", device())));
}
