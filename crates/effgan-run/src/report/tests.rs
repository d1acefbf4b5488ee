//! Reports of small run folders, read back as text.

use std::collections::BTreeMap;
use std::fs;

use effgan_fl::ensemble::NormStatistics::{Average, Recompute};
use effgan_fl::{ClientRecord, Drift, ExchangeKind, Missing, RoundRecord};
use effgan_nn::{ArithmeticVersion, Precision};
use serde_json::json;
use tempfile::TempDir;

use super::page::source;
use super::*;
use crate::config::tests::{QUICKSTART, quickstart};
use crate::record::events::{Event, LossCurve, MemberClasses, Score, Scored, Stage};
use crate::record::machine::Machine;
use crate::record::pictures::{grid, save_png};
use crate::record::run_info::{DatasetInfo, NetworkInfo, PartitionInfo, RunInfo, Status};

/// Sections of every report.
const ALWAYS: [&str; 12] = [
    "comparison",
    "scores",
    "rounds",
    "members",
    "partition",
    "losses",
    "attendance",
    "traffic",
    "time",
    "clients",
    "machine",
    "reproduce",
];
/// Sections of runs that are scored, and of runs whose clients' drift is known.
const SOMETIMES: [&str; 3] = ["score-curve", "cost", "drift"];

fn info(status: Status) -> RunInfo {
    let partition = PartitionInfo {
        class_counts: Some(vec![vec![300, 0], vec![20, 180]]),
        num_examples: vec![300, 200],
        counted: None,
        clients: vec!["north".into(), "south".into()],
        label_skew: Some(0.43),
    };
    RunInfo {
        name: "<script>alert(1)</script>".into(),
        status,
        reason: None,
        algorithm: "effgan".into(),
        seed: 7,
        jobs: 2,
        precision: Precision::Bf16,
        version: "0.1.0".into(),
        arithmetic_version: ArithmeticVersion::OURS,
        machine: Machine {
            cpu: "a & b".into(),
            cores: 2,
            instruction_set: "avx2".into(),
            os: "linux".into(),
            gpu: Some("gpu:0, a <card>".into()),
        },
        dataset: DatasetInfo {
            name: "m".into(),
            image_shape: [1, 2, 2],
            num_classes: 2,
            class_names: vec!["<i>cat</i>".into(), "dog".into()],
            num_dealt: 500,
            sha256: None,
            num_test: Some(100),
        },
        partition,
        network: NetworkInfo { generator_values: 10, discriminator_values: 9 },
        mean_is_fedgan: true,
        feature_network: None,
        privacy: Vec::new(),
        client_privacy: None,
        attackers: Vec::new(),
        resumed: 0,
        model_hash: Some("9f3c".into()),
        started: 0,
        seconds: 61.0,
    }
}

fn record(round: u32, kind: ExchangeKind) -> RoundRecord {
    let client = |name: &str| ClientRecord {
        name: name.to_owned().try_into().unwrap(),
        num_examples: 300,
        counted: None,
        metrics: BTreeMap::from([("loss_d".into(), 0.625), ("loss_g".into(), 1.5), ("steps".into(), 40.0)]),
        seconds: 3.0,
        drift: None,
    };
    let clients = vec![client("north"), client("south")];
    let (bytes_down, bytes_up) = (13_000_000, 7_000_000);
    RoundRecord { round, kind, clients, missing: Vec::new(), refused: Vec::new(), bytes_down, bytes_up, seconds: 4.0 }
}

fn round(round: u32, kind: ExchangeKind) -> Event {
    Event::Round(record(round, kind))
}

/// A round with the drift of both clients, one of which moves against the mean.
fn round_with_drift(round: u32) -> Event {
    let mut record = record(round, ExchangeKind::Average);
    record.clients[0].drift = Some(Drift { norm: 2.5, cosine: 0.75 });
    record.clients[1].drift = Some(Drift { norm: 5.0, cosine: -0.25 });
    Event::Round(record)
}

fn member(client: &str, class_counts: [u64; 2]) -> Event {
    Event::Member(MemberClasses { client: client.into(), class_counts: class_counts.into() })
}

