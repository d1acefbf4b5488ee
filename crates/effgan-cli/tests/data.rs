//! Data sets as a user has them: a folder with broken files, arrays, CIFAR-10's files, a download, a partition from a
//! file.

#[path = "../../effgan-data/tests/mixed_folder/mod.rs"]
mod mixed_folder;
#[path = "data/network_file.rs"]
mod network_file;
#[path = "../../effgan-data/tests/server/mod.rs"]
#[expect(dead_code, reason = "the downloads' own tests use all of it")]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use server::{Manner, Server};
use tempfile::TempDir;

/// The program, with an empty folder of data sets, and a cache of features of the tests' own.
fn effgan(args: &[&str]) -> Output {
    let place = |name| Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut program = Command::new(env!("CARGO_BIN_EXE_effgan"));
    program.args(args).env("EFFGAN_DATA", place("no-cache")).env("XDG_CACHE_HOME", place("features"));
    program.output().unwrap()
}

/// Scores as many images as there are, instead of the tiny run's 200.
const ALL_IMAGES: &str = "evaluation={every=1}";

/// The golden tiny run's config.
fn tiny() -> String {
    format!("{}/../effgan-run/tests/tiny.toml", env!("CARGO_MANIFEST_DIR"))
}

/// The tiny run on another data set and iid, with these settings on top.
fn run(out: &Path, settings: &[&str]) -> Output {
    let tiny = tiny();
    let mut args = vec!["run", &tiny, "--out", out.to_str().unwrap(), "--jobs", "2"];
    let fewer = ["partition={kind=\"iid\", clients=2}", "local.epochs=1", "algorithm.fine_tune_epochs=1"];
    for setting in fewer.iter().chain(settings) {
        args.extend(["--set", setting]);
    }
    effgan(&args)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line of a failure, and its exit code.
fn failure(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "one line, not: {stderr}");
    (output.status.code(), stderr.trim_end().to_owned())
}

fn events(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_has_pictures(run: &Path) {
    for picture in ["real", "round_0001", "round_0002", "mean_of_members", "ensemble", "summary"] {
        assert!(run.join(format!("samples/{picture}.png")).is_file(), "{picture}");
    }
}

/// Checks a run whose images a network was trained on, and returns its floor.
fn assert_ran_with_own_scores(output: &Output, run: &Path, network: &str) -> Value {
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(output).contains(network) && stdout(output).contains("fd_own"), "{output:?}");
    let events = events(run);
    assert!(events.iter().any(|event| event["note"].as_str().is_some_and(|note| note.contains(network))));
    let scores: Vec<&Value> = events.iter().filter(|event| event["event"] == "score").collect();
    assert!(scores.iter().all(|score| score["fd_own"].is_number() && score["fd_small"].is_null()), "{scores:?}");
    // The network's hash stands beside each score, and in the report.
    let own = &scores[0]["own_network"];
    let sha256 = own["sha256"].as_str().unwrap();
    assert!(sha256.len() == 64 && stdout(output).contains(&sha256[..8]), "{own}");
    assert!(scores.iter().all(|score| score["own_network"] == *own), "{scores:?}");
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("fd_own") && report.contains(sha256));
    assert!(fs::read_to_string(run.join("metrics.csv")).unwrap().lines().next().unwrap().contains(",fd_own,class_kl,"));
    assert_has_pictures(run);
    (*scores.iter().find(|score| score["of"] == "floor").unwrap()).clone()
}

#[test]
fn a_tilde_that_no_shell_replaced_is_the_home_folder_wherever_images_are_named() {
    let home = TempDir::new().unwrap();
    mixed_folder::make(&home.path().join("pictures"));
    let at_home = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_effgan")).args(args).env("HOME", home.path()).output().unwrap()
    };
    let checked = at_home(&["data", "check", "~/pictures"]);
    assert!(stdout(&checked).starts_with(&home.path().join("pictures").display().to_string()), "{checked:?}");
    let missing = failure(&at_home(&["data", "check", "~/nowhere"])).1;
    assert!(missing.contains(&home.path().join("nowhere").display().to_string()), "{missing}");
    fs::create_dir(home.path().join("two")).unwrap();
    for i in 0..2 {
        image::GrayImage::new(4, 4).save(home.path().join(format!("two/{i}.png"))).unwrap();
    }
    let evaluated = failure(&at_home(&["evaluate", "~/two", "--reference", "~/two"])).1;
    assert!(evaluated.starts_with("effgan: images without a data set have no feature network"), "{evaluated}");
}

