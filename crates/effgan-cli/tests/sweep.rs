//! Sweeps: what their cells share, and how they are resumed.

mod program;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use program::{effgan, failure, json, outcome, run_tiny, stdout, tiny_config};
use serde_json::Value;

/// A sweep over the tiny config in a folder of its own.
struct Swept {
    _folder: tempfile::TempDir,
    file: PathBuf,
    out: PathBuf,
}

impl Swept {
    fn new(grids: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, out) = (folder.path().join("a.sweep.toml"), folder.path().join("out"));
        let base = tiny_config();
        fs::write(&file, format!("name = \"a\"\nconfig = {base:?}\nseeds = [1]\n{grids}")).unwrap();
        Self { _folder: folder, file, out }
    }

    fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["sweep", self.file.to_str().unwrap(), "--out", self.out.to_str().unwrap()][..], more].concat()
    }

    fn run(&self, more: &[&str]) -> String {
        let output = effgan(&self.args(more));
        assert!(output.status.success(), "{output:?}");
        stdout(&output)
    }

    fn cell(&self, name: &str) -> PathBuf {
        self.out.join("cells").join(name)
    }

    fn rows(&self) -> Vec<Value> {
        json(&self.out.join("table.json")).as_array().unwrap().clone()
    }
}

const SHARED: &str = r#"
[[grids]]
[[grids.axes]]
"algorithm.rounds" = [2, 1, 2]
"algorithm.fine_tune_epochs" = [4, 4, 1]
"partition.held_out" = [0.2, 0.2, 0.2]
[[grids]]
label = "average"
set = { algorithm = { kind = "fedgan", rounds = 2 } }
[[grids]]
label = "average of three"
set = { algorithm = { kind = "fedgan", rounds = 3 } }
"#;

#[test]
fn cells_that_share_rounds_have_the_bits_of_runs_of_their_own() {
    // Two cells of the first grid would have one name: their first key has one value twice.
    let clash = Swept::new(SHARED);
    assert!(failure(&effgan(&clash.args(&[]))).1.contains("two cells are called effgan-rounds-2-seed-1"));
    let swept = Swept::new(
        &SHARED
            .replace("\"algorithm.rounds\" = [2, 1, 2]\n", "")
            .replace(
                "\"partition.held_out\" = [0.2, 0.2, 0.2]",
                "\"algorithm.rounds\" = [2, 1, 2]\n[[grids.axes]]\n\"partition.held_out\" = [0.2]",
            )
            .replace("[4, 4, 1]", "[4, 3, 1]"),
    );
    let said = swept.run(&[]);
    assert!(said.starts_with("5 cells, 4 of them to run, "), "{said}");
    let lone = tempfile::tempdir().unwrap();
    let alone = |name: &str, algorithm: &str| {
        let run = lone.path().join(name);
        assert!(run_tiny(&run, &["--set", algorithm]).status.success());
        run
    };
    for (rounds, epochs) in [(2, 4), (1, 3), (2, 1)] {
        let name = format!("effgan-fine_tune_epochs-{epochs}-held_out-0.2-seed-1");
        let algorithm = format!("algorithm={{ kind = \"effgan\", rounds = {rounds}, fine_tune_epochs = {epochs} }}");
        assert_eq!(outcome(&swept.cell(&name)), outcome(&alone(&name, &algorithm)), "{name}");
    }
    // The cell started from another one's rounds.
    let resumed = |name: &str| json(&swept.cell(name).join("run.json"))["resumed"].as_u64().unwrap_or_default();
    assert_eq!(resumed("effgan-fine_tune_epochs-1-held_out-0.2-seed-1"), 1);
    let average = alone("average", "algorithm={ kind = \"fedgan\", rounds = 2 }");
    assert_eq!(outcome(&swept.cell("average-seed-1")), outcome(&average));

    // Fine-tuning of 4 epochs is a round's work: its average is fedgan's third round, which is never run.
    let three = alone("three", "algorithm={ kind = \"fedgan\", rounds = 3 }");
    assert!(!swept.cell("average_of_three-seed-1").exists());
    let rows = swept.rows();
    let of = |rows: &[Value], statistics: &str| {
        let found =
            rows.iter().find(|row| row["cell"] == "average_of_three-seed-1" && row["norm_statistics"] == statistics);
        found.unwrap().clone()
    };
    let csv = fs::read_to_string(three.join("metrics.csv")).unwrap();
    let megabytes = csv.lines().last().unwrap().split(',').nth(8).unwrap().parse::<f64>().unwrap() / 1e6;
    for event in program::metrics(&three).iter().filter(|event| event["event"] == "score" && event["round"] == 3) {
        let ours = of(&rows, event["norm_statistics"].as_str().unwrap());
        assert_eq!((&ours["fd_small"], &ours["class_kl"]), (&event["fd_small"], &event["class_kl"]));
        assert_eq!(ours["megabytes"].as_f64(), Some(megabytes));
        assert_eq!(ours["from"], "mean of the members of effgan-fine_tune_epochs-4-held_out-0.2-seed-1");
    }
}