fn losses(round: u32, client: &str) -> Event {
    curve(round, client, &[("loss_d", [1.0, 0.5]), ("loss_g", [1.0, 2.0])])
}

fn curve(round: u32, client: &str, losses: &[(&str, [f64; 2])]) -> Event {
    let losses = losses.iter().map(|(key, means)| ((*key).to_owned(), means.to_vec())).collect();
    Event::Losses(LossCurve { round, client: client.into(), steps: 40, losses })
}

fn score(round: u32, of: Scored, norm_statistics: Option<effgan_fl::ensemble::NormStatistics>, fd_small: f64) -> Event {
    let scores = json!({ "n": 2000, "fd_small": fd_small, "class_kl": 0.25, "modes": 2, "class_counts": [1200, 800] });
    let scores = serde_json::from_value(scores).unwrap();
    Event::Score(Score { round, of, norm_statistics, scores, seconds: 1.0 })
}

/// A run folder without samples.
fn run_folder(info: &RunInfo, events: &[Event]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    fs::write(dir.path().join("run.json"), serde_json::to_string(info).unwrap()).unwrap();
    fs::write(dir.path().join("metrics.jsonl"), lines).unwrap();
    dir
}

fn finished_run() -> TempDir {
    let events = [
        score(0, Scored::Floor, None, 1.94),
        losses(1, "north"),
        losses(1, "south"),
        round_with_drift(1),
        score(1, Scored::Average, Some(Recompute), 88.0),
        score(1, Scored::Average, Some(Average), 120.0),
        losses(2, "north"),
        round(2, ExchangeKind::Collect),
        score(2, Scored::MeanOfMembers, Some(Recompute), 76.4),
        score(2, Scored::Ensemble, None, 21.3),
        member("north", [384, 128]),
        member("south", [0, 512]),
        Event::Stage(Stage { stage: "train".into(), seconds: 61.0 }),
    ];
    let dir = run_folder(&info(Status::Done), &events);
    fs::write(dir.path().join("config.toml"), format!("{QUICKSTART}# name = \"<b>\"\n")).unwrap();
    fs::create_dir(dir.path().join("samples")).unwrap();
    for name in ["round_0001", "mean_of_members", "ensemble", "real", "member_north", "member_south", "summary"] {
        let path = dir.path().join("samples").join(name).with_extension("png");
        save_png(&path, &grid(&[0, 80, 160, 255], [1, 2, 2], 1, 2)).unwrap();
    }
    dir
}

fn written(dir: &TempDir) -> String {
    let path = write(dir.path()).unwrap();
    assert_eq!(path, dir.path().join("report.html"));
    fs::read_to_string(path).unwrap()
}

fn assert_sections(html: &str, ids: &[&str]) {
    assert_has_all(html, &ids.iter().map(|id| format!("<section id=\"{id}\"")).collect::<Vec<_>>());
    assert_eq!(html.matches("<section ").count(), ids.len());
}

fn assert_has_all(html: &str, texts: &[impl AsRef<str>]) {
    for text in texts.iter().map(AsRef::as_ref) {
        assert!(html.contains(text), "the report has no {text}");
    }
}

#[test]
fn no_text_reorders_the_page_and_only_our_own_script_and_style_are_allowed() {
    let evil = RunInfo { name: "\u{202e}lmth.\u{2066}<script>alert(1)</script>".into(), ..info(Status::Done) };
    let dir = run_folder(&evil, &[]);
    fs::write(dir.path().join("config.toml"), "name = \"a\u{202e}b\"\n\tx\n").unwrap();
    let html = written(&dir);
    let turning = |c| effgan_data::control_chars::is_control(c) && c != '\n' && c != '\t';
    assert!(!html.contains(turning), "{:?}", html.find(turning));
    assert_has_all(&html, &["\u{fffd}lmth.\u{fffd}&lt;script&gt;", "a\u{fffd}b&quot;\n\tx\n"]);
    assert!(!html.contains("script-src 'unsafe-inline'"));
    for (tag, directive) in [("script", "script-src"), ("style", "style-src-elem")] {
        let (_, rest) = html.split_once(&format!("<{tag}>")).unwrap();
        let (inside, rest) = rest.split_once(&format!("</{tag}>")).unwrap();
        assert!(!rest.contains(&format!("<{tag}")), "one {tag}");
        assert_has_all(&html, &[format!("{directive} {};", source(inside))]);
    }
}

