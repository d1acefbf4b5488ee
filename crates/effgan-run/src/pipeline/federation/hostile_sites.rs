//! Sites that say what they like of themselves and of their work: whom the server believes, and how much.

use std::sync::atomic::{AtomicUsize, Ordering};

use effgan_fl::Refusal;

use super::*;
use crate::protocol::{HeadLine, LEDGERS, roll};

fn three(folder: &TempDir) -> Post {
    post((0..3).map(|i| dealt(folder, i)).collect())
}

/// What the record says of who is missing in the first round.
fn missing(out: &Path) -> Vec<(String, String)> {
    let rounds = Folder::read(out).unwrap().rounds;
    rounds[&1].missing.iter().map(|missing| (missing.name.to_string(), missing.reason.clone())).collect()
}

fn refused(content: &Content, code: &str) -> Content {
    let words = [("refused".to_owned(), code.to_owned())].into();
    Content { words, ..Content::default() }.tied(content.tie())
}

#[test]
fn values_of_3_4e38_cost_their_site_the_round_and_the_record_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut post = three(&folder);
    post.spoil = |node, kind, mut content| {
        if (node, kind) == (1, "train") {
            content.params = content
                .params
                .iter()
                .map(|(name, array)| (name.clone(), Array::new([array.values.len()], vec![3.4e38; array.values.len()])))
                .collect();
        }
        Ok(content)
    };
    over(&mut post, &config(&[]), &out).0.unwrap();
    let missing = missing(&out);
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].0, "client-0001");
    assert!(
        missing[0].1.starts_with("unusable reply: tensor `") && missing[0].1.ends_with("which no training reaches"),
        "{missing:?}"
    );
    let record = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert!(Event::all(&record).1.is_empty(), "{record}");
}

#[test]
fn an_answer_to_another_question_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut post = three(&folder);
    post.spoil = |node, kind, mut content| {
        match (node, kind) {
            (0, "train") => drop(content.words.insert("kind".into(), "collect".into())),
            (1, "train") => drop(content.words.insert("config-hash".into(), params::sha256(b"another"))),
            (2, "train") => drop(content.numbers.insert("round".into(), 7.0)),
            _ => {}
        }
        Ok(content)
    };
    let error = over(&mut post, &config(&[]), &out).0.unwrap_err().line();
    assert!(
        error.starts_with(
            "0 of 3 clients gave a usable reply in round 1, and at least 1 must; client-0000: answers another question: its `kind` is"
        ),
        "{error}"
    );
    post.spoil = |node, kind, mut content| {
        if (node, kind) == (1, "train") {
            content.words.remove("config-hash");
        }
        Ok(content)
    };
    over(&mut post, &config(&[]), &out).0.unwrap();
    let reason = "answers another question: its `config-hash` is not what was asked".to_owned();
    assert_eq!(missing(&out), [("client-0001".to_owned(), reason)]);
}

#[test]
fn words_that_a_site_makes_up_reach_neither_terminal_nor_files() {
    const NAME: &str = "jane-doe-1961";
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut post = three(&folder);
    post.spoil = |node, kind, mut content| {
        match (node, kind) {
            (0, "train") => return Ok(refused(&content, NAME)),
            (0, _) => drop(content.words.insert("failed".into(), NAME.into())),
            (1, "train") => drop(content.words.insert("tensors".into(), format!("{{\"{NAME}.w\": [1]}}"))),
            (2, "train") => drop(content.numbers.insert(format!("=cmd|' /C {NAME}'!A1"), 1.0)),
            _ => {}
        }
        Ok(content)
    };
    let (outcome, said) = over(&mut post, &config(&["aggregation.min_clients=1"]), &out);
    let line = outcome.unwrap_err().line();
    assert!(line.contains("client-0000: unusable reply: its `refused` is no code that this effgan knows"), "{line}");
    assert!(!said.join("\n").contains(NAME), "{said:?}");
    let files = ["run.json", "metrics.jsonl", "clients.csv", "report.html", "sites.json", "config.toml"];
    for file in files {
        let text = fs::read_to_string(out.join(file)).unwrap_or_default();
        assert!(!text.contains(NAME), "{file}");
    }
}

#[test]
fn a_refusal_is_told_with_what_to_do_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut post = three(&folder);
    post.spoil = |node, kind, content| {
        Ok(if (node, kind) == (1, "train") { refused(&content, "too-few-images") } else { content })
    };
    over(&mut post, &config(&[]), &out).0.unwrap();
    assert_eq!(missing(&out), [("client-0001".to_owned(), Refusal::TooFewImages.to_string())]);
}