const SIMPLE: &str = r#"
[[grids]]
[[grids.axes]]
"local.epochs" = [1, 2]
[[grids]]
label = "alone"
set = { algorithm = { kind = "local-ensemble", rounds = 1 } }
"#;

#[test]
fn a_sweep_resumes_where_it_was_stopped_and_runs_nothing_twice() {
    let (swept, whole) = (Swept::new(SIMPLE), Swept::new(SIMPLE));
    let mut child = Command::new(env!("CARGO_BIN_EXE_effgan"))
        .args(swept.args(&["--jobs", "1"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    // A cell is done, and the next one at work.
    let done = lines.by_ref().map(Result::unwrap).find(|line| line.contains(" left, about ")).unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let line = format!("interrupted; the same command continues {}", swept.out.display());
    assert_eq!(failure(&output), (Some(130), line));
    let done = swept.cell(done.split_whitespace().next().unwrap()).join("run.json");
    let before = fs::metadata(&done).unwrap().modified().unwrap();
    swept.run(&["--jobs", "2"]);
    assert_eq!(fs::metadata(&done).unwrap().modified().unwrap(), before);
    whole.run(&[]);
    for file in ["table.json", "table.csv", "table.md", "fd_small-by-epochs.svg", "fd_small-by-megabytes.svg"] {
        let [ours, theirs] = [&swept, &whole].map(|swept| fs::read_to_string(swept.out.join(file)).unwrap());
        assert_eq!(ours, theirs, "{file}");
    }
    assert!(swept.run(&[]).starts_with("3 cells, 0 of them to run"));
}

#[test]
fn the_table_is_that_of_the_runs() {
    let swept = Swept::new(SIMPLE);
    let said = swept.run(&["--set", "evaluation.samples=150"]);
    assert!(said.contains("| effgan | 1 | "), "{said}");
    assert!(said.contains("| real images (floor) |"), "{said}");
    let main: Vec<Value> = swept.rows().into_iter().filter(|row| row["main"] == true).collect();
    assert_eq!(main.len(), 3);
    for row in &main {
        let run = swept.cell(row["cell"].as_str().unwrap());
        let score = program::metrics(&run).into_iter().rfind(|event| event["event"] == "score").unwrap();
        assert_eq!((&row["fd_small"], &row["n"]), (&score["fd_small"], &Value::from(150)));
        assert_eq!(row["model_hash"], json(&run.join("run.json"))["model_hash"]);
    }
    // The grid that does not vary the key is a flat line over the axes' whole width, which begins at x = 44.
    let figure = fs::read_to_string(swept.out.join("fd_small-by-epochs.svg")).unwrap();
    let lines: Vec<&str> = figure.lines().filter(|line| line.starts_with("<path class=\"line s")).collect();
    assert_eq!(lines.len(), 2, "{figure}");
    let heights = |line: &str| -> Vec<String> {
        let path = line.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        path.split(['M', 'L']).filter_map(|point| point.split(' ').nth(1)).map(str::to_owned).collect()
    };
    let (varied, flat) = (heights(lines[0]), heights(lines[1]));
    assert!(varied.len() == 2 && varied[0] != varied[1] && flat.len() == 2 && flat[0] == flat[1], "{lines:?}");
    let json = effgan(&swept.args(&["--json", "--set", "evaluation.samples=150"]));
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap(), Value::from(swept.rows()));
}

#[test]
fn a_facet_has_a_figure_for_each_of_its_values() {
    let axes = "\"local.epochs\" = [1, 2]\n[[grids.axes]]\n\"algorithm.fine_tune_epochs\" = [1, 3]";
    let swept = Swept::new(&format!("facet = \"algorithm.fine_tune_epochs\"\n[[grids]]\n[[grids.axes]]\n{axes}\n"));
    swept.run(&[]);
    for value in ["1", "3"] {
        let name = format!("fd_small-by-epochs-fine_tune_epochs-{value}.svg");
        let figure = fs::read_to_string(swept.out.join(&name)).unwrap();
        assert!(figure.contains(&format!("local.epochs, algorithm.fine_tune_epochs = {value}<")), "{name}");
        assert_eq!(figure.matches("<path class=\"line s").count(), 1, "{name}");
    }
    assert!(!swept.out.join("fd_small-by-epochs.svg").exists());
}

#[test]
fn a_cell_that_fails_stops_no_other_and_is_told_at_the_end() {
    // A learning rate that no network survives.
    let swept = Swept::new("[[grids]]\n[[grids.axes]]\n\"local.learning_rate\" = [1e30, 2e-3]\n");
    let output = effgan(&swept.args(&["--set", "local.epochs=1"]));
    assert_eq!(output.status.code(), Some(4));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("effgan: 1 of 2 cells failed, first effgan-learning_rate-1000"), "{stderr}");
    assert_eq!(swept.rows().iter().filter(|row| row["main"] == true).count(), 1);
}

#[test]
fn what_is_wrong_with_a_sweep_is_said_before_any_work() {
    let said = |grids: &str, more: &[&str]| {
        let swept = Swept::new(grids);
        let (code, line) = failure(&effgan(&swept.args(more)));
        assert!(code == Some(2) && !swept.out.exists(), "{line}");
        line
    };
    let axis = |keys: &str| said(&format!("[[grids]]\n[[grids.axes]]\n{keys}\n"), &[]);
    assert!(axis("\"local.epochs\" = 3").ends_with("axis local.epochs = 3, expected a list of values"));
    assert!(
        axis("\"local.epochs\" = [1, 2]\n\"algorithm.rounds\" = [1]")
            .ends_with("axis local.epochs has 2 values and algorithm.rounds has 1; keys of one axis vary together")
    );
    assert!(axis("\"partition.clients\" = [3, 121]").contains("partition.clients = 121 is more than the 120 images"));
    assert!(axis("\"network.kind\" = [\"dcgan\", \"resnet\"]").contains("images of 1 x 28 x 28 do not fit a resnet"));
    assert!(
        said(&format!("evaluate = 2001\n{SIMPLE}"), &[])
            .ends_with("evaluate = 2001 must be at most 2000, the images of mnist-mini; lower it")
    );
    for (key, values, said) in [
        (
            "evaluation.samples",
            "[200, 2001]",
            "effgan-samples-2001-seed-1: evaluation.samples = 2001 must be from 2 to 2000",
        ),
        (
            "evaluation.samples",
            "[200, 20]",
            "effgan-samples-20-seed-1: evaluation.samples = 20: there is no image of class",
        ),
        ("dataset.limit", "[120, 10001]", "effgan-limit-10001-seed-1: dataset.limit = 10001 must be from 1 to 10000"),
        ("partition.min_examples", "[8, 35]", "effgan-min_examples-35-seed-1: client-0001 gets 29 images"),
    ] {
        let line = axis(&format!("{key:?} = {values}"));
        assert!(line.contains(&format!("a.sweep.toml: {said}")), "{line}");
    }
    assert!(axis("\"local.epoch\" = [3]").contains("local.epoch=3, seed=1: "));
    assert!(said("[[grids]]\nseed = [1]\n", &[]).contains("unknown key `seed`"));
    assert!(said("[[grids]]\nseeds = []\n", &[]).ends_with("expected a list such as [1, 2, 3]"));
    assert!(said(SIMPLE, &["--set", "local.epoch=3"]).contains("[local] unknown key `epoch`"));
    let nowhere = ["--set", "dataset={ name = \"mnist\", dir = \"/nowhere\" }"];
    let swept = Swept::new(SIMPLE);
    let (code, line) = failure(&effgan(&swept.args(&nowhere)));
    assert!(code == Some(3) && line.contains("/nowhere") && !swept.out.exists(), "{code:?}: {line}");
    assert!(said(&format!("facet = \"seed\"\n{SIMPLE}"), &[]).ends_with("facet = \"seed\" is not a key of any axis"));
}

/// Settings of a data set of 140 grey pictures without classes, of `side` pixels per side, which are made in `folder`.
fn without_classes(folder: &Path, side: u32) -> [String; 2] {
    for i in 0..140_u8 {
        image::GrayImage::from_pixel(side, side, image::Luma([i])).save(folder.join(format!("{i:03}.png"))).unwrap();
    }
    let dataset = format!("dataset={{ name = \"folder\", dir = {:?}, limit = 120 }}", folder.to_str().unwrap());
    [dataset, "partition={ kind = \"iid\", clients = 2 }".to_owned()]
}

#[test]
fn cells_of_images_that_cannot_be_scored_are_refused_before_they_are_trained() {
    // A sweep would compare nothing.
    let folder = tempfile::tempdir().unwrap();
    let [dataset, partition] = without_classes(folder.path(), 6);
    let swept = Swept::new(SIMPLE);
    let (_, line) = failure(&effgan(&swept.args(&["--set", &dataset, "--set", &partition])));
    assert!(line.contains("no feature network fits the images of folder: the images have no classes"), "{line}");
    assert!(line.ends_with("and images of 6 × 6 pixels are too small for swd, which takes patches of 7 × 7"), "{line}");
    assert!(!swept.out.exists());
}

#[test]
fn a_sweep_of_images_without_classes_has_the_scores_of_their_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let [dataset, partition] = without_classes(folder.path(), 28);
    let swept = Swept::new(SIMPLE);
    swept.run(&["--set", &dataset, "--set", &partition, "--set", "evaluation={ every = 1 }"]);
    let read = |name: &str| fs::read_to_string(swept.out.join(name)).unwrap();
    let table = read("table.md");
    assert!(table.contains("| swd | precision | recall | density | coverage | MB sent |"), "{table}");
    let header = read("table.csv").lines().next().unwrap().to_owned();
    assert!(header.contains("floor_swd") && header.contains(",swd") && header.contains("coverage"), "{header}");
}