#[test]
fn three_broken_of_a_thousand_images_are_one_line_or_left_out() {
    let folder = TempDir::new().unwrap();
    let (pictures, out) = (folder.path().join("pictures"), folder.path().join("run"));
    mixed_folder::make(&pictures);
    let dir = format!("dataset.dir={}", pictures.display());
    let table = ["dataset.name=folder", &dir, "dataset.size=28", "dataset.channels=3"];
    let (code, line) = failure(&run(&out, &table));
    assert_eq!(code, Some(3));
    assert!(line.contains("3 of 1000 images of ") && line.contains("set dataset.skip_broken = true"), "{line}");
    assert!(mixed_folder::BROKEN.iter().all(|file| line.contains(file)), "{line}");
    assert!(!out.exists());

    let output = run(&out, &[&table[..], &["dataset.skip_broken=true", ALL_IMAGES]].concat());
    assert!(output.status.success(), "{output:?}");
    let said = stdout(&output);
    assert!(said.contains("left out 3 of 1000 images, which cannot be read: cats/0020.png (is empty)"), "{said}");
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("left out 3 of 1000 images"));
    let evaluated = stdout(&effgan(&["evaluate", out.to_str().unwrap()]));
    assert!(evaluated.contains("left out 3 of 1000 images"), "{evaluated}");
    // What is half transparent is red over white, so a grid in colours is not grey.
    let grid = image::open(out.join("samples/real.png")).unwrap().to_rgb8();
    assert!(grid.pixels().any(|pixel| pixel[0].abs_diff(pixel[1]) > 50));
}

#[test]
fn decoded_pictures_are_kept_between_runs_unless_the_config_says_no() {
    let folder = TempDir::new().unwrap();
    let (pictures, cache) = (folder.path().join("pictures"), folder.path().join("cache"));
    mixed_folder::make(&pictures);
    // Until the pictures are old enough to be trusted.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let start = |name: &str, more: &str| {
        let (out, dir) = (folder.path().join(name), format!("dataset.dir={}", pictures.display()));
        let (tiny, table) =
            (tiny(), ["dataset.name=folder", "dataset.size=16", "dataset.channels=1", "dataset.skip_broken=true"]);
        let few = ["partition={kind=\"iid\", clients=2}", "local.epochs=1", "algorithm.fine_tune_epochs=1", ALL_IMAGES];
        let mut args = vec!["run", &tiny, "--out", out.to_str().unwrap(), "--set", &dir, "--set", more];
        table.iter().chain(&few).for_each(|setting| args.extend(["--set", setting]));
        let mut program = Command::new(env!("CARGO_BIN_EXE_effgan"));
        let output =
            program.args(args).env("EFFGAN_DATA", &cache).env("XDG_CACHE_HOME", folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let info: Value = serde_json::from_slice(&fs::read(out.join("run.json")).unwrap()).unwrap();
        (info["model_hash"].as_str().unwrap().to_owned(), stdout(&output))
    };
    let line = format!(
        "decoded pictures are kept in {}/decoded for the next start; dataset.cache = false keeps none",
        cache.display()
    );
    let (without, said) = start("without", "dataset.cache=false");
    assert!(!cache.exists() && !said.contains("decoded"), "{said}");
    let (first, said) = start("first", "dataset.cache=true");
    assert!(said.lines().next() == Some(&line), "{said}");
    assert!(!fs::read_to_string(folder.path().join("first/config.toml")).unwrap().contains("cache"));
    assert!(!fs::read_to_string(folder.path().join("first/report.html")).unwrap().contains("decoded pictures"));
    let (second, said) = start("second", "seed=1");
    assert!(!said.contains("decoded"), "{said}");
    assert_eq!((&first, &second), (&without, &without));
    // A run goes on with another value, which changes no bit.
    let out = folder.path().join("second");
    let resumed =
        effgan(&["resume", out.to_str().unwrap(), "--set", "dataset.cache=false", "--set", "algorithm.rounds=3"]);
    assert!(resumed.status.success(), "{resumed:?}");
}

