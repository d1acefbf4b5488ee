//! A run that is scored with Inception, on the weights of a formula.

use std::fs;
use std::process::{Command, Output};

use effgan_nn::checkpoint;
use serde_json::Value;

use super::program::{failure, metrics, stdout, tiny_config};
use super::{Place, formula};

/// A tiny run of eight scored images, whose data folder is that of the place.
fn run(place: &Place) -> Output {
    let settings = ["evaluation.features=inception", "evaluation.samples=8", "evaluation.every=2"];
    Command::new(env!("CARGO_BIN_EXE_effgan"))
        .env("EFFGAN_DATA", place.path("data"))
        .args(["run", &tiny_config(), "--out"])
        .arg(place.path("run"))
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .output()
        .unwrap()
}

#[test]
fn a_run_prints_fid_and_kid_as_an_evaluation_of_its_model_does() {
    let place = Place::new();
    fs::create_dir_all(place.path("data/inception")).unwrap();
    let weights = place.path("data/inception/pt_inception-2015-12-05-6726825d.pth");
    checkpoint::save(&weights, &formula::weights()).unwrap();
    let output = run(&place);
    assert!(output.status.success(), "{output:?}");
    let line = stdout(&output).lines().find(|line| line.trim_start().starts_with("ensemble")).unwrap().to_owned();
    assert!(line.contains(" fid ") && line.ends_with("n 8"), "{line}");

    let scores: Vec<Value> =
        metrics(&place.path("run")).into_iter().filter(|event| event["event"] == "score").collect();
    assert_eq!(scores[0]["of"], "floor");
    let ensemble = scores.last().unwrap();
    let evaluated = place.json("run", &["--features", "inception", "--num", "8"]);
    for metric in ["fid", "kid"] {
        assert!(ensemble[metric].is_f64(), "{ensemble}");
        assert_eq!(ensemble[metric], evaluated[metric], "{metric}");
        assert_eq!(scores[0][metric], evaluated["floor"][metric], "{metric} of real images");
    }
    let table = fs::read_to_string(place.path("run/metrics.csv")).unwrap();
    assert!(table.lines().next().unwrap().contains(",fid,kid,"), "{table}");
    assert!(fs::read_to_string(place.path("run/report.html")).unwrap().contains("Inception-2015"));
}

#[test]
fn without_the_weights_no_folder_is_made() {
    let place = Place::new();
    let (code, line) = failure(&run(&place));
    assert_eq!(code, Some(2), "{line}");
    assert!(line.contains("Inception's weights were not found; fetch them with effgan data fetch inception"), "{line}");
    assert!(!place.path("run").exists());
}
