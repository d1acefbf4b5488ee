//! Scores of models, folders and arrays.

#[path = "evaluate/fid_of_two_sets.rs"]
mod fid_of_two_sets;
#[path = "../../effgan-metrics/tests/inception/formula.rs"]
mod formula;
#[path = "evaluate/inception_in_a_run.rs"]
mod inception_in_a_run;
mod program;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use effgan_data::{DatasetConfig, DatasetName};
use effgan_metrics::METRICS;
use effgan_metrics::metric::Network;
use npyz::WriterBuilder;
use program::{effgan, failure, metrics, run_tiny, stdout};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a tiny run in `run`, and a cache of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_run() -> Self {
        let place = Self::new();
        assert!(run_tiny(&place.path("run"), &[]).status.success());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn evaluate(&self, images: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_effgan"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("EFFGAN_DATA", self.path("data"))
            .current_dir(self.0.path())
            .args([&["evaluate", images][..], more].concat())
            .output()
            .unwrap()
    }

    fn json(&self, images: &str, more: &[&str]) -> Value {
        let output = self.evaluate(images, &[more, &["--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn line(&self, images: &str, more: &[&str]) -> String {
        failure(&self.evaluate(images, more)).1
    }

    /// u8 images `[n, c, h, w]` as an array file.
    fn save(&self, name: &str, shape: [u64; 4], pixels: &[u8]) {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd().unwrap();
        writer.extend(pixels.iter().copied()).unwrap();
        writer.finish().unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }
}

#[test]
fn a_model_is_scored_as_in_its_run_and_so_are_its_samples() {
    let place = Place::with_run();
    let ours = place.json("run", &["--num", "200"]);
    let scores: Vec<Value> =
        metrics(&place.path("run")).into_iter().filter(|event| event["event"] == "score").collect();
    let (floor, ensemble) = (&scores[0], scores.last().unwrap());
    for name in ["n", "fd_small", "class_kl", "modes", "class_counts"] {
        assert_eq!((&ours[name], &ours["floor"][name]), (&ensemble[name], &floor[name]), "{name}");
    }
    for out in ["a.npy", "pictures"] {
        let path = place.path(out);
        let args = ["sample", place.path("run").to_str().unwrap(), "--num", "200", "--out", path.to_str().unwrap()]
            .map(str::to_owned);
        assert!(effgan(&args.each_ref().map(String::as_str)).status.success());
        let of_images = place.json(out, &["--reference", "mnist-mini", "--num", "200"]);
        for name in ["fd_small", "kd_small", "precision", "coverage", "class_kl", "train_on_synthetic", "floor"] {
            assert_eq!(of_images[name], ours[name], "{out}: {name}");
        }
    }
    // All clients together, and each of three members, against the images that they were assigned.
    let names: Vec<&str> =
        ours["memorisation"].as_array().unwrap().iter().map(|row| row["member"].as_str().unwrap()).collect();
    assert_eq!(names, ["all", "client-0000", "client-0001", "client-0002"]);
    // 200 images of 84 features are few, and a subset of the kernel distance is a whole set.
    assert_eq!(ours["warnings"].as_array().unwrap().len(), 2);
}

#[test]
fn every_number_of_an_evaluation_is_a_metric_or_says_how_one_was_computed() {
    let ours = Place::with_run().json("run", &["--num", "200"]);
    let numbers = |object: &Value, prefix: &str| -> Vec<String> {
        let fields = object.as_object().unwrap().iter().filter(|(_, value)| value.is_number());
        fields.map(|(key, _)| format!("{prefix}{key}")).collect()
    };
    let found = [
        numbers(&ours, ""),
        numbers(&ours["train_on_synthetic"], ""),
        numbers(&ours["memorisation"][0], "memorisation_"),
    ];
    let how = "n n_reference dim kd_std kd_subsets kd_subset_size nearest_k num_test epochs accuracy_of_real memorisation_auc_low \
               memorisation_auc_high memorisation_num_samples memorisation_num_held_out memorisation_num_train";
    let is_setting = |name: &String| how.split(' ').any(|setting| setting == name);
    let mut names: Vec<String> = found.concat().into_iter().filter(|name| !is_setting(name)).collect();
    let small = METRICS.iter().filter(|metric| metric.is_of(Network::Small));
    let mut expected: Vec<String> = small.map(|metric| metric.name.to_owned()).collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn a_data_set_without_classes_is_compared_by_its_pixels_with_images_that_become_as_large() {
    let place = Place::new();
    // NumPy's order of the axes, as it is read in a data set of arrays.
    let pixels = |n: u64, area: u64| -> Vec<u8> { (0..n * area).map(|i| (i * i % 251) as u8).collect() };
    place.save("wide.npy", [200, 20, 24, 1], &pixels(200, 480));
    place.save("square.npy", [200, 24, 24, 1], &pixels(200, 576));
    place.save("images.npy", [15, 1, 24, 24], &pixels(15, 576));
    place.save("large.npy", [15, 1, 48, 48], &pixels(15, 48 * 48));
    let scores = place.json("large.npy", &["--reference", "npz", "--dir", "square.npy"]);
    assert!(scores["swd"].as_f64() > scores["floor"]["swd"].as_f64(), "{scores}");
    assert_eq!((&scores["n"], &scores["n_reference"], &scores["floor"]["n"]), (&15.into(), &15.into(), &15.into()));
    assert!(scores["features"].as_str().unwrap().starts_with("low-pass of 16 × 16 (no network: "), "{scores}");
    let line = place.line("images.npy", &["--reference", "npz", "--dir", "wide.npy"]);
    assert_eq!(line, "an image of 24 × 24 pixels cannot be compared with 20 × 24, which is no square; resize it first");
}

#[test]
fn two_sets_are_compared_with_each_other_whatever_their_numbers() {
    let place = Place::new();
    place.save("a.npy", [300, 1, 28, 28], &digits(0..300));
    place.save("b.npy", [200, 1, 28, 28], &digits(300..500));
    let ours = place.json("a.npy", &["--reference", "b.npy", "--features", "mnist"]);
    assert_eq!((&ours["n"], &ours["n_reference"], &ours["floor"]), (&300.into(), &200.into(), &Value::Null));
    let same = place.json("a.npy", &["--reference", "a.npy", "--features", "mnist"]);
    assert!(same["fd_small"].as_f64().unwrap() < 1e-6 && same["precision"] == 1.0 && same["recall"] == 1.0);
}

#[test]
fn a_small_network_converts_each_image_by_itself_and_says_so() {
    let place = Place::new();
    let digits = digits(0..200);
    let colours: Vec<u8> = digits.chunks_exact(784).flat_map(|image| image.repeat(3)).collect();
    // Every second row and column.
    let small: Vec<u8> = digits.chunks_exact(56).flat_map(|rows| rows[..28].iter().step_by(2)).copied().collect();
    place.save("digits.npy", [200, 1, 28, 28], &digits);
    place.save("colours.npy", [200, 3, 28, 28], &colours);
    place.save("small.npy", [200, 1, 14, 14], &small);
    let scores = |images: &str, reference: &str| place.json(images, &["--reference", reference, "--features", "mnist"]);
    let fd = |evaluation: &Value| evaluation["fd_small"].as_f64().unwrap();
    let same = scores("colours.npy", "digits.npy");
    assert!(fd(&same) < 1e-6, "{same}");
    let warning = same["warnings"].as_array().unwrap().last().unwrap().as_str().unwrap();
    assert_eq!(
        warning,
        "images of 3 × 28 × 28 and reference images of 1 × 28 × 28 are converted to 1 × 28 × 28, the input of LeNet (mnist): no score \
         sees what that removes"
    );
    let (one, other) = (fd(&scores("small.npy", "digits.npy")), fd(&scores("digits.npy", "small.npy")));
    // Which set is the reference changes the order of f64 sums.
    assert!(one > 1.0 && (one / other - 1.0).abs() < 1e-9, "{one} and {other}");
    assert!(
        scores("digits.npy", "digits.npy")["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|line| !line.to_string().contains("×"))
    );
}

#[test]
fn a_network_that_does_not_know_what_it_sees_is_refused_for_files_as_for_data_sets() {
    let place = Place::new();
    // Noise, and waves, which are smooth as photographs are.
    let noise: Vec<u8> = (0..200 * 784_u64).map(|i| (i * i * 7919 % 65_537 % 251) as u8).collect();
    let wave = |i: u64| {
        let (image, y, x) = ((i / 784) as f64, (i / 28 % 28) as f64, (i % 28) as f64);
        (127.5 + 60.0 * (y / (3.0 + image % 7.0)).sin() + 60.0 * (x / (3.0 + image % 5.0) + image).cos()) as u8
    };
    let waves: Vec<u8> = (0..200 * 784).map(wave).collect();
    place.save("noise.npy", [200, 1, 28, 28], &noise);
    place.save("waves.npy", [200, 1, 28, 28], &waves);
    place.save("digits.npy", [200, 1, 28, 28], &digits(0..200));
    for (images, network) in
        [("noise", "mnist"), ("noise", "fashion-mnist"), ("waves", "mnist"), ("waves", "fashion-mnist")]
    {
        let reference = format!("{images}.npy");
        let line = place.line("digits.npy", &["--reference", &reference, "--features", network]);
        assert!(line.starts_with(&format!("--features {network} was not trained on images like these: ")), "{line}");
        let least = if network == "mnist" { 0.86 } else { 0.81 };
        assert!(line.contains(&format!("on average, below {least}; use inception, or a file")), "{line}");
    }
    // Images that are scored may be anything, as those of a collapsed generator are.
    let scores = place.json("noise.npy", &["--reference", "digits.npy", "--features", "mnist"]);
    assert_eq!(
        scores["warnings"][0],
        "LeNet (mnist) was trained on other images than the reference: it sees no more than what told the classes of those apart"
    );
    assert!(scores["fd_small"].as_f64().unwrap() > 100.0, "{scores}");
}

/// Test images of the built-in data set, u8 `[n, 1, 28, 28]`.
fn digits(range: Range<usize>) -> Vec<u8> {
    let dataset = DatasetConfig::of(DatasetName::MnistMini).load().unwrap();
    dataset.test.pixels()[range.start * 784..range.end * 784].to_vec()
}

#[test]
fn the_pictures_of_a_run_are_no_images_to_score_or_to_compare_with() {
    let place = Place::with_run();
    let line = place.line("run", &["--reference", "run"]);
    assert!(line.starts_with("reference: run is a run or model, and a reference is real images; pass"), "{line}");
    // Its grids of samples remain.
    fs::remove_dir_all(place.path("run/model")).unwrap();
    let line = place.line("run", &[]);
    assert_eq!(line, "unusable model: run: not a model folder (no manifest.json)");
}

#[test]
fn features_of_a_reference_are_kept_and_a_damaged_file_of_them_costs_time_alone() {
    let place = Place::with_run();
    let first = place.json("run", &["--num", "100"]);
    let folder = place.path("cache/effgan/features");
    let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    assert_eq!(place.json("run", &["--num", "100"]), first);
    for file in &files {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    }
    assert_eq!(place.json("run", &["--num", "100"]), first);
}

#[test]
fn an_evaluation_is_read_by_people() {
    let place = Place::with_run();
    let output = place.evaluate("run", &["--num", "100", "--member", "client-0001"]);
    let text = stdout(&output);
    assert!(
        text.starts_with("run: client-0001, seed 1 against mnist-mini\nfeatures: LeNet (mnist), 84 per image\n"),
        "{text}"
    );
    for part in [
        "fd_small",
        "kd_small",
        "precision",
        "coverage",
        "modes",
        "accuracy",
        "floor",
        "\nall ",
        "\nwarning: 100 images are few",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn bad_images_are_one_line() {
    let place = Place::new();
    place.save("one.npy", [1, 1, 28, 28], &[7; 784]);
    place.save("equal.npy", [100, 1, 28, 28], &vec![7; 78400]);
    fs::write(place.path("text.npy"), "text").unwrap();
    fs::create_dir(place.path("empty")).unwrap();
    let digits = ["--reference", "mnist-mini"];
    assert_eq!(place.line("one.npy", &digits), "n = 1 must be from 2 to 2000, the images of mnist-mini");
    assert!(place.line("text.npy", &digits).contains("text.npy: is not a NumPy array"));
    assert!(place.line("empty", &digits).contains("holds no pictures (PNG, "));
    assert!(place.line("missing.npy", &digits).starts_with("missing.npy does not exist; pass a run or model folder"));
    assert!(place.line("equal.npy", &[]).ends_with("records no data set; pass --reference DATASET or PATH"));
    assert!(place.line("equal.npy", &["--reference", "nix"]).contains("no data set is called `nix`"));
    assert!(
        place
            .line("equal.npy", &["--reference", "equal.npy"])
            .starts_with("images without a data set have no feature network of their own; pass --features")
    );
    assert!(
        place
            .line("equal.npy", &[&digits[..], &["--member", "global"]].concat())
            .starts_with("--member is for a model")
    );
    assert!(
        place.line("equal.npy", &[&digits[..], &["--features", "resnet"]].concat()).contains("resnet is not a network")
    );
    assert!(
        place
            .line("equal.npy", &[&digits[..], &["--num", "101"]].concat())
            .contains("n = 101 is more than the 100 images")
    );
    // The first 20 test digits lack a class: there are no class scores, and a warning says so.
    let few = place.json("equal.npy", &[&digits[..], &["--num", "20"]].concat());
    assert!(few["warnings"][0].as_str().unwrap().starts_with("no class scores: there is no image of class"));
    assert_eq!((&few["class_kl"], few["fd_small"].is_number()), (&Value::Null, true));
    // A singular covariance is fine.
    let equal = place.json("equal.npy", &digits);
    assert!(equal["fd_small"].as_f64().unwrap() > 100.0 && equal["recall"] == 0.0);
    assert_eq!(equal["modes"], 1);
}

#[test]
fn without_weights_there_is_no_fid() {
    let place = Place::new();
    place.save("a.npy", [100, 1, 28, 28], &vec![7; 78400]);
    let inception = |more: &[&str]| {
        place.line("a.npy", &[&["--reference", "mnist-mini", "--features", "inception"], more].concat())
    };
    let line = "Inception's weights were not found; fetch them with effgan data fetch inception, or pass --weights FILE \
         (in Python weights=FILE)";
    assert_eq!(inception(&[]), line);
    assert!(inception(&["--weights", "missing.pth"]).contains("missing.pth"));
    assert!(
        inception(&["--weights", "a.npy"]).contains("a.npy is not a safetensors file"),
        "{}",
        inception(&["--weights", "a.npy"])
    );
    let small = format!("{}/../effgan-metrics/weights/mnist.safetensors", env!("CARGO_MANIFEST_DIR"));
    assert!(inception(&["--weights", &small]).contains("tensor"), "{}", inception(&["--weights", &small]));
    assert!(inception(&["--resize", "bicubic"]).contains("pytorch-fid"), "{}", inception(&["--resize", "bicubic"]));
    let line = place.line("a.npy", &["--reference", "mnist-mini", "--weights", &small]);
    assert!(line.starts_with("--weights is for --features inception"), "{line}");
}

#[test]
fn features_that_are_no_numbers_are_named() {
    let place = Place::new();
    let weights = format!("{}/../effgan-metrics/weights/mnist.safetensors", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = fs::read(Path::new(&weights)).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let save = |name: &str, bytes: &[u8]| fs::write(place.path(name), bytes).unwrap();
    for (name, value) in [("nan.safetensors", f32::NAN), ("huge.safetensors", f32::MAX)] {
        bytes[start..start + 24].copy_from_slice(&[value; 6].map(f32::to_le_bytes).concat());
        save(name, &bytes);
    }
    place.save("a.npy", [100, 1, 28, 28], &vec![7; 78400]);
    let line = place.line("a.npy", &["--reference", "mnist-mini", "--features", "nan.safetensors"]);
    assert!(line.starts_with("nan.safetensors: tensor `conv1.bias` has a non-finite value"), "{line}");
    let line = place.line("a.npy", &["--reference", "a.npy", "--features", "huge.safetensors"]);
    assert!(line.starts_with("feature ") && line.ends_with("check the image and the feature network"), "{line}");
}