#[test]
fn a_site_that_waits_for_approval_is_asked_again_and_told_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let folder = tempfile::tempdir().unwrap();
    let roll = Roll::of(listed(&folder, [None; 3]));
    let mut post = three(&folder);
    post.spoil = |node, kind, content| {
        let waits = (node, kind) == (2, "query") && ASKED.fetch_add(1, Ordering::Relaxed) < 2;
        Ok(if waits { refused(&content, "waiting-for-approval") } else { content })
    };
    let config = config(&["federation.deadline=60"]);
    let (outcome, said) = over_listed(&mut post, &config, &folder.path().join("run"), Some(roll));
    outcome.unwrap();
    let waits = "client-0002 waits for approval there (effgan federation approve)";
    assert_eq!(said.iter().filter(|line| *line == waits).count(), 1, "{said:?}");
    assert_eq!(ASKED.load(Ordering::Relaxed), 3);
}

#[test]
fn who_waits_for_approval_at_the_deadline_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut post = three(&folder);
    post.spoil = |_, _, content| Ok(refused(&content, "waiting-for-approval"));
    let roll = Roll::of(listed(&folder, [None; 3]));
    let config = config(&["federation.deadline=0.5"]);
    let line = over_listed(&mut post, &config, &folder.path().join("run"), Some(roll)).0.unwrap_err().line();
    let who = |i: usize| format!("; client-000{i} waits for approval there (effgan federation approve)");
    let all: String = (0..3).map(who).collect();
    assert!(line.starts_with(&format!("0 of 3 sites are there after 0.5 s{all}; start their nodes")), "{line}");
}

/// A server's folder whose list has the three sites, with these caps.
fn listed(folder: &TempDir, most: [Option<u64>; 3]) -> PathBuf {
    let sites = [("client-0000", 0, most[0]), ("client-0001", 1, most[1]), ("client-0002", 2, most[2])];
    roll::tests::server(folder.path(), &sites)
}

#[test]
fn a_node_is_who_the_list_says_and_who_is_not_on_it_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let sites = [("client-0000", 0, None), ("client-0002", 1, None)];
    let roll = Roll::of(roll::tests::server(folder.path(), &sites));
    let mut post = three(&folder);
    let config = config(&["federation.deadline=0.5"]);
    let (outcome, said) = over_listed(&mut post, &config, &folder.path().join("run"), Some(roll));
    assert!(outcome.unwrap_err().line().starts_with("1 of 3 sites are there after 0.5 s; client-0002 takes no part: "));
    let line = "client-0002 takes no part: it says it is client-0001, and its key is that of client-0002";
    assert!(said.iter().any(|said| said == line), "{said:?}");
    assert_eq!(post.asked, [0, 1].into());
}

#[test]
fn a_node_that_left_the_list_before_it_said_who_it_is_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let server = listed(&folder, [None; 3]);
    let mut post = three(&folder);
    let roll = Roll::of(server.clone());
    post.meanwhile = Box::new(move |node, kind| {
        if (node, kind) == (1, "query") {
            roll::tests::remove(&server, "client-0001", false);
        }
    });
    let config = config(&["federation.deadline=0.5"]);
    let (outcome, said) = over_listed(&mut post, &config, &folder.path().join("run"), Some(roll));
    assert!(outcome.unwrap_err().line().starts_with("2 of 3 sites are there after 0.5 s"), "{said:?}");
    assert!(said.contains(&"node 1 takes no part: it is not on the list any more".to_owned()), "{said:?}");
}

#[test]
fn of_a_site_that_was_removed_no_answer_is_folded_and_none_is_waited_for() {
    for admitted_with_another_key in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (server, out) = (listed(&folder, [None; 3]), folder.path().join("run"));
        let mut post = three(&folder);
        post.silent.insert((2, "train"));
        let roll = Roll::of(server.clone());
        let mut is_done = false;
        post.meanwhile = Box::new(move |node, kind| {
            // The answer of one lies in the SuperLink, and the other has not answered.
            if (node, kind, is_done) == (1, "train", false) {
                is_done = true;
                roll::tests::remove(&server, "client-0001", admitted_with_another_key);
                roll::tests::remove(&server, "client-0002", admitted_with_another_key);
            }
        });
        let started = Instant::now();
        let config = config(&["federation.deadline=600", "algorithm.rounds=1"]);
        let outcome = over_listed(&mut post, &config, &out, Some(roll)).0;
        let removed = |name: &str| (name.to_owned(), "was removed from the list".to_owned());
        assert_eq!(missing(&out), ["client-0001", "client-0002"].map(removed));
        if !admitted_with_another_key {
            outcome.unwrap();
            let model = effgan_fl::Ensemble::open(&out).unwrap();
            assert_eq!(model.manifest().members.len(), 1);
        }
        assert!(started.elapsed().as_secs() < 120);
    }
}

