//! What a run folder holds for others: the page as a browser shows it, TensorBoard's events, tables and the animation.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Sizes and schemes that the page is opened in.
const VIEWS: [(&str, u32); 4] = [("light", 360), ("dark", 360), ("light", 1280), ("dark", 1280)];

/// Tells the window around it what a view looks like. `control.html` shows that each of these can be found wanting.
const PROBE: &str = r##"<script>
// The slider steps, the button plays and pauses.
const animate = async () => {
  const [picture, name, button, slider] = ["img", "figcaption", "button", "input"].map(
    (tag) => document.querySelector("#player:not([hidden]) " + tag));
  if (!slider) return {};
  const later = () => new Promise((done) => setTimeout(done, 1000));
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  const stepped = [name.textContent, button.textContent];
  button.click();
  await later();
  const played = [name.textContent, button.textContent];
  button.click();
  await later();
  return { stepped, played, paused: button.textContent, drawn: picture.naturalWidth };
};
addEventListener("load", () => animate().then((animation) => {
  const empty = (box) => box.width === 0 || box.height === 0;
  const charts = () => [...document.querySelectorAll("svg[role=img]")].filter((svg) => getComputedStyle(svg).display !== "none");
  for (const details of document.querySelectorAll("details")) details.open = true;
  parent.postMessage({
    view: location.search || location.pathname,
    width: innerWidth,
    title: document.title,
    overflow: document.documentElement.scrollWidth - innerWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    paper: getComputedStyle(document.body).backgroundColor,
    images: document.images.length,
    broken: [...document.images].filter((image) => !image.complete || image.naturalWidth === 0).length,
    charts: charts().length,
    empty: charts().filter((svg) => empty(svg.getBBox()) || empty(svg.getBoundingClientRect())).length,
    resources: performance.getEntriesByType("resource").map((entry) => entry.name),
    ...animation,
  }, "*");
}));
</script></body>"##;

/// Collects the messages of the views around it.
const COLLECTOR: &str = r#"<!DOCTYPE html><pre id="said"></pre>
<script>addEventListener("message", (message) => {
  document.getElementById("said").textContent += JSON.stringify(message.data) + "\n";
});</script>"#;

/// A page that breaks each rule that the report is checked for.
const CONTROL: &str = r#"<!DOCTYPE html><body>
<div style="width: 2000px">wide</div><svg role="img" width="20" height="20"></svg>
<img src="http://127.0.0.1:9/outside.png"><script>nowhere()</script></body>"#;

fn effgan(args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_effgan")).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A tiny run of the test's own.
fn tiny() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("tiny");
    let config = format!("{}/../effgan-run/tests/tiny.toml", env!("CARGO_MANIFEST_DIR"));
    effgan(&["run", &config, "--out", run.to_str().unwrap()]);
    (folder, run)
}

fn events(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Adds what a federation of machines would have recorded: drift, and a client that is missing in the second round.
fn with_drift_and_missing(run: &Path) {
    let mut events = events(run);
    for event in events.iter_mut().filter(|event| event["event"] == "round") {
        for (i, client) in event["clients"].as_array_mut().unwrap().iter_mut().enumerate() {
            client["drift"] = serde_json::json!({ "norm": 2.5, "cosine": 0.5 - i as f64 });
        }
        if event["round"] == 2 {
            event["clients"].as_array_mut().unwrap().pop();
            event["missing"] = serde_json::json!([{ "name": "client-0002", "reason": "late by 3.2 s" }]);
        }
    }
    let lines: String = events.iter().map(|event| event.to_string() + "\n").collect();
    fs::write(run.join("metrics.jsonl"), lines).unwrap();
    effgan(&["report", run.to_str().unwrap()]);
}

fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    folders.iter().flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file())
}