#[test]
fn a_folder_is_checked_before_a_config_is_written() {
    let folder = TempDir::new().unwrap();
    mixed_folder::make(folder.path());
    let output = effgan(&["data", "check", folder.path().to_str().unwrap()]);
    let said = stdout(&output);
    for line in [
        "images   997: 898 to train and 99 to test, every tenth of each class",
        "modes    397 grey, 200 16-bit grey, 200 colour, 200 colour with alpha",
        "    0  cats         300       33  ██████████████████████████████",
        "  dogs/0405.jpg   is truncated",
        "skip_broken = true         # 3 cannot be read",
    ] {
        assert!(said.lines().any(|said| said == line), "no line {line:?} in {said}");
    }
    let (code, line) = failure(&output);
    assert!(code == Some(3) && line.contains("3 of 1000 images of "), "{line}");
}

#[test]
fn pictures_in_classes_are_scored_by_a_network_of_their_own_that_is_trained_once() {
    let folder = TempDir::new().unwrap();
    let (pictures, out) = (folder.path().join("pictures"), folder.path().join("run"));
    // Stripes, along rows or along columns, of any width and shade.
    for (class, lying) in [("lying", true), ("upright", false)] {
        fs::create_dir_all(pictures.join(class)).unwrap();
        for i in 0..80 {
            let shade =
                |x: u32, y: u32| if (if lying { y } else { x } + i) / (1 + i % 3) % 2 == 0 { 40 } else { 100 + 2 * i };
            let picture = image::GrayImage::from_fn(12, 12, |x, y| image::Luma([shade(x, y) as u8]));
            picture.save(pictures.join(format!("{class}/{i:02}.png"))).unwrap();
        }
    }
    let dir = format!("dataset.dir={}", pictures.display());
    let table = ["dataset.name=folder", &dir, ALL_IMAGES];
    let output = run(&out, &table);
    let floor = assert_ran_with_own_scores(&output, &out, "a ResNet (trained on folder, test accuracy 100.0 %, ");
    assert_eq!((&floor["n"], &floor["modes"]), (&Value::from(16), &Value::from(2)));

    // An evaluation uses the network of the run, and has its numbers.
    let evaluated = effgan(&["evaluate", out.to_str().unwrap(), "--json"]);
    let scores: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    let ensemble = events(&out).into_iter().rfind(|event| event["of"] == "ensemble").unwrap();
    assert_eq!((&scores["n"], &scores["fd_own"]), (&ensemble["n"], &ensemble["fd_own"]));
    assert_eq!((&scores["floor"]["fd_own"], scores["kd_own"].is_number()), (&floor["fd_own"], true));
    assert!(stdout(&output).contains(scores["features"].as_str().unwrap()), "{scores}");
    assert_eq!((&scores["own_network"], &scores["own_network"]["test_accuracy"]), (&floor["own_network"], &1.0.into()));
    let sha256 = scores["own_network"]["sha256"].as_str().unwrap();
    let text = stdout(&effgan(&["evaluate", out.to_str().unwrap()]));
    assert!(text.contains(&format!("not an FID; network {}", &sha256[..8])), "{text}");

    // Images are scored only by a network that was trained on such images.
    let (code, line) = failure(&effgan(&["evaluate", out.to_str().unwrap(), "--features", "mnist"]));
    assert!(code == Some(2) && line.contains("those of folder have 1 × 12 × 12; leave it out"), "{line}");
}