#[test]
fn a_site_counts_for_what_the_config_and_the_list_allow_and_both_numbers_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let capped = config(&["federation.max_examples=20"]);
    let plain = folder.path().join("plain");
    over(&mut three(&folder), &capped, &plain).0.unwrap();
    assert_eq!(hash(&plain), simulated(&capped, &folder), "a simulation has the same cap");

    let folder = tempfile::tempdir().unwrap();
    let (out, roll) = (folder.path().join("run"), Roll::of(listed(&folder, [None, Some(10), Some(500)])));
    let (outcome, said) = over_listed(&mut three(&folder), &capped, &out, Some(roll));
    outcome.unwrap();
    let partition = info_of(&out).unwrap().partition;
    let n = partition.num_examples[1];
    assert!(partition.num_examples.iter().all(|n| *n > 20));
    assert_eq!(partition.counted, Some(vec![20, 10, 20]));
    let note = format!("client-0001 says it has {n} images, and counts as 10");
    assert!(said.contains(&note), "{said:?}");
    let record = &Folder::read(&out).unwrap().rounds[&1].clients[1];
    assert_eq!((record.num_examples, record.counted), (n, Some(10)));
    let manifest = effgan_fl::Ensemble::open(&out).unwrap().manifest().clone();
    assert_eq!(manifest.members.iter().map(|member| member.weight).collect::<Vec<_>>(), [20.0, 10.0, 20.0]);
    assert_ne!(hash(&out), hash(&plain));
}

#[test]
fn a_site_that_says_it_has_almost_all_images_takes_no_part_or_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut post = three(&folder);
    post.spoil = |node, _, mut content| {
        if node == 1 {
            content.numbers.insert("num-examples".into(), 9_007_199_254_740_991.0);
        }
        Ok(content)
    };
    let short = config(&["federation.deadline=0.5"]);
    let (outcome, said) = over(&mut post, &short, &folder.path().join("run"));
    assert!(outcome.unwrap_err().line().starts_with("2 of 3 sites are there"));
    let line = "node 1 takes no part: it has 9007199254740991 images, which is outside 1..=4294967296";
    assert!(said.iter().any(|said| said == line), "{said:?}");

    post.spoil = |node, _, mut content| {
        if node == 1 {
            content.numbers.insert("num-examples".into(), 4_000_000_000.0);
        }
        Ok(content)
    };
    let (outcome, said) = over(&mut post, &config(&[]), &folder.path().join("run"));
    outcome.unwrap();
    assert!(
        said.iter().any(|said| said.starts_with("client-0001 alone has over half of the weight, 100 %: ")),
        "{said:?}"
    );
}

#[test]
fn heads_of_the_sites_ledgers_are_kept_and_one_that_is_none_makes_an_answer_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut post = three(&folder);
    post.spoil = |node, kind, mut content| {
        let head = params::sha256(format!("{node} {kind}").as_bytes());
        let head = if (node, kind) == (2, "train") { "=1+1".into() } else { head };
        content.words.insert("ledger".into(), head);
        Ok(content)
    };
    over(&mut post, &config(&[]), &out).0.unwrap();
    let sites = sites_of(&out).unwrap();
    assert_eq!(sites[0].ledger, Some(params::sha256(b"0 query")));
    let lines = fs::read_to_string(out.join(LEDGERS)).unwrap();
    let heads: Vec<HeadLine> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Who they are, two rounds of averaging by two sites, one collection of all.
    assert_eq!(heads.len(), 3 + 2 * 2 + 3);
    let last = heads.iter().rfind(|head| head.client.as_str() == "client-0001").unwrap();
    assert_eq!((last.kind.as_str(), last.round), ("collect", Some(3)));
    assert_eq!(last.head, params::sha256(b"1 train.finetune"));
    assert_eq!(last.config_hash, params::sha256(config(&[]).for_sites().to_toml().as_bytes()));
    let unusable = ("client-0002".to_owned(), "the message's `ledger` is no SHA-256".to_owned());
    assert_eq!(missing(&out), [unusable]);
}

#[test]
fn an_answer_may_be_as_long_as_its_tensors_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut post = three(&folder);
    over(&mut post, &config(&[]), &out).0.unwrap();
    let network = info_of(&out).unwrap().network;
    let [generator, discriminator] = [network.generator_values, network.discriminator_values].map(|n| 4 * n);
    let limits = [("query", 0), ("train", generator + discriminator), ("train.finetune", generator)];
    assert_eq!(post.limits, limits.map(|(kind, bytes)| (kind.to_owned(), bytes + 65_536)).into());
}