#[test]
fn cells_of_other_images_share_no_work() {
    // Both folders have images of one shape, so that a state of one run would fit the other.
    let [one, other] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let ([_, partition], _) = (without_classes(one.path(), 28), without_classes(other.path(), 28));
    for entry in fs::read_dir(other.path()).unwrap() {
        let file = entry.unwrap().path();
        image::GrayImage::from_fn(28, 28, |x, y| image::Luma([(x * 9 + y) as u8])).save(file).unwrap();
    }
    let dirs = [&one, &other].map(|dir| dir.path().to_str().unwrap());
    let grid = |algorithm: &str, dir: &str| {
        let dataset = format!("dataset = {{ name = \"folder\", dir = {dir:?}, limit = 120 }}");
        format!("[[grids]]\nset = {{ algorithm = {{ {algorithm} }}, {dataset} }}\n")
    };
    let effgan = grid("kind = \"effgan\", rounds = 1, fine_tune_epochs = 4", dirs[0]);
    let fedgan = grid("kind = \"fedgan\", rounds = 2", dirs[1]);
    let swept = Swept::new(&format!("{effgan}[[grids.axes]]\n\"dataset.dir\" = {dirs:?}\n{fedgan}"));
    let said = swept.run(&["--set", &partition, "--set", "evaluation={ every = 1 }"]);
    // The average of the second folder is that of the second cell, whose images are the same.
    assert!(said.starts_with("3 cells, 2 of them to run, "), "{said}");
    let rows = swept.rows();
    let hash = |i: usize| rows.iter().filter_map(|row| row["model_hash"].as_str()).nth(i).unwrap().to_owned();
    let hashes: std::collections::BTreeSet<String> =
        rows.iter().filter_map(|row| row["model_hash"].as_str().map(str::to_owned)).collect();
    assert_eq!((hashes.len(), hash(0).len()), (2, 64), "{rows:?}");
    let from = rows.iter().find_map(|row| row["from"].as_str()).unwrap();
    let cell = rows.iter().rfind(|row| row["model_hash"].is_string()).unwrap();
    assert_eq!(from, format!("mean of the members of {}", cell["cell"].as_str().unwrap()));
}

#[test]
fn a_cell_of_other_settings_is_refused_and_left_as_it_is() {
    let swept = Swept::new(SIMPLE);
    swept.run(&[]);
    let config = |path: &Path| fs::read(path.join("config.toml")).unwrap();
    let cell = swept.cell("alone-seed-1");
    let before = config(&cell);
    let (code, line) = failure(&effgan(&swept.args(&["--set", "local.batch_size=8"])));
    assert_eq!(code, Some(2));
    assert!(line.ends_with("was run with other settings; remove it, or choose another --out"), "{line}");
    assert_eq!(config(&cell), before);
}