#[test]
fn pictures_without_classes_are_scored_by_their_pixels() {
    let folder = TempDir::new().unwrap();
    let (pictures, out) = (folder.path().join("pictures"), folder.path().join("run"));
    fs::create_dir(&pictures).unwrap();
    for i in 0..150 {
        let picture =
            image::RgbImage::from_fn(28, 28, |x, y| image::Rgb([x, y, x * y / 3].map(|v| (v * (1 + i % 9) + i) as u8)));
        picture.save(pictures.join(format!("{i:03}.png"))).unwrap();
    }
    let dir = format!("dataset.dir={}", pictures.display());
    let output = run(&out, &["dataset.name=folder", &dir, "partition={kind=\"iid\", clients=2}", ALL_IMAGES]);
    assert!(output.status.success(), "{output:?}");
    let note = "scores are by a low-pass of 16 × 16 (no network: the images have no classes, which a feature network would learn)";
    let said = stdout(&output);
    assert!(said.contains(note), "{said}");
    assert!(said.lines().any(|line| line.starts_with("  real images (floor) ") && line.contains(" swd ")), "{said}");
    assert!(said.lines().any(|line| line.starts_with("  ensemble ") && line.contains(" coverage ")), "{said}");

    let events = events(&out);
    assert!(events.iter().any(|event| event["note"] == note));
    let score = |of: &str| events.iter().rfind(|event| event["of"] == of).unwrap();
    let (ensemble, floor) = (score("ensemble"), score("floor"));
    assert_eq!((&ensemble["n"], &floor["n"]), (&Value::from(15), &Value::from(15)));
    // An untrained generator is far from pictures.
    assert!(ensemble["swd"].as_f64() > floor["swd"].as_f64(), "{ensemble} {floor}");
    let sides: Vec<&Value> = floor["swd_levels"].as_array().unwrap().iter().map(|level| &level["width"]).collect();
    assert_eq!(sides, [28, 14]);
    let header = fs::read_to_string(out.join("metrics.csv")).unwrap().lines().next().unwrap().to_owned();
    assert!(header.contains(",n,swd,precision,recall,density,coverage,score_seconds"), "{header}");
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("sliced Wasserstein distance"));

    // An evaluation has the numbers of the run, and memorisation.
    let run = out.to_str().unwrap();
    let scores: Value = serde_json::from_slice(&effgan(&["evaluate", run, "--json"]).stdout).unwrap();
    for name in ["swd", "swd_levels", "precision", "recall", "density", "coverage"] {
        assert_eq!((&scores[name], &scores["floor"][name]), (&ensemble[name], &floor[name]), "{name}");
    }
    assert!(scores["memorisation"][0]["auc"].is_number() && scores["fd_own"].is_null(), "{scores}");
    let text = stdout(&effgan(&["evaluate", run]));
    assert!(text.contains("\n  at 28 × 28 ") && text.contains("\n  at 14 × 14 "), "{text}");
    assert!(!text.contains("covariance"), "{text}");
}

#[test]
fn arrays_are_trained_on() {
    let folder = TempDir::new().unwrap();
    let (file, out) = (folder.path().join("a.npy"), folder.path().join("run"));
    let header = format!("{:<118}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (80, 12, 12, 3), }");
    let pixels: Vec<u8> = (0..80 * 12 * 12 * 3).map(|i| (i % 251) as u8).collect();
    fs::write(&file, [b"\x93NUMPY\x01\0", &119_u16.to_le_bytes()[..], header.as_bytes(), &pixels].concat()).unwrap();
    let dir = format!("dataset.dir={}", file.display());
    let output = run(&out, &["dataset={name=\"npz\"}", &dir, "partition.kind=iid", ALL_IMAGES]);
    assert!(output.status.success(), "{output:?}");
    assert_has_pictures(&out);
    assert_eq!(image::open(out.join("samples/real.png")).unwrap().width(), 8 * 60 + 7 * 2);
}

#[test]
fn cifar10_is_read_from_its_files() {
    let folder = TempDir::new().unwrap();
    let (files, out) = (folder.path().join("cifar-10-batches-bin"), folder.path().join("run"));
    fs::create_dir(&files).unwrap();
    let record =
        |i: u8| [vec![i % 10], vec![20 * (i % 10); 1024], vec![9; 1024], vec![255 - 20 * (i % 10); 1024]].concat();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        fs::write(files.join(name).with_extension("bin"), (0..20).flat_map(record).collect::<Vec<u8>>()).unwrap();
    }
    let dir = format!("dataset.dir={}", folder.path().display());
    let output = run(&out, &["dataset={name=\"cifar10\"}", &dir, "dataset.size=28", ALL_IMAGES]);
    // Each class has a colour of its own, and test images are like training images.
    let floor = assert_ran_with_own_scores(&output, &out, "a ResNet (trained on cifar10, test accuracy 100.0 %, ");
    assert_eq!((&floor["n"], &floor["modes"]), (&Value::from(20), &Value::from(10)));
    assert!(floor["fd_own"].as_f64().unwrap() < 0.01, "{floor}");
    let said = stdout(&effgan(&["data", "check", folder.path().to_str().unwrap()]));
    assert!(said.contains("airplane") && said.contains("name = \"cifar10\""), "{said}");
}

