//! `effgan audit`: what samples of each member tell of its training images.

use serde_json::Value;

use crate::program::{effgan, failure, run_tiny, stdout};

/// A run whose members were fine-tuned for so many epochs on half of 40 digits each, and its audit.
fn audited(epochs: usize) -> Value {
    let place = tempfile::tempdir().unwrap();
    let run = place.path().join("run");
    let fine_tuning = format!("algorithm.fine_tune_epochs={epochs}");
    let partition = r#"partition={ kind = "iid", clients = 3, held_out = 0.5 }"#;
    assert!(run_tiny(&run, &["--set", &fine_tuning, "--set", partition]).status.success());
    let of = |jobs: &str| {
        let output = effgan(&["audit", run.to_str().unwrap(), "--num", "1000", "--json", "--jobs", jobs]);
        assert!(output.status.success(), "{output:?}");
        stdout(&output)
    };
    let text = of("2");
    assert_eq!(text, of("1"));
    serde_json::from_str(&text).unwrap()
}

/// An average has seen the images of all clients; without a round there is none, and without members no ensemble.
#[test]
fn the_averaged_generator_and_the_ensemble_are_audited_among_the_images_of_all_clients() {
    let place = tempfile::tempdir().unwrap();
    let audit = |algorithm: &str| -> Value {
        let run = place.path().join(algorithm.replace(|c: char| !c.is_ascii_alphanumeric(), ""));
        let partition = r#"partition={ kind = "iid", clients = 3, held_out = 0.5 }"#;
        assert!(
            run_tiny(&run, &["--set", &format!("algorithm={{ {algorithm} }}"), "--set", partition]).status.success()
        );
        serde_json::from_str(&stdout(&effgan(&["audit", run.to_str().unwrap(), "--num", "100", "--json"]))).unwrap()
    };
    let sizes = |audit: &Value, whole: &str| {
        audit.get(whole).map(|whole| [&whole["num_train"], &whole["num_held_out"]].map(|n| n.as_u64().unwrap()))
    };
    for (algorithm, average, ensemble, members) in [
        (r#"kind = "fedgan", rounds = 1"#, Some([60, 60]), None, 0),
        (r#"kind = "effgan", rounds = 1, fine_tune_epochs = 1"#, Some([60, 60]), Some([60, 60]), 3),
        (r#"kind = "local-ensemble", rounds = 1"#, None, Some([60, 60]), 3),
    ] {
        let audit = audit(algorithm);
        assert_eq!((sizes(&audit, "average"), sizes(&audit, "ensemble")), (average, ensemble), "{algorithm}");
        assert_eq!(audit["members"].as_array().unwrap().len(), members);
        // An average began with nothing; what its members add to it is another question.
        let attacks = |whole: &str| audit.get(whole).map(|whole| whole["attacks"].as_array().unwrap().len());
        assert_eq!(attacks("average"), average.map(|_| 4));
        assert_eq!(attacks("ensemble"), ensemble.map(|_| if average.is_some() { 8 } else { 4 }));
    }
}

/// The mean over the members of the area under the curve of the calibrated attack by nearest samples, on pixels.
fn mean_auc(audit: &Value) -> f64 {
    let members = audit["members"].as_array().unwrap();
    let attack = |member: &Value| {
        let attacks = member["attacks"].as_array().unwrap();
        let is_it = |attack: &&Value| {
            attack["attack"] == "nearest-sample" && attack["space"] == "pixels" && attack["is_calibrated"] == true
        };
        attacks.iter().find(is_it).unwrap()["auc"].as_f64().unwrap()
    };
    members.iter().map(attack).sum::<f64>() / members.len() as f64
}

#[test]
fn members_that_were_fine_tuned_for_long_give_more_of_their_images_away_than_others() {
    let [short, long] = [1, 500].map(audited);
    let member = &short["members"][0];
    assert_eq!(
        (&member["member"], &member["num_train"], &member["num_held_out"]),
        (&"client-0000".into(), &20.into(), &20.into())
    );
    // Two attacks in two spaces, plain and calibrated.
    assert_eq!((short["members"].as_array().unwrap().len(), member["attacks"].as_array().unwrap().len()), (3, 8));
    // The mean of three areas among 20 and 20 images has a standard error of 0.05 at 0.5.
    let [short, long] = [short, long].map(|audit| mean_auc(&audit));
    assert!((short - 0.5).abs() < 0.15 && long > short + 0.03 && long > 0.53, "{short} {long}");
}

#[test]
fn what_cannot_be_audited_is_said_in_one_line() {
    let place = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let run = place.path().join(name);
        assert!(run_tiny(&run, more).status.success());
        run
    };
    let audit = |run: &std::path::Path| effgan(&["audit", run.to_str().unwrap(), "--num", "100"]);
    let at_sites = run("sites", &[]);
    std::fs::remove_file(at_sites.join("partition.json")).unwrap();
    let (code, line) = failure(&audit(&at_sites));
    assert_eq!(code, Some(2));
    assert!(line.ends_with("stayed at its sites: there is nothing here to audit with"), "{line}");
    let (_, line) = failure(&audit(&place.path().join("nowhere")));
    assert!(line.ends_with("nowhere does not exist; pass a run folder"), "{line}");
    let (_, line) = failure(&audit(&place.path().join("sites/model")));
    assert!(line.contains("sites/model is no run folder: it has no config.toml"), "{line}");
    let alone = run("alone", &["--set", "partition.held_out=0.0"]);
    let text = stdout(&audit(&alone));
    let line = " of its images trained and 0 were held out, and 20 of both are needed; a larger partition.held_out holds out more";
    assert!(text.contains("note: client-0000 is not audited: ") && text.contains(line), "{text}");
}

/// Which images trained is known by their places: with other images, the audit would be of nothing.
#[test]
fn images_that_were_added_since_are_found_out() {
    let place = tempfile::tempdir().unwrap();
    let (pictures, run) = (place.path().join("pictures"), place.path().join("run"));
    for (class, shade) in [("a", 60), ("b", 200)] {
        std::fs::create_dir_all(pictures.join(class)).unwrap();
        for i in 0..30_u8 {
            let picture = image::GrayImage::from_pixel(16, 16, image::Luma([shade + i]));
            picture.save(pictures.join(class).join(format!("{i:02}.png"))).unwrap();
        }
    }
    let dataset = format!("dataset={{ name = \"folder\", dir = {pictures:?} }}");
    let partition = r#"partition={ kind = "iid", clients = 2, held_out = 0.5, min_examples = 4 }"#;
    assert!(run_tiny(&run, &["--set", &dataset, "--set", partition, "--set", "evaluation.samples=6"]).status.success());
    let audit = || effgan(&["audit", run.to_str().unwrap(), "--num", "50"]);
    assert!(audit().status.success());
    let more = image::GrayImage::from_pixel(16, 16, image::Luma([9]));
    more.save(pictures.join("a/0.png")).unwrap();
    let (code, line) = failure(&audit());
    assert_eq!(code, Some(3));
    assert!(
        line.contains("are not those that ")
            && line.ends_with("some were added, removed, changed or moved; restore them"),
        "{line}"
    );
}