/// What each view says, and the lines of the console.
fn seen(chromium: &Path, folder: &Path, report: &str) -> (Vec<Value>, Vec<String>) {
    // The page allows one script, its own, by its hash: the probe is allowed beside it.
    let (_, script) = PROBE.split_once("<script>").unwrap();
    let (script, _) = script.split_once("</script>").unwrap();
    let source = format!("script-src 'sha256-{}' ", STANDARD.encode(Sha256::digest(script)));
    let probed = |html: &str| html.replace("</body>", PROBE).replacen("script-src ", &source, 1);
    let foreign = "<script>document.title = 'foreign'</script></body>";
    fs::write(folder.join("report.html"), probed(report)).unwrap();
    fs::write(folder.join("foreign.html"), probed(&report.replace("</body>", foreign))).unwrap();
    fs::write(folder.join("control.html"), probed(&CONTROL.replace("</body>", foreign))).unwrap();
    let frame = |scheme: &str, width: u32, page: &str| {
        format!("<iframe src=\"{page}\" width=\"{width}\" height=\"900\" style=\"color-scheme: {scheme}\"></iframe>\n")
    };
    let views = VIEWS.map(|(scheme, width)| frame(scheme, width, &format!("report.html?{scheme}-{width}")));
    let others = ["control.html", "foreign.html"].map(|page| frame("light", 360, page));
    let window = [COLLECTOR, &views.concat(), &others.concat()].concat();
    fs::write(folder.join("window.html"), window).unwrap();
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(["--dump-dom", &format!("file://{}", folder.join("window.html").display())])
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    let said = dom.lines().filter_map(|line| line.find('{').and_then(|at| serde_json::from_str(&line[at..]).ok()));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (said.collect(), log.lines().filter(|line| line.contains("CONSOLE")).map(String::from).collect())
}

#[test]
fn the_report_is_whole_in_a_browser_at_360_and_1280_pixels_in_light_and_dark() {
    let Some(chromium) = chromium() else {
        // Written to standard error itself, so that the line shows although the test passes.
        #[expect(clippy::disallowed_methods, reason = "eprintln! is captured in tests")]
        let mut standard_error = std::io::stderr();
        let line = "skipped: no chromium, chromium-browser or google-chrome on the PATH to open the report in";
        writeln!(standard_error, "{line}").unwrap();
        return;
    };
    let (folder, run) = tiny();
    with_drift_and_missing(&run);
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    let (said, console) = seen(&chromium, folder.path(), &report);

    let view = |name: &str| said.iter().find(|said| said["view"].as_str().unwrap().ends_with(name)).cloned();
    for (scheme, width) in VIEWS {
        let view = view(&format!("?{scheme}-{width}")).unwrap_or_else(|| panic!("no {scheme} {width} in {said:?}"));
        assert_eq!((&view["width"], &view["dark"]), (&width.into(), &(scheme == "dark").into()), "{view}");
        assert_eq!(view["paper"], if scheme == "dark" { "rgb(21, 24, 28)" } else { "rgb(255, 255, 255)" });
        assert!(view["overflow"].as_i64().unwrap() <= 0, "{view}");
        // Two rounds, three members, four side by side, and the animation's own.
        assert_eq!((&view["images"], &view["broken"]), (&10.into(), &0.into()), "{view}");
        // Two of scores, two of losses, two of drift, who took part, and bytes.
        assert_eq!((&view["charts"], &view["empty"]), (&8.into(), &0.into()), "{view}");
        assert_eq!(view["resources"], serde_json::json!([]), "{view}");
        for (what, round, button) in [("stepped", "round 1", "Play"), ("played", "round 2", "Pause")] {
            assert!(view[what][0].as_str().unwrap().starts_with(round) && view[what][1] == button, "{view}");
        }
        assert!(view["paused"] == "Play" && view["drawn"].as_u64().unwrap() > 0, "{view}");
    }
    assert_eq!(console.iter().filter(|line| line.contains("report.html")).collect::<Vec<_>>(), [""; 0]);

    // A script that was injected into the page does nothing, and the browser says so.
    assert!(view("foreign.html").unwrap()["title"] != "foreign");
    assert!(console.iter().any(|line| line.contains("foreign.html") && line.contains("Content Security Policy")));

    let control = view("control.html").unwrap();
    assert_eq!(control["title"], "foreign");
    assert!(control["overflow"].as_i64().unwrap() > 0, "{control}");
    assert_eq!([&control["broken"], &control["empty"]], [&Value::from(1); 2], "{control}");
    assert_eq!(control["resources"], serde_json::json!(["http://127.0.0.1:9/outside.png"]));
    assert!(console.iter().any(|line| line.contains("control.html")), "{console:?}");
}

