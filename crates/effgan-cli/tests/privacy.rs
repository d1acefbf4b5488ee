//! Private training, from its config to its report.

mod program;

use std::fs;

use program::{effgan, failure, json, run_tiny, stdout, tiny_config};
use serde_json::Value;
use tempfile::TempDir;

/// A tiny run with `[privacy]` and these settings.
fn private_run(more: &[&str]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["network.norm=group", "local.epochs=1", "algorithm.fine_tune_epochs=2", "privacy.delta=0.001"];
    let settings: Vec<&str> = settings.iter().chain(more).flat_map(|setting| ["--set", setting]).collect();
    let output = run_tiny(&folder.path().join("run"), &settings);
    assert!(output.status.success(), "{output:?}");
    let said = stdout(&output);
    (folder, said)
}

fn info(folder: &TempDir) -> Value {
    json(&folder.path().join("run/run.json"))
}

#[test]
fn a_run_says_before_it_trains_what_it_costs_each_client() {
    for updates_per_step in [1.0, 2.0] {
        says_what_it_costs(updates_per_step);
    }
}

fn says_what_it_costs(updates_per_step: f64) {
    let steps = format!("local.discriminator_steps={updates_per_step}");
    let (folder, said) = private_run(&["privacy.noise_multiplier=1.5", &steps]);
    let (info, report) = (info(&folder), fs::read_to_string(folder.path().join("run/report.html")).unwrap());
    let statements = info["privacy"].as_array().unwrap();
    assert_eq!(statements.iter().map(|of| of["clients"].as_u64().unwrap()).sum::<u64>(), 3);
    let first_round = said.find("round 1").unwrap();
    for statement in statements {
        let number = |key: &str| statement[key].as_f64().unwrap();
        // Two rounds of an epoch and two epochs of fine-tuning, in batches of 16; all updates of a step count.
        let updates = 4.0 * (number("images") / (16.0 * updates_per_step)).ceil() * updates_per_step;
        assert_eq!(number("updates"), updates, "{statement}");
        assert_eq!(number("sample_rate"), 16.0 / number("images"), "{statement}");
        let line =
            format!("with {} images ({}; one image", number("images"), statement["accountant"].as_str().unwrap());
        assert!(said.find(&line).is_some_and(|at| at < first_round), "{line} is not in {said}");
        let (rate, updates) = (number("sample_rate").to_string(), number("updates").to_string());
        let settings = ["--noise-multiplier", "1.5", "--sample-rate", &rate, "--steps", &updates, "--delta", "0.001"];
        let told = effgan(&[&["privacy", "epsilon", "--json"], &settings[..]].concat());
        let told: Value = serde_json::from_str(&stdout(&told)).unwrap();
        assert_eq!(told["epsilon"], statement["epsilon"]);
    }
    assert!(report.contains("privacy: ε = ") && report.contains("one image added or removed"));
}

#[test]
fn a_target_is_never_exceeded() {
    let (folder, _) = private_run(&["privacy.target_epsilon=3.0"]);
    for statement in info(&folder)["privacy"].as_array().unwrap() {
        let epsilon = statement["epsilon"].as_f64().unwrap();
        assert!(epsilon <= 3.0 && epsilon > 2.99, "{statement}");
    }
}

/// The server knows the run's seed.
#[test]
fn samples_and_noise_do_not_follow_from_the_seed_unless_a_test_asks_for_it() {
    let hash = |more: &[&str]| {
        let (folder, said) = private_run(more);
        let hash = info(&folder)["model_hash"].as_str().unwrap().to_owned();
        (hash, said, fs::read_to_string(folder.path().join("run/report.html")).unwrap())
    };
    let secret = ["privacy.noise_multiplier=1.0"];
    assert_ne!(hash(&secret).0, hash(&secret).0);
    let insecure = |seed| ["privacy.noise_multiplier=1.0", seed];
    let (first, said, report) = hash(&insecure("privacy.insecure_seed=7"));
    assert_eq!(first, hash(&insecure("privacy.insecure_seed=7")).0);
    assert_ne!(first, hash(&insecure("privacy.insecure_seed=8")).0);
    assert!(said.contains("privacy: NONE"), "{said}");
    assert!(report.contains("privacy: NONE"));
}

