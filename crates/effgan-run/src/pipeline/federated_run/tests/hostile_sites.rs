//! Sites that may lie about themselves and their work: what the server believes.

use std::sync::atomic::{AtomicUsize, Ordering};

use effgan_fl::Refusal;

use super::*;
use crate::protocol::{LEDGERS, LedgerHead, test_servers};

fn three(folder: &TempDir) -> TestGrid {
    grid_of((0..3).map(|i| assigned(folder, i)).collect())
}

/// The sites that are missing in the first round, with the recorded reasons.
fn missing(out: &Path) -> Vec<(String, String)> {
    let rounds = Folder::read(out).unwrap().rounds;
    rounds[&1].missing.iter().map(|missing| (missing.name.to_string(), missing.reason.clone())).collect()
}

fn refused(content: &Content, code: &str) -> Content {
    let words = [("refused".to_owned(), code.to_owned())].into();
    Content { words, ..Content::default() }.replying_to(content.request_id())
}

#[test]
fn a_site_that_sends_values_of_3_4e38_is_left_out_and_the_record_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut grid = three(&folder);
    grid.change_reply = |node, kind, mut content| {
        if (node, kind) == (1, "train") {
            content.params = content
                .params
                .iter()
                .map(|(name, array)| {
                    (name.clone(), Array::new([array.values().len()], vec![3.4e38; array.values().len()]))
                })
                .collect();
        }
        Ok(content)
    };
    run_over(&mut grid, &config(&[]), &out).0.unwrap();
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
fn a_site_whose_loss_is_not_a_number_is_left_out_when_its_reply_waits_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut grid = three(&folder);
    // The replies arrive in the opposite order of the names, and one of them waits in memory.
    grid.change_reply = |node, kind, mut content| {
        if (node, kind) == (1, "train") {
            content.numbers.insert("loss_d".into(), f64::NAN);
        }
        Ok(content)
    };
    run_over(&mut grid, &config(&[]), &out).0.unwrap();
    assert_eq!(missing(&out), [("client-0001".to_owned(), "unusable reply: metric `loss_d` is NaN".to_owned())]);
}

#[test]
fn a_reply_to_another_request_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut grid = three(&folder);
    grid.change_reply = |node, kind, mut content| {
        match (node, kind) {
            (0, "train") => drop(content.words.insert("kind".into(), "collect".into())),
            (1, "train") => drop(content.words.insert("config-hash".into(), params::sha256(b"another"))),
            (2, "train") => drop(content.numbers.insert("round".into(), 7.0)),
            _ => {}
        }
        Ok(content)
    };
    let error = run_over(&mut grid, &config(&[]), &out).0.unwrap_err().line();
    assert!(
        error.starts_with(
            "0 of 3 clients gave a usable reply in round 1, and at least 1 must; client-0000: replies to another request: its `kind` is"
        ),
        "{error}"
    );
    grid.change_reply = |node, kind, mut content| {
        if (node, kind) == (1, "train") {
            content.words.remove("config-hash");
        }
        Ok(content)
    };
    run_over(&mut grid, &config(&[]), &out).0.unwrap();
    let reason = "replies to another request: its `config-hash` is not the request's".to_owned();
    assert_eq!(missing(&out), [("client-0001".to_owned(), reason)]);
}

#[test]
fn text_of_a_sites_own_choice_reaches_neither_terminal_nor_files() {
    const NAME: &str = "jane-doe-1961";
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut grid = three(&folder);
    grid.change_reply = |node, kind, mut content| {
        match (node, kind) {
            (0, "train") => return Ok(refused(&content, NAME)),
            (0, _) => drop(content.words.insert("failed".into(), NAME.into())),
            (1, "train") => drop(content.words.insert("tensors".into(), format!("{{\"{NAME}.w\": [1]}}"))),
            (2, "train") => drop(content.numbers.insert(format!("=cmd|' /C {NAME}'!A1"), 1.0)),
            _ => {}
        }
        Ok(content)
    };
    let (outcome, lines) = run_over(&mut grid, &config(&["aggregation.min_clients=1"]), &out);
    let line = outcome.unwrap_err().line();
    assert!(
        line.contains("client-0000: unusable reply: its `refused` is not a code that this version of effgan knows"),
        "{line}"
    );
    assert!(!lines.join("\n").contains(NAME), "{lines:?}");
    let files = ["run.json", "metrics.jsonl", "clients.csv", "report.html", "sites.json", "config.toml"];
    for file in files {
        let text = fs::read_to_string(out.join(file)).unwrap_or_default();
        assert!(!text.contains(NAME), "{file}");
    }
}

