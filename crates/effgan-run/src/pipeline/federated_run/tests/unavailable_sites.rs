//! Sites that connect late, cannot take part, or send replies that cannot be used.

use super::*;

#[test]
fn a_site_that_connects_after_a_resume_gets_the_request_that_waited_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (config(&["aggregation.min_clients=3"]), folder.path().join("run"));
    let sites = || (0..3).map(|i| assigned(&folder, i)).collect();
    let mut first = grid_of(sites());
    first.change_reply = |node, kind, content| {
        if (node, kind) == (1, "train.finetune") { Err("gone".into()) } else { Ok(content) }
    };
    assert!(run_over(&mut first, &config, &out).0.unwrap_err().line().contains("client-0001: gone"));
    let mut second = grid_of(sites());
    second.away = 2;
    run_over(&mut second, &config, &out).0.unwrap();
    assert_eq!(hash(&out), simulated(&config, &folder));
    let missing = Folder::read(&out).unwrap().rounds.into_values().map(|round| round.missing.len());
    assert_eq!(missing.sum::<usize>(), 0);
}

#[test]
fn a_site_that_fails_or_sends_infinities_in_its_turn_is_passed_over_and_named() {
    let turns = r#"algorithm={ kind = "cyclic-effgan", rounds = 3, fine_tune_epochs = 1 }"#;
    for is_hostile in [false, true] {
        let (folder, config) = (tempfile::tempdir().unwrap(), config(&[turns]));
        let out = folder.path().join("run");
        let mut grid = grid_of((0..3).map(|i| assigned(&folder, i)).collect());
        grid.change_reply = if is_hostile {
            |node, kind, mut content| {
                if (node, kind) == (1, "train") {
                    content.params.iter_mut().for_each(|(_, array)| array.values_mut().fill(f32::INFINITY));
                }
                Ok(content)
            }
        } else {
            |node, kind, content| if (node, kind) == (1, "train") { Err("gone".into()) } else { Ok(content) }
        };
        run_over(&mut grid, &config, &out).0.unwrap();
        let rounds: Vec<_> = Folder::read(&out).unwrap().rounds.into_values().collect();
        let missing: Vec<_> = rounds.iter().flat_map(|round| &round.missing).map(|one| one.name.as_str()).collect();
        assert_eq!(missing, ["client-0001"]);
        assert_eq!(rounds.last().unwrap().clients.len(), 3);
    }
}

#[test]
fn when_nobody_can_take_part_the_run_ends_at_once_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    // Two clients of two classes each leave six of ten classes to nobody, which no site can change.
    let config = config(&["partition.clients=2", "partition.classes_per_client=2"]);
    let sites = (0..2).map(|i| assigned(&folder, i)).collect();
    let line = run_over(&mut grid_of(sites), &config, &folder.path().join("run")).0.unwrap_err().line();
    // The reason is in the sites' own logs.
    assert!(line.starts_with("no site can take part: refused: data-unusable (its operator must run "), "{line}");
}

#[test]
fn a_config_that_no_federation_can_run_is_refused_before_any_site_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let central = TINY.replace("kind = \"effgan\"", "kind = \"central\"").replace("fine_tune_epochs = 8\n", "");
    let central = Config::parse(&central, &[]).unwrap();
    for (config, reason) in [
        (central, "algorithm.kind = \"central\" trains on all images in one place"),
        (config(&["simulation.dropout=0.5"]), "[simulation] describes simulated dropouts and attackers"),
        (
            config(&["network.norm=group", "privacy={ noise_multiplier = 1.0, insecure_seed = 1 }"]),
            "privacy.insecure_seed makes nothing private and is for simulations alone",
        ),
        (
            of_folders(&["aggregation.min_clients=3"]),
            "aggregation.min_clients = 3 must be at most 2, the number of clients",
        ),
    ] {
        let error = run_over(&mut grid_of(Vec::new()), &config, &folder.path().join("run")).0.unwrap_err().line();
        assert!(error.starts_with(reason), "{error}");
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_site_that_cannot_take_part_is_reported_with_the_reason_and_the_run_waits_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let sites = (0..4).map(|i| assigned(&folder, [0, 0, 1, 7][i])).collect();
    let config = config(&["federation.deadline=0.5"]);
    let mut grid = grid_of(sites);
    grid.change_reply = |node, _, mut content| {
        if node == 2 {
            content.words.insert("version".into(), "9.9.9".into());
        }
        Ok(content)
    };
    let (outcome, lines) = run_over(&mut grid, &config, &folder.path().join("run"));
    let line = outcome.unwrap_err().line();
    let (first, last) =
        ("1 of 3 sites connected within 0.5 s; node ", "; start their nodes, or raise federation.deadline");
    assert!(line.starts_with(first) && line.ends_with(last), "{line}");
    for reason in [
        "another node is already client-0000; give each site its own name",
        "client-0001 has effgan 9.9.9, the server has 0.1.0",
        "refused: data-unusable (its operator must run effgan federation check)",
    ] {
        assert!(lines.iter().any(|logged| logged.contains(reason)) && line.contains(reason), "{reason}: {lines:?}");
    }
    let mut config = config;
    config.federation.sites = Some(["client-0000", "north"].map(|name| ClientName::new(name).unwrap()).into());
    let (outcome, lines) =
        run_over(&mut grid_of(vec![assigned(&folder, 0), assigned(&folder, 1)]), &config, &folder.path().join("run"));
    assert!(outcome.unwrap_err().line().starts_with("1 of 2 sites connected within 0.5 s, without north; "));
    assert!(lines.iter().any(|line| line.contains("client-0001 is not one of federation.sites")), "{lines:?}");
}

#[test]
fn a_site_whose_reply_cannot_be_used_is_left_out_of_the_round_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut grid = grid_of((0..3).map(|i| assigned(&folder, i)).collect());
    grid.change_reply = |node, kind, mut content| match (node, kind) {
        (0, "train") => Err("the disk is full (Flower's error 2)".into()),
        (1, "train") => {
            let bad: f64 = content.numbers["num-examples"] + 0.5;
            content.numbers.insert("num-examples".into(), bad);
            Ok(content)
        }
        _ => Ok(content),
    };
    run_over(&mut grid, &config(&[]), &out).0.unwrap();
    let folder = Folder::read(&out).unwrap();
    let reasons: Vec<&str> = folder.rounds[&1].missing.iter().map(|missing| missing.reason.as_str()).collect();
    assert_eq!(reasons[0], "the disk is full (Flower's error 2)");
    assert!(reasons[1].starts_with("the message's `num-examples` is ") && reasons[1].ends_with("which is not a count"));
    assert_eq!(folder.rounds[&3].clients.len(), 3, "they take part again");
}

#[test]
fn a_site_that_stops_at_the_deadline_reports_it_and_keeps_its_work() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // A million epochs take hours; the site checks the time after each step.
    let config = config(&["local.epochs=1000000", "federation.deadline=1", "aggregation.min_clients=1"]);
    let error =
        run_over(&mut grid_of((0..3).map(|i| assigned(&folder, i)).collect()), &config, &out).0.unwrap_err().line();
    assert!(
        error.starts_with("0 of 3 clients gave a usable reply in round 1, and at least 1 must; client-0000: "),
        "{error}"
    );
    let events = RunDir::open(&out, info_of(&out).unwrap()).unwrap().events().unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::Round(_))));
    let state: PathBuf = folder.path().join("state-0");
    assert!(state.is_dir(), "its unfinished work is kept at the site");
}