#[test]
fn a_folder_of_a_stranger_with_links_at_every_name_leads_nowhere() {
    use std::os::unix::fs::symlink;
    let dir = finished_run();
    let samples = dir.path().join("samples");
    fs::copy(samples.join("round_0001.png"), samples.join("round_0002.png")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let precious = elsewhere.path().join("bashrc");
    fs::write(&precious, "precious").unwrap();
    let written_files = ["report.html", "metrics.csv", "clients.csv", "samples/rounds.gif"];
    for name in written_files {
        for suffix in ["", ".part", ".tmp", ".new"] {
            symlink(&precious, dir.path().join(format!("{name}{suffix}"))).unwrap();
        }
    }
    written(&dir);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    for name in written_files {
        assert!(fs::symlink_metadata(dir.path().join(name)).unwrap().is_file(), "{name} is a file now");
    }

    fs::rename(&samples, elsewhere.path().join("samples")).unwrap();
    symlink(elsewhere.path().join("samples"), &samples).unwrap();
    fs::remove_file(elsewhere.path().join("samples/rounds.gif")).unwrap();
    let error = write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("/samples is a symbolic link, which is never written through"), "{error}");
    assert!(!elsewhere.path().join("samples/rounds.gif").exists());
}

#[test]
fn no_cell_of_the_tables_is_a_formula() {
    let Event::Round(mut record) = round(1, ExchangeKind::Average) else { unreachable!("it is a round") };
    record.clients[0].metrics.insert("=cmd|' /C calc'!A1".into(), -0.5);
    record.missing = vec![Missing { name: "east".to_owned().try_into().unwrap(), reason: "@SUM(1)".into() }];
    let dir = run_folder(&info(Status::Done), &[Event::Round(record)]);
    written(&dir);
    let table = fs::read_to_string(dir.path().join("clients.csv")).unwrap();
    assert!(!table.contains("calc"), "an unknown metric does not become a column: {table}");
    assert!(table.contains("'@SUM(1)"), "{table}");
}

#[test]
fn the_report_of_a_finished_run_has_all_sections() {
    let html = written(&finished_run());
    assert_sections(&html, &[&ALWAYS[..], &SOMETIMES].concat());
    assert_has_all(
        &html,
        &[
            "The ensemble of 2 fine-tuned generators scores fd_small 21.3; the averaged generator 88.0; real images 1.94 (floor, n\u{a0}=\u{a0}2000).",
            "FedGAN at equal work",
            "<td class=\"n fd\">120.00</td>",
            "fd_small (log scale), lower is closer",
            "discriminator loss (nats)",
            "<strong>north</strong><span>n&nbsp;=&nbsp;300",
            "of 512 of its samples",
            // |1 − 3/4| + |0 − 1/4| and |1/10 − 0| + |9/10 − 1|, halved.
            "<p class=\"small\">distance 0.25</p>",
            "<p class=\"small\">distance 0.10</p>",
            "In round 1 the cosine is 0.25 on average, from −0.25 (south) to 0.75 (north).",
            "south, round 1: 5.00",
            "All selected clients replied in all 2 exchanges.",
            "MB of tensors sent so far, both directions",
            "Label skew 0.43",
            "26.0\u{a0}MB to the clients and 14.0\u{a0}MB back",
            "1\u{a0}min 1\u{a0}s",
            "<code>9f3c</code>, in again/run.json",
            "EFFGAN_ISA=avx2 effgan run config.toml --out again",
        ],
    );
    assert!(!html.contains("class=\"banner"));
}

