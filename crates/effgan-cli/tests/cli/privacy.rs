//! `effgan privacy`

use serde_json::Value;

use crate::program::{effgan, failure, stdout};

/// The setting whose ε is known: by RDP 7.329111 (Opacus 1.6), by PLD 6.76878 (dp-accounting 0.6).
const SETTING: [&str; 6] = ["--sample-rate", "0.04", "--steps", "2250", "--delta", "1e-5"];

/// What `effgan privacy …` prints of the known setting.
fn privacy(command: &[&str], more: &[&str]) -> String {
    let output = effgan(&[&["privacy"], command, &SETTING, more].concat());
    assert!(output.status.success(), "{output:?}");
    stdout(&output)
}

fn number(cost: &Value, key: &str) -> f64 {
    cost[key].as_f64().unwrap_or_else(|| panic!("{key} is not a number in {cost}"))
}

#[test]
fn the_cost_names_both_accountants_the_unit_and_the_assumption() {
    let said = privacy(&["epsilon", "--noise-multiplier", "1.5"], &[]);
    // By PLD, 6.76878 and less than 2e-4 of grid error.
    let lines: Vec<&str> = said.lines().collect();
    let [first, rdp, pld, setting, assumption] = lines[..] else { panic!("{said}") };
    assert!(first.starts_with("epsilon 6.768") || first.starts_with("epsilon 6.769"), "{said}");
    assert!(first.ends_with(" at delta 1e-5, by pld, for one record added or removed"), "{said}");
    assert_eq!(rdp, "  by rdp: 7.32912");
    assert!(pld.starts_with("  by pld: 6.76") && pld.ends_with("  counts, as the smaller one"), "{said}");
    assert_eq!(setting, "noise multiplier 1.5, 2250 steps at sample rate 0.04");
    assert!(assumption.starts_with("assumes Poisson sampling: "), "{said}");
}

#[test]
fn the_cost_is_one_json_object() {
    let cost: Value = serde_json::from_str(&privacy(&["epsilon", "--noise-multiplier", "1.5"], &["--json"])).unwrap();
    assert_eq!(
        [&cost["accountant"], &cost["unit"], &cost["sampling"]],
        ["pld", "one record added or removed", "poisson"]
    );
    assert_eq!((number(&cost, "epsilon"), &cost["steps"]), (number(&cost, "pld"), &Value::from(2250)));
    assert!((number(&cost, "rdp") - 7.329_111).abs() < 1e-6, "{cost}");
    assert!((number(&cost, "pld") - 6.768_78).abs() < 3e-4, "{cost}");
}

#[test]
fn the_noise_of_a_budget_is_that_of_the_known_setting() {
    let cost: Value = serde_json::from_str(&privacy(&["noise", "--target-epsilon", "6.76878"], &["--json"])).unwrap();
    // The tolerance of the search is 1e-4 of it, as is the error of the grid.
    assert!((number(&cost, "noise_multiplier") - 1.5).abs() < 5e-4, "{cost}");
    assert!(number(&cost, "epsilon") <= 6.76878, "{cost}");
    let said = privacy(&["noise", "--target-epsilon", "6.76878"], &[]);
    assert!(said.contains(&format!("noise multiplier {}, 2250 steps", cost["noise_multiplier"])), "{said}");
}

#[test]
fn a_cost_that_cannot_be_stated_is_code_2_and_one_line() {
    let no_noise = [&["privacy", "epsilon", "--noise-multiplier", "0"][..], &SETTING].concat();
    let (code, line) = failure(&effgan(&no_noise));
    assert_eq!(
        (code, &*line),
        (Some(2), "noise multiplier 0.0 must be from 0.05 to 1000000.0; below, the noise hides no record")
    );
    let no_budget = [&["privacy", "noise", "--target-epsilon", "-1"][..], &SETTING].concat();
    assert_eq!(failure(&effgan(&no_budget)).0, Some(2));
    let no_budget = [&["privacy", "noise", "--target-epsilon", "0"][..], &SETTING].concat();
    let (code, line) = failure(&effgan(&no_budget));
    assert_eq!((code, &*line), (Some(2), "target epsilon 0.0 must be above 0 and finite; give a budget, such as 10"));
}