#[test]
fn letters_are_read_from_emnists_files() {
    let folder = TempDir::new().unwrap();
    let (files, out) = (folder.path().join("gzip"), folder.path().join("run"));
    fs::create_dir(&files).unwrap();
    for (split, n) in [("train", 104), ("test", 26)] {
        let file = |part: &str| files.join(format!("emnist-letters-{split}-{part}-ubyte.gz"));
        let sizes = |sizes: &[u32]| sizes.iter().flat_map(|size| size.to_be_bytes()).collect::<Vec<u8>>();
        // The four columns at the left of each picture are white, which EMNIST stores as rows.
        let images = [vec![255; 28 * 4], vec![0; 28 * 24]].concat().repeat(n as usize);
        fs::write(file("images-idx3"), [sizes(&[0x803, n, 28, 28]), images].concat()).unwrap();
        let labels = (0..n).map(|i| (i % 26) as u8 + 1).collect();
        fs::write(file("labels-idx1"), [sizes(&[0x801, n]), labels].concat()).unwrap();
    }
    let said = stdout(&effgan(&["data", "check", folder.path().to_str().unwrap()]));
    for line in ["images   130: 104 to train and 26 to test", "pixels   28 × 28", "name = \"idx\""] {
        assert!(said.lines().any(|said| said == line), "no line {line:?} in {said}");
    }
    assert!(
        said.contains(": a data set in IDX files") && said.contains("note     images are turned upright"),
        "{said}"
    );

    let dir = format!("dataset.dir={}", files.join("emnist-letters").display());
    let output = run(&out, &["dataset={name=\"idx\"}", &dir, ALL_IMAGES]);
    assert!(output.status.success(), "{output:?}");
    // Each class has four training images, of which none is left for a floor.
    let reason = "0 training images are left to compare with when a feature network is trained on four in five of each class; \
         2 are needed";
    let note = format!("scores are by a low-pass of 16 × 16 (no network: {reason})");
    assert!(stdout(&output).contains(&note), "{output:?}");
    let grid = image::open(out.join("samples/real.png")).unwrap().to_luma8();
    assert!(grid.get_pixel(1, 20)[0] > 200 && grid.get_pixel(20, 1)[0] < 50);

    let (code, line) =
        failure(&run(&folder.path().join("other"), &["dataset={name=\"mnist\"}", &dir.replace("/emnist-letters", "")]));
    assert!(code == Some(3) && line.contains("set dataset.name = \"idx\""), "{line}");
}

#[test]
fn digits_in_colours_are_scored_in_grey_and_say_so() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let output = run(&out, &["dataset.channels=3"]);
    assert!(output.status.success(), "{output:?}");
    let line = "real and generated images are converted from 3 × 28 × 28 to 1 × 28 × 28 before they are scored";
    assert!(stdout(&output).starts_with(line), "{output:?}");
    let floor = events(&out).into_iter().find(|event| event["of"] == "floor").unwrap();
    // Three equal channels have the luma of each, so this is the golden run's floor of the same 200 digits, in its
    // tolerance.
    let fd = floor["fd_small"].as_f64().unwrap();
    assert!((fd / 68.73 - 1.0).abs() < 0.005, "{fd}");
}

#[test]
fn a_partition_that_is_saved_or_written_by_a_run_is_assigned_again() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let (saved, out, again) = (path("p.json"), path("run"), path("again.json"));
    let skewed = "partition={kind=\"label-quantity\", clients=3, alpha=0.5, sigma=0.5}";
    let show = |partition: &str, file: &Path| {
        effgan(&["partition", &tiny(), "--set", partition, "--save", file.to_str().unwrap()])
    };
    assert!(show(skewed, &saved).status.success());
    assert!(run(&out, &[skewed]).status.success());
    assert_eq!(fs::read(&saved).unwrap(), fs::read(out.join("partition.json")).unwrap());
    let from_run = format!("partition={{kind=\"file\", path={:?}}}", out.join("partition.json"));
    assert!(show(&from_run, &again).status.success());
    assert_eq!(fs::read(&saved).unwrap(), fs::read(&again).unwrap());

    let (code, line) = failure(&show(skewed, &saved));
    assert!(code == Some(2) && line.contains("nothing is overwritten"), "{line}");
    let few = ["partition", &tiny(), "--set", "dataset.limit=100", "--set", &from_run].map(String::from);
    let (code, line) = failure(&effgan(&few.each_ref().map(String::as_str)));
    assert!(code == Some(2) && line.contains("but the images are 0..100"), "{line}");
}

