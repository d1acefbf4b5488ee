//! Runs some of whose clients send bad updates.

use std::collections::BTreeSet;

mod program;

use program::{effgan, failure, json, metrics, outcome, run_tiny};
use serde_json::Value;

const ATTACK: &str = "simulation.attack={ kind = \"random\", clients = 1, factor = 10.0 }";

fn texts(values: &[Value]) -> BTreeSet<&str> {
    values.iter().map(|value| value.as_str().unwrap()).collect()
}

/// Name, weight and flag of each member in the manifest.
fn members(run: &std::path::Path) -> Vec<(String, f64, Option<String>)> {
    let manifest = json(&run.join("model/manifest.json"));
    let member = |member: &Value| {
        let flagged = member["flagged"].as_str().map(str::to_owned);
        (member["name"].as_str().unwrap().to_owned(), member["weight"].as_f64().unwrap(), flagged)
    };
    manifest["members"].as_array().unwrap().iter().map(member).collect()
}

#[test]
fn an_attacker_is_named_and_flagged_and_left_out_when_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = run_tiny(&run, &["--set", ATTACK]);
    assert!(output.status.success(), "{output:?}");
    let info = json(&run.join("run.json"));
    let attackers = texts(info["attackers"].as_array().unwrap());
    assert_eq!(attackers.len(), 1);

    let flags: Vec<Value> = metrics(&run).into_iter().filter(|event| event["event"] == "flag").collect();
    assert_eq!(texts(&flags.iter().map(|flag| flag["client"].clone()).collect::<Vec<_>>()), attackers);
    for (name, weight, flagged) in members(&run) {
        assert!(weight > 0.0);
        assert_eq!(flagged.as_deref(), attackers.contains(name.as_str()).then(|| flags[0]["reason"].as_str().unwrap()));
    }
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(
        report.contains("is flagged as an outlier and keeps its share")
            && report.contains("attacks in this simulation")
    );

    // The rounds do not depend on this setting, so a finished run is only given another ensemble.
    let (hash, before) = outcome(&run);
    let resumed = effgan(&["resume", run.to_str().unwrap(), "--set", "aggregation.flagged=\"leave-out\""]);
    assert!(resumed.status.success(), "{resumed:?}");
    let (same, after) = outcome(&run);
    assert_eq!(hash, same);
    assert_ne!(before, after);
    for (name, weight, _) in members(&run) {
        assert_eq!(weight == 0.0, attackers.contains(name.as_str()));
    }
    // The attacker's generator is no longer drawn from, but can still be sampled by name.
    let grid = folder.path().join("grid.png");
    let name = *attackers.first().unwrap();
    let sampled =
        effgan(&["sample", run.to_str().unwrap(), "--num", "4", "--member", name, "--out", grid.to_str().unwrap()]);
    assert!(sampled.status.success(), "{sampled:?}");
}

#[test]
fn a_cap_is_what_the_largest_member_draws() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let quantity = "partition={ kind = \"quantity\", sigma = 1.5, clients = 4, min_examples = 8 }";
    let output = run_tiny(&run, &["--set", quantity, "--set", "aggregation.max_share=0.3"]);
    assert!(output.status.success(), "{output:?}");
    let members = members(&run);
    let total: f64 = members.iter().map(|(_, weight, _)| weight).sum();
    let largest = members.iter().map(|(_, weight, _)| weight / total).fold(0.0, f64::max);
    // f64 rounding of a few operations.
    assert!((largest - 0.3).abs() < 1e-12, "{members:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, line) in [
        ("aggregation.trim=1", "aggregation.trim is for kind = \"trimmed-mean\", but kind is \"mean\""),
        (
            "aggregation={ kind = \"trimmed-mean\", trim = 2 }",
            "aggregation.trim = 2 cuts 4 of 3 clients, and must leave at least one; lower it",
        ),
        (
            "aggregation.max_share=0.1",
            "aggregation.max_share = 0.1 is below 0.3333, an equal share of 3 clients; raise it",
        ),
        (
            "simulation.attack={ kind = \"scaled\", clients = 3, factor = 2.0 }",
            "simulation.attack.clients = 3 must be below 3, the number of clients",
        ),
    ] {
        let run = folder.path().join("run");
        let (code, said) = failure(&run_tiny(&run, &["--set", setting]));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.ends_with(line), "{said}");
        assert!(!run.exists());
    }
}