#[test]
fn what_cannot_be_private_is_refused_with_the_reason() {
    let refused = |settings: &[&str]| {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let args: Vec<&str> = settings.collect();
        let (code, line) = failure(&effgan(&[&["run", &tiny_config(), "--out", "/nowhere/run"], &args[..]].concat()));
        assert_eq!(code, Some(2), "{line}");
        line
    };
    let noise = "privacy.noise_multiplier=1.0";
    for (settings, reason) in [
        (&[noise][..], "network.norm = \"batch\" mixes the images of a batch in the discriminator"),
        (&[noise, "network.norm=none"], "privacy.delta = 0.1 must be below 1/n for a client with n ="),
        (&["network.norm=none", "privacy.clip=1.0"], "[privacy] missing key `target_epsilon`"),
        (&["network.norm=none", noise, "privacy.target_epsilon=1.0"], "are both set; remove one"),
        (&["network.norm=none", noise, "local.precision=bf16"], "local.precision must be f32 with [privacy]"),
        (
            &["network.norm=none", noise, "algorithm={ kind = \"md-gan\", rounds = 1 }"],
            "algorithm.kind = \"md-gan\" sends gradients and discriminators that no noise hides",
        ),
    ] {
        let delta = if reason.contains("privacy.delta") { "privacy.delta=0.1" } else { "privacy.delta=0.001" };
        let line = refused(&[settings, &[delta]].concat());
        assert!(line.contains(reason), "{settings:?}: {line}");
    }
}