/// What the reader of `fixtures/read_events.py`, in Python's standard library alone, finds in a file.
fn read_events(file: &Path) -> Result<Vec<Value>, String> {
    let reader = format!("{}/tests/fixtures/read_events.py", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3").arg(reader).arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let read = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if output.status.success() { Ok(read) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn another_reader_finds_the_metrics_and_grids_of_a_run_in_its_tensorboard_events() {
    let (_folder, run) = tiny();
    let names = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path());
    let file = names.into_iter().find(|path| path.to_str().unwrap().contains("/events.out.tfevents.")).unwrap();
    let read = read_events(&file).unwrap();
    let value = |tag: &str, step: &Value| {
        let found = read.iter().find(|value| value["tag"] == tag && value["step"] == *step);
        found.unwrap_or_else(|| panic!("no {tag} of {step} in {read:?}"))["value"].as_f64().unwrap()
    };
    // 1e-6: the file holds f32.
    let near = |a: f64, b: &Value| assert!((a - b.as_f64().unwrap()).abs() <= 1e-6 * a.abs(), "{a} is not {b}");
    let mut scores = 0;
    for event in events(&run) {
        if event["event"] == "round" {
            near(value("bytes/up", &event["round"]), &event["bytes_up"]);
            near(value("clients/answered", &event["round"]), &3.into());
        }
        if event["event"] == "score" {
            let how = match event["norm_statistics"].as_str() {
                Some("recompute") => "/recomputed",
                Some(_) => "/averaged",
                None => "",
            };
            near(
                value(&format!("fd_small/{}{how}", event["of"].as_str().unwrap()), &event["round"]),
                &event["fd_small"],
            );
            scores += 1;
        }
    }
    assert_eq!(scores, 8);
    let grids: Vec<&Value> = read.iter().filter(|value| value["tag"] == "samples/round").collect();
    for (grid, round) in grids.iter().zip(1..) {
        let png = fs::read(run.join(format!("samples/round_{round:04}.png"))).unwrap();
        assert_eq!(grid["sha256"], effgan_nn::params::sha256(&png));
        assert_eq!((&grid["step"], &grid["width"]), (&round.into(), &(8 * 57 - 1).into()));
    }
    assert_eq!(grids.len(), 2);

    let mut damaged = fs::read(&file).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&file, damaged).unwrap();
    assert!(read_events(&file).unwrap_err().contains("has another checksum"));
}

#[test]
fn the_tables_hold_every_score_and_every_reply_and_the_animation_every_round() {
    let (_folder, run) = tiny();
    with_drift_and_missing(&run);
    let table = |name: &str| -> Vec<csv::StringRecord> {
        csv::Reader::from_path(run.join(name)).unwrap().into_records().map(Result::unwrap).collect()
    };
    let (metrics, clients) = (table("metrics.csv"), table("clients.csv"));
    // The floor, two ways of statistics in each of three rounds, the ensemble.
    assert_eq!(metrics.len(), 1 + 3 * 2 + 1);
    let ensemble = metrics.iter().find(|row| &row[10] == "ensemble").unwrap();
    let score = events(&run).into_iter().find(|event| event["of"] == "ensemble").unwrap();
    assert_eq!(ensemble[13].parse::<f64>().unwrap(), score["fd_small"].as_f64().unwrap());
    assert_eq!([&ensemble[0], &ensemble[1], &ensemble[12]], ["3", "collect", "200"]);
    // Three clients in three exchanges.
    assert_eq!(clients.len(), 9);
    let absent = clients.iter().find(|row| &row[10] == "late by 3.2 s").unwrap();
    assert_eq!([&absent[0], &absent[2], &absent[4], &absent[7]], ["2", "client-0002", "", ""]);
    // Four epochs of 41 images, 16 per step.
    assert_eq!([&clients[0][3], &clients[0][6], &clients[0][7], &clients[0][8]], ["41", "12.0", "2.5", "0.5"]);
    let gif = fs::read(run.join("samples/rounds.gif")).unwrap();
    let decoder = image::codecs::gif::GifDecoder::new(std::io::Cursor::new(gif)).unwrap();
    assert_eq!(image::AnimationDecoder::into_frames(decoder).count(), 2);
}