#[test]
fn the_algorithm_and_the_loss_of_the_config_give_the_words() {
    let dir = finished_run();
    let html = |settings: &[&str]| {
        fs::write(dir.path().join("config.toml"), quickstart(settings).unwrap().to_toml()).unwrap();
        written(&dir)
    };
    let alone = html(&[r#"algorithm={ kind = "local-ensemble", rounds = 2 }"#]);
    assert_has_all(&alone, &["The ensemble of 2 generators scores", "discriminator loss (nats)"]);
    let pooled = html(&[r#"algorithm={ kind = "central", rounds = 2 }"#]);
    assert_has_all(&pooled, &["; the central generator 88.0;"]);
    for loss in ["hinge", "least-squares"] {
        let html = html(&[&format!("local.loss={loss}")]);
        assert!(html.contains("discriminator loss within") && !html.contains("(nats)"), "{loss}");
    }
}

/// The lines of a table that the report wrote into `dir`.
fn lines(dir: &TempDir, table: &str) -> Vec<String> {
    fs::read_to_string(dir.path().join(table)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_losses_of_any_model_have_charts_and_columns() {
    let mut record = record(1, ExchangeKind::Average);
    for client in &mut record.clients {
        client.metrics = [("loss_kl", 0.25), ("loss_pixels", 4.0), ("loss_z", 0.5), ("steps", 40.0)]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
    }
    let losses = curve(1, "north", &[("loss_kl", [0.5, 0.25]), ("loss_pixels", [8.0, 4.0]), ("loss_z", [1.0, 0.5])]);
    let dir = run_folder(&info(Status::Done), &[losses, Event::Round(record)]);
    let html = written(&dir);
    assert_has_all(&html, &["kl loss within the rounds", "pixels loss within the rounds", "z loss within the rounds"]);
    let heads = "<th class=\"n\">loss kl</th><th class=\"n\">loss pixels</th><th class=\"n\">loss Z</th>";
    let cells = "<td class=\"n\">0.250</td><td class=\"n\">4.000</td><td class=\"n\">0.500</td>";
    assert_has_all(&html, &[heads, cells, "Steps, mean losses and time of the last round"]);
    assert!(!html.contains("nats") && !html.contains("discriminator loss"));
    let metrics = lines(&dir, "metrics.csv");
    assert!(metrics[0].starts_with("round,kind,clients,missing,loss_kl,loss_pixels,loss_z,bytes_down"), "{metrics:?}");
    assert!(metrics[1].starts_with("1,average,2,0,0.25,4.0,0.5,13000000"), "{metrics:?}");
    let clients = lines(&dir, "clients.csv");
    assert!(clients[0].starts_with("round,kind,client,num_examples,loss_kl,loss_pixels,loss_z,steps"), "{clients:?}");
    assert!(clients[1].starts_with("1,average,north,300,0.25,4.0,0.5,40.0"), "{clients:?}");
}

#[test]
fn before_the_first_loss_the_columns_are_those_of_the_config_s_model() {
    let dir = run_folder(&info(Status::Running), &[score(0, Scored::Floor, None, 1.5)]);
    fs::write(dir.path().join("config.toml"), QUICKSTART).unwrap();
    let with_images = RunInfo {
        dataset: DatasetInfo { image_shape: [1, 28, 28], ..info(Status::Running).dataset },
        ..info(Status::Running)
    };
    fs::write(dir.path().join("run.json"), serde_json::to_string(&with_images).unwrap()).unwrap();
    let html = written(&dir);
    assert_has_all(&html, &["<th class=\"n\">loss D</th><th class=\"n\">loss G</th>", "mean losses (nats) and time"]);
    let head = "round,kind,clients,missing,loss_d,loss_g,bytes_down,bytes_up,bytes_total,round_seconds,of,norm_statistics,n,fd_small,class_kl,modes,score_seconds";
    assert_eq!(lines(&dir, "metrics.csv"), [head, "0,,,,,,,,0,,floor,,2000,1.5,0.25,2,1.0"]);
    assert_eq!(lines(&dir, "clients.csv"), ["round,kind,client,num_examples,drift_norm,drift_cosine,seconds,missing"]);
}

#[test]
fn a_file_from_elsewhere_adds_few_columns() {
    let mut record = record(1, ExchangeKind::Average);
    record.clients[0].metrics.extend((0..1000).map(|i| (format!("loss_{i:04}"), 1.0)));
    let dir = run_folder(&info(Status::Done), &[Event::Round(record)]);
    written(&dir);
    for table in ["metrics.csv", "clients.csv"] {
        assert_eq!(lines(&dir, table)[0].matches("loss_").count(), 16, "{table}");
    }
}

#[test]
fn a_report_loads_no_external_file() {
    let html = written(&finished_run());
    // The grids of one round, two baselines, real images, the round again, and two members; the animation's is empty.
    assert_eq!(html.matches("<img ").count(), 7 + 1);
    assert_eq!(html.matches("<img src=\"data:image/png;base64,iVBORw0KGgo").count(), 7);
    assert_eq!(html.matches("<script").count(), 1);
    assert_has_all(&html, &["default-src 'none'; img-src data:;"]);
    for outside in ["http://", "https://", "url(", "@import", "<script ", "<link rel=\"stylesheet"] {
        assert!(!html.contains(outside), "the report has {outside}");
    }
}

#[test]
fn texts_of_files_are_escaped() {
    let html = written(&finished_run());
    assert_has_all(
        &html,
        &[
            "&lt;script&gt;alert(1)&lt;",
            "a &amp; b",
            "rounded to bf16",
            "name = &quot;&lt;b&gt;&quot;",
            "class &lt;i&gt;cat&lt;",
        ],
    );
    assert!(!html.contains("<i>cat") && html.contains("title=\"dog\">dog</th>"));
}

#[test]
fn the_report_of_an_interrupted_run_says_so_and_shows_what_exists() {
    let mut info = info(Status::Interrupted);
    info.model_hash = None;
    let dir = run_folder(&info, &[losses(1, "north"), round(1, ExchangeKind::Average)]);
    let html = written(&dir);
    assert_sections(&html, &ALWAYS);
    assert_has_all(
        &html,
        &[
            "This run was interrupted after round 1; effgan resume continues it.",
            "No scores: nothing has been scored in this run.",
            "No pictures and no scores yet.",
            "No members.",
            "generator loss within the rounds",
            "config.toml is missing.",
        ],
    );
    assert!(!html.contains("<img src"));
}

#[test]
fn missing_clients_are_named_with_their_reasons() {
    let mut record = record(1, ExchangeKind::Average);
    record.clients.pop();
    record.missing.push(Missing { name: "south".to_owned().try_into().unwrap(), reason: "late by 3.2 s".into() });
    let events = [Event::Round(record), round(2, ExchangeKind::Average)];
    let html = written(&run_folder(&info(Status::Running), &events));
    assert_has_all(
        &html,
        &[
            "1 of 4 replies missing, in 1 of 2 exchanges.",
            "<td class=\"n\">1 of 2</td><td>south: late by 3.2 s</td>",
            "south, round 1: late by 3.2 s",
            "north, round 2: took part",
        ],
    );
    assert!(!html.contains("<li><i class=\"box ground-box\"></i>not selected"));
}

#[test]
fn the_report_of_a_failed_run_has_the_reason_and_counts_unreadable_lines() {
    let mut info = info(Status::Failed);
    info.reason = Some("client north: loss_d is NaN at step 3".into());
    let dir = run_folder(&info, &[]);
    fs::write(dir.path().join("metrics.jsonl"), "{\"event\":\"rou").unwrap();
    let html = written(&dir);
    let reason = "This run failed before its first round was finished: client north: loss_d is NaN at step 3";
    assert_has_all(&html, &[reason, "1 line of metrics.jsonl could not be read and was skipped: line 1."]);
}

#[test]
fn of_two_scores_of_one_round_the_later_is_shown() {
    let events = [score(1, Scored::Average, Some(Recompute), 99.0), score(1, Scored::Average, Some(Recompute), 88.0)];
    let html = written(&run_folder(&info(Status::Running), &events));
    assert_has_all(&html, &["The averaged generator scores fd_small 88.0."]);
    assert!(!html.contains("99.0"));
}

#[test]
fn a_folder_without_run_json_is_an_error_that_names_the_file() {
    let error = write(Path::new("no-such-run")).unwrap_err();
    assert_eq!(error.to_string(), "reading no-such-run/run.json");
}