#[test]
fn a_refusal_is_reported_with_what_to_do_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut grid = three(&folder);
    grid.change_reply = |node, kind, content| {
        Ok(if (node, kind) == (1, "train") { refused(&content, "too-few-images") } else { content })
    };
    run_over(&mut grid, &config(&[]), &out).0.unwrap();
    assert_eq!(missing(&out), [("client-0001".to_owned(), Refusal::TooFewImages.to_string())]);
}

#[test]
fn a_site_that_waits_for_approval_is_asked_again_and_reported_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let folder = tempfile::tempdir().unwrap();
    let list = SiteList::of(listed(&folder, [None; 3]));
    let mut grid = three(&folder);
    grid.change_reply = |node, kind, content| {
        let waits = (node, kind) == (2, "query") && ASKED.fetch_add(1, Ordering::Relaxed) < 2;
        Ok(if waits { refused(&content, "waiting-for-approval") } else { content })
    };
    let config = config(&["federation.deadline=60"]);
    let (outcome, lines) = run_listed(&mut grid, &config, &folder.path().join("run"), Some(list));
    outcome.unwrap();
    let waits = "client-0002 is waiting for approval at the site (effgan federation approve)";
    assert_eq!(lines.iter().filter(|line| *line == waits).count(), 1, "{lines:?}");
    assert_eq!(ASKED.load(Ordering::Relaxed), 3);
}

#[test]
fn sites_that_still_wait_for_approval_at_the_deadline_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut grid = three(&folder);
    grid.change_reply = |_, _, content| Ok(refused(&content, "waiting-for-approval"));
    let list = SiteList::of(listed(&folder, [None; 3]));
    let config = config(&["federation.deadline=0.5"]);
    let line = run_listed(&mut grid, &config, &folder.path().join("run"), Some(list)).0.unwrap_err().line();
    let who = |i: usize| format!("; client-000{i} is waiting for approval at the site (effgan federation approve)");
    let all: String = (0..3).map(who).collect();
    assert!(line.starts_with(&format!("0 of 3 sites connected within 0.5 s{all}; start their nodes")), "{line}");
}

/// A server's folder whose list has the three sites, with these `max_examples`.
fn listed(folder: &TempDir, max_examples: [Option<u64>; 3]) -> PathBuf {
    let sites =
        [("client-0000", 0, max_examples[0]), ("client-0001", 1, max_examples[1]), ("client-0002", 2, max_examples[2])];
    test_servers::server(folder.path(), &sites)
}

#[test]
fn the_list_says_which_site_a_node_is_and_unlisted_nodes_are_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let sites = [("client-0000", 0, None), ("client-0002", 1, None)];
    let list = SiteList::of(test_servers::server(folder.path(), &sites));
    let mut grid = three(&folder);
    let config = config(&["federation.deadline=0.5"]);
    let (outcome, lines) = run_listed(&mut grid, &config, &folder.path().join("run"), Some(list));
    assert!(
        outcome.unwrap_err().line().starts_with("1 of 3 sites connected within 0.5 s; client-0002 cannot take part: ")
    );
    let line = "client-0002 cannot take part: it says it is client-0001, but its key is that of client-0002";
    assert!(lines.iter().any(|logged| logged == line), "{lines:?}");
    assert_eq!(grid.asked, [0, 1].into());
}