/// Without training, and for sites that are not there.
#[test]
fn a_plan_says_what_a_run_would() {
    let (folder, _) = private_run(&["privacy.target_epsilon=3.0"]);
    let config = folder.path().join("run/config.toml");
    let plan = |more: &[&str]| effgan(&[&["privacy", "plan", config.to_str().unwrap()], more].concat());
    let stated = info(&folder)["privacy"].clone();
    assert_eq!(serde_json::from_str::<Value>(&stdout(&plan(&["--json"]))).unwrap(), stated);
    let of = &stated[0];
    let images = of["images"].to_string();
    let site: Value = serde_json::from_str(&stdout(&plan(&["--images", &images, "--json"]))).unwrap();
    assert_eq!(
        ["noise_multiplier", "updates", "epsilon"].map(|key| &site[0][key]),
        ["noise_multiplier", "updates", "epsilon"].map(|key| &of[key])
    );
    assert!(stdout(&plan(&[])).contains(&format!("{images} ")));
    assert!(failure(&plan(&["--images", "0"])).1.contains("--images has 0, and each number must be at least 1"));
    // Of persons, their number counts.
    let persons = |more: &[&str]| {
        plan(
            &[&["--set", r#"dataset={ name = "folder", dir = "x", size = 28, channels = 1, person = 2 }"#][..], more]
                .concat(),
        )
    };
    let of = |more: &[&str]| serde_json::from_str::<Value>(&stdout(&persons(&[more, &["--json"]].concat()))).unwrap();
    let [few, many] = ["50", "400"].map(|n| of(&["--images", "400", "--persons", n])[0].clone());
    assert_eq!((&few["persons"], &few["updates"]), (&50.into(), &many["updates"]));
    assert!(few["noise_multiplier"].as_f64() > many["noise_multiplier"].as_f64(), "{few} {many}");
    for (more, said) in [
        (&["--images", "400"][..], "--persons must have as many numbers as --images, 1 and not 0"),
        (&["--images", "400", "--persons", "0"], "--persons has 0, and each number"),
        (&["--images", "400", "--persons", "401"], "--persons has 401 for 400 images; each person has one at least"),
    ] {
        let (_, line) = failure(&persons(more));
        assert!(line.contains(said), "{line}");
    }
    assert!(
        failure(&plan(&["--images", "9", "--persons", "3"]))
            .1
            .contains("--persons is for a config with dataset.person")
    );
    let (_, plain) = failure(&effgan(&["privacy", "plan", &tiny_config()]));
    assert!(plain.contains("there is no [privacy] table"), "{plain}");
}

/// `fedgan` over three clients whose server averages with noise.
const PRIVATE_MEAN: [&str; 4] = [
    "network.norm=group",
    "algorithm={ kind = \"fedgan\", rounds = 2 }",
    "local.epochs=1",
    "aggregation={ kind = \"private-mean\", clip = 1.0, noise_multiplier = 2.0, delta = 0.001 }",
];

fn private_mean(run: &std::path::Path, more: &[&str]) -> std::process::Output {
    run_tiny(run, &PRIVATE_MEAN.iter().chain(more).flat_map(|setting| ["--set", *setting]).collect::<Vec<_>>())
}

#[test]
fn averaging_with_noise_says_what_it_costs_each_client_and_that_three_are_too_few() {
    let folder = tempfile::tempdir().unwrap();
    let (run, again) = (folder.path().join("run"), folder.path().join("again"));
    let said = stdout(&private_mean(&run, &[]));
    let info = json(&run.join("run.json"));
    let statement = &info["client_privacy"];
    assert_eq!((statement["clients"].as_u64(), statement["rounds"].as_u64()), (Some(3), Some(2)));
    let settings = ["--noise-multiplier", "2", "--sample-rate", "1", "--steps", "2", "--delta", "0.001"];
    let told = effgan(&[&["privacy", "epsilon", "--json"], &settings[..]].concat());
    let told: Value = serde_json::from_str(&stdout(&told)).unwrap();
    assert_eq!(told["epsilon"], statement["epsilon"]);
    let network = &info["network"];
    let values = network["generator_values"].as_f64().unwrap() + network["discriminator_values"].as_f64().unwrap();
    let ratio = statement["noise_to_update"].as_f64().unwrap();
    assert!((ratio / (2.0 * values.sqrt() / 3.0) - 1.0).abs() < 1e-9, "{ratio}");
    for line in ["privacy of clients: ε = ", "any mean of 3 clients' updates; private-mean is for 500 clients or more"]
    {
        assert!(said.find(line).is_some_and(|at| at < said.find("round 1").unwrap()), "{said}");
    }
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("privacy of clients: ε = "));
    // The noise is not that of the seed.
    private_mean(&again, &[]);
    assert_ne!(json(&again.join("run.json"))["model_hash"], info["model_hash"]);
    // More rounds would cost more than was said.
    let extended = effgan(&["resume", run.to_str().unwrap(), "--set", "algorithm.rounds=3"]);
    assert!(failure(&extended).1.contains("algorithm.rounds"), "{extended:?}");
}

#[test]
fn the_servers_optimisers_take_a_noisy_mean() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, more) in [("fedadam", ""), ("fedyogi", ""), ("fedprox", ", mu = 0.1")] {
        let algorithm = format!("algorithm={{ kind = \"{kind}\", rounds = 2{more} }}");
        let output = private_mean(&folder.path().join(kind), &[&algorithm]);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn averaging_with_noise_is_refused_where_it_would_hide_nothing_or_break_a_network() {
    let folder = tempfile::tempdir().unwrap();
    for (settings, reason) in [
        (["network.norm=batch"], "noise would make running variances negative; take \"group\" or \"none\""),
        (["algorithm={ kind = \"md-gan\", rounds = 2 }"], "\"private-mean\" is not for md-gan"),
        (["algorithm={ kind = \"local-ensemble\", rounds = 1 }"], "is not for local-ensemble"),
        (["federation.strategy={ name = \"FedAvg\" }"], "federation.strategy averages without the noise"),
        (["aggregation.clip=0.0"], "aggregation.clip = 0.0 must be above 0 and finite"),
    ] {
        let (_, error) = failure(&private_mean(&folder.path().join("run"), &settings));
        assert!(error.contains(reason), "{error}");
    }
}