#[test]
fn a_download_that_fails_says_why_of_each_mirror() {
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("mnist");
    let (missing, wrong) =
        (Server::start(Vec::new(), Manner::NotFound), Server::start(vec![7; 9_912_422], Manner::Well));
    let mirrors = [missing.url(), wrong.url()];
    let args =
        ["data", "fetch", "mnist", "--to", to.to_str().unwrap(), "--mirror", &mirrors[0], "--mirror", &mirrors[1]];
    let (code, line) = failure(&effgan(&args));
    assert_eq!(code, Some(3));
    for part in [
        format!("{}train-images-idx3-ubyte.gz answers with status 404; ", mirrors[0]),
        format!("{}train-images-idx3-ubyte.gz has a file of sha256 ", mirrors[1]),
        "expected 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609".into(),
    ] {
        assert!(line.contains(&part), "{line}");
    }
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    let (code, line) = failure(&effgan(&["data", "fetch", "npz"]));
    assert!(code == Some(2) && line.contains("choose one of mnist, fashion-mnist, cifar10"), "{line}");
    let (code, line) = failure(&effgan(&["data", "fetch", "emnist"]));
    let fetched = "data set emnist cannot be fetched; choose one of mnist, fashion-mnist, cifar10, inception";
    assert!(code == Some(2) && line.contains(fetched), "{line}");
}

#[test]
fn a_data_set_in_the_cache_needs_no_dir() {
    let cache = TempDir::new().unwrap();
    let dir = cache.path().join("cifar10");
    fs::create_dir(&dir).unwrap();
    let with_cache = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_effgan")).args(args).env("EFFGAN_DATA", cache.path()).output().unwrap()
    };
    let config = ["partition", &tiny(), "--set", "dataset={name=\"cifar10\"}"].map(String::from);
    let config = config.each_ref().map(String::as_str);
    let (code, line) = failure(&with_cache(&config));
    assert!(code == Some(2) && line.contains("or run `effgan data fetch cifar10`"), "{line}");
    let record = |i: u8| [vec![i % 10], vec![i; 3072]].concat();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        fs::write(dir.join(name).with_extension("bin"), (0..20).flat_map(record).collect::<Vec<u8>>()).unwrap();
    }
    let said = stdout(&with_cache(&["data", "list"]));
    assert!(said.lines().any(|line| line.starts_with("cifar10") && line.ends_with(dir.to_str().unwrap())), "{said}");
    let by_label = [&config[..], &["--set", "partition={kind=\"by-label\", classes_per_client=5, clients=2}"]].concat();
    assert!(with_cache(&by_label).status.success());
    assert!(stdout(&with_cache(&["data", "fetch", "cifar10"])).contains("already here"));
}

#[test]
fn the_help_of_fetch_names_everything_that_can_be_fetched() {
    // data set npz cannot be fetched; choose one of a, b
    let (_, line) = failure(&effgan(&["data", "fetch", "npz"]));
    let (_, names) = line.split_once("choose one of ").unwrap();
    let help = stdout(&effgan(&["data", "fetch", "--help"]));
    for name in names.split(", ") {
        assert!(help.contains(name), "the help of `effgan data fetch` lacks {name}: {help}");
    }
}

#[test]
fn weights_of_inception_are_listed_where_they_lie_or_come_from() {
    let cache = TempDir::new().unwrap();
    let list = || {
        let args = ["data", "list"];
        let said = Command::new(env!("CARGO_BIN_EXE_effgan")).args(args).env("EFFGAN_DATA", cache.path()).output();
        stdout(&said.unwrap())
    };
    let line = "weights of Inception-2015, for FID: `effgan data fetch inception`: 95.6 MB from github.com";
    assert!(list().lines().any(|said| said == line), "{}", list());
    fs::create_dir(cache.path().join("inception")).unwrap();
    let file = cache.path().join("inception/pt_inception-2015-12-05-6726825d.pth");
    fs::write(&file, b"").unwrap();
    let line = format!("weights of Inception-2015, for FID: {}", file.display());
    assert!(list().lines().any(|said| said == line), "{}", list());
}