#[test]
fn a_node_removed_from_the_list_before_its_reply_is_not_admitted() {
    let folder = tempfile::tempdir().unwrap();
    let server = listed(&folder, [None; 3]);
    let mut grid = three(&folder);
    let list = SiteList::of(server.clone());
    grid.meanwhile = Box::new(move |node, kind| {
        if (node, kind) == (1, "query") {
            test_servers::remove(&server, "client-0001", false);
        }
    });
    let config = config(&["federation.deadline=0.5"]);
    let (outcome, lines) = run_listed(&mut grid, &config, &folder.path().join("run"), Some(list));
    assert!(outcome.unwrap_err().line().starts_with("2 of 3 sites connected within 0.5 s"), "{lines:?}");
    assert!(
        lines.contains(&"node 1 cannot take part: it is no longer on the server's list of sites".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn no_answer_of_a_removed_site_is_used_or_waited_for() {
    for admitted_with_another_key in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (server, out) = (listed(&folder, [None; 3]), folder.path().join("run"));
        let mut grid = three(&folder);
        grid.silent.insert((2, "train"));
        let list = SiteList::of(server.clone());
        let mut is_done = false;
        grid.meanwhile = Box::new(move |node, kind| {
            // The reply of client-0001 waits to be pulled, and client-0002 has not replied.
            if (node, kind, is_done) == (1, "train", false) {
                is_done = true;
                test_servers::remove(&server, "client-0001", admitted_with_another_key);
                test_servers::remove(&server, "client-0002", admitted_with_another_key);
            }
        });
        let started = Instant::now();
        let config = config(&["federation.deadline=600", "algorithm.rounds=1"]);
        let outcome = run_listed(&mut grid, &config, &out, Some(list)).0;
        let removed = |name: &str| (name.to_owned(), "was removed from the server's list of sites".to_owned());
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
fn a_site_counts_for_what_the_config_and_the_list_allow_and_both_numbers_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let capped = config(&["federation.max_examples=20"]);
    let plain = folder.path().join("plain");
    run_over(&mut three(&folder), &capped, &plain).0.unwrap();
    assert_eq!(hash(&plain), simulated(&capped, &folder), "a simulation has the same cap");

    let folder = tempfile::tempdir().unwrap();
    let (out, list) = (folder.path().join("run"), SiteList::of(listed(&folder, [None, Some(10), Some(500)])));
    let (outcome, lines) = run_listed(&mut three(&folder), &capped, &out, Some(list));
    outcome.unwrap();
    let partition = info_of(&out).unwrap().partition;
    let n = partition.num_examples[1];
    assert!(partition.num_examples.iter().all(|n| *n > 20));
    assert_eq!(partition.counted, Some(vec![20, 10, 20]));
    let note = format!("client-0001 says it has {n} images, and counts for 10");
    assert!(lines.contains(&note), "{lines:?}");
    let record = &Folder::read(&out).unwrap().rounds[&1].clients[1];
    assert_eq!((record.num_examples, record.counted), (n, Some(10)));
    let manifest = effgan_fl::Ensemble::open(&out).unwrap().manifest().clone();
    assert_eq!(manifest.members.iter().map(|member| member.weight).collect::<Vec<_>>(), [20.0, 10.0, 20.0]);
    assert_ne!(hash(&out), hash(&plain));
}

#[test]
fn a_site_that_claims_almost_all_images_is_refused_or_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut grid = three(&folder);
    grid.change_reply = |node, _, mut content| {
        if node == 1 {
            content.numbers.insert("num-examples".into(), 9_007_199_254_740_991.0);
        }
        Ok(content)
    };
    let short = config(&["federation.deadline=0.5"]);
    let (outcome, lines) = run_over(&mut grid, &short, &folder.path().join("run"));
    assert!(outcome.unwrap_err().line().starts_with("2 of 3 sites connected"));
    let line = "node 1 cannot take part: it has 9007199254740991 images, and must have from 1 to 4294967296";
    assert!(lines.iter().any(|logged| logged == line), "{lines:?}");

    grid.change_reply = |node, _, mut content| {
        if node == 1 {
            content.numbers.insert("num-examples".into(), 4_000_000_000.0);
        }
        Ok(content)
    };
    let (outcome, lines) = run_over(&mut grid, &config(&[]), &folder.path().join("run"));
    outcome.unwrap();
    assert!(
        lines
            .iter()
            .any(|logged| logged.starts_with("client-0001 alone has 100 % of the weight, because it says it has ")),
        "{lines:?}"
    );
}

#[test]
fn heads_of_the_sites_ledgers_are_kept_and_a_malformed_one_makes_a_reply_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut grid = three(&folder);
    grid.change_reply = |node, kind, mut content| {
        let head = params::sha256(format!("{node} {kind}").as_bytes());
        let head = if (node, kind) == (2, "train") { "=1+1".into() } else { head };
        content.words.insert("ledger".into(), head);
        Ok(content)
    };
    run_over(&mut grid, &config(&[]), &out).0.unwrap();
    let sites = sites_of(&out).unwrap();
    assert_eq!(sites[0].ledger, Some(params::sha256(b"0 query")));
    let lines = fs::read_to_string(out.join(LEDGERS)).unwrap();
    let heads: Vec<LedgerHead> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Three introductions, two rounds of averaging by the two honest sites, and a collection of all three.
    assert_eq!(heads.len(), 3 + 2 * 2 + 3);
    let last = heads.iter().rfind(|head| head.client.as_str() == "client-0001").unwrap();
    assert_eq!((last.kind.as_str(), last.round), ("collect", Some(3)));
    assert_eq!(last.head, params::sha256(b"1 train.finetune"));
    assert_eq!(last.config_hash, params::sha256(config(&[]).for_sites().to_toml().as_bytes()));
    let unusable = ("client-0002".to_owned(), "the message's `ledger` is not a SHA-256".to_owned());
    assert_eq!(missing(&out), [unusable]);
}

#[test]
fn a_reply_may_be_as_long_as_its_tensors_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut grid = three(&folder);
    run_over(&mut grid, &config(&[]), &out).0.unwrap();
    let network = info_of(&out).unwrap().network;
    let [generator, discriminator] = [network.generator_values, network.discriminator_values].map(|n| 4 * n);
    let limits = [("query", 0), ("train", generator + discriminator), ("train.finetune", generator)];
    assert_eq!(grid.limits, limits.map(|(kind, bytes)| (kind.to_owned(), bytes + 65_536)).into());
}
