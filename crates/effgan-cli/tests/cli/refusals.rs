//! Mistakes, each of which is one line and an exit code.

use std::fs;

use crate::program::{effgan, failure, json, run_tiny, tiny_config};
use crate::tiny;

#[test]
fn nothing_is_overwritten() {
    let (folder, run, _) = tiny();
    let before = fs::read(run.join("run.json")).unwrap();
    let (code, line) = failure(&run_tiny(&run, &[]));
    assert_eq!(code, Some(2));
    assert!(line.contains("exists and nothing is overwritten; resume it with effgan resume "), "{line}");
    assert!(line.ends_with(", or choose another --out"), "{line}");
    assert_eq!(fs::read(run.join("run.json")).unwrap(), before);
    let png = folder.path().join("grid.png");
    fs::write(&png, "mine").unwrap();
    let output = effgan(&["sample", run.to_str().unwrap(), "--out", png.to_str().unwrap()]);
    assert_eq!(failure(&output).0, Some(2));
    assert_eq!(fs::read_to_string(png).unwrap(), "mine");
}

#[test]
fn a_path_that_cannot_be_written_is_code_2_and_one_line() {
    let (folder, run, _) = tiny();
    let nowhere = folder.path().join("nowhere/grid.png");
    let nowhere = nowhere.to_str().unwrap();
    for command in [
        &["sample", run.to_str().unwrap(), "--out", nowhere][..],
        &["partition", &tiny_config(), "--out", nowhere],
        &["features", "train", "mnist-mini", "--out", nowhere],
    ] {
        let (code, line) = failure(&effgan(command));
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains("nowhere is not a folder, so"), "{line}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let (code, line) = failure(&run_tiny(&file.join("run"), &[]));
    assert_eq!(code, Some(2), "{line}");
    assert!(line.starts_with("cannot make the run folder"), "{line}");
}

/// Fails before the run folder is made.
fn refused(settings: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let refused = failure(&run_tiny(&run, &settings));
    assert!(!run.exists(), "{refused:?} left a folder");
    refused
}

#[test]
fn a_wrong_config_is_code_2_and_one_line() {
    for (setting, said) in [
        ("local.epoch=3", "[local] unknown key `epoch`, expected one of"),
        ("partition.clients=121", "partition.clients = 121 is more than the 120 images to assign"),
        (
            "partition.min_examples=50",
            "partition.min_examples = 50 must be at most 40, as 3 clients share dataset.limit = 120 images",
        ),
        ("partition.min_examples=35", "fewer than min_examples = 35, with 3 clients"),
        ("dataset.limit=10001", "dataset.limit = 10001 must be from 1 to 10000"),
        ("dataset.name=mnist", "set dataset.dir to the folder with train-images-idx3-ubyte"),
        ("network.base_channels=0", "network.base_channels = 0 must be from 1 to 1024"),
        ("algorithm.rounds=4000000000", "algorithm.rounds = 4000000000 must be from 0 to 1000000"),
        ("local.batch_size=1", "local.batch_size = 1 must be from 2 to 65536"),
        ("evaluation.samples=20", "there is no image of class"),
        ("local.learning_rate=-1", "local.learning_rate = -1 must be above 0"),
        ("algorithm.cohort=1.5", "algorithm.cohort = 1.5 must be above 0 and at most 1"),
        ("evaluation.samples=2001", "evaluation.samples = 2001 must be from 2 to 2000"),
    ] {
        let (code, line) = refused(&[setting]);
        assert_eq!(code, Some(2), "{setting}: {line}");
        assert!(line.starts_with(&format!("{}: ", tiny_config())) && line.contains(said), "{setting}: {line}");
    }
    let dirichlet = "partition={ kind = \"dirichlet\", alpha = 0.01, clients = 7 }";
    let (code, line) = refused(&[dirichlet]);
    assert_eq!(code, Some(2));
    assert!(line.contains("alpha = 0.01 and 7 clients; raise alpha or lower clients or min_examples"), "{line}");
}

/// What `federation run`, `partition`, `run` and `sweep` say of the tiny config with `from` replaced by `to`, on a data set that is
/// nowhere, so that each of them fails; none may create anything.
fn refused_by_every_command(from: &str, to: &str) -> [(Option<i32>, String); 4] {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tiny = fs::read_to_string(tiny_config()).unwrap();
    assert!(tiny.contains(from), "{from}");
    let wrong = tiny.replace(from, to).replace("name = \"mnist-mini\"", "name = \"mnist\"\ndir = \"/nowhere\"");
    fs::write(path("wrong.toml"), wrong).unwrap();
    fs::write(path("a.sweep.toml"), "name = \"a\"\nconfig = \"wrong.toml\"\nseeds = [1]\n[[grids]]\n").unwrap();
    let (config, sweep) = (path("wrong.toml"), path("a.sweep.toml"));
    let (out, server) = (path("out"), path("server"));
    let commands = [
        &["federation", "run", &config, "--out", &out, "--server", &server][..],
        &["partition", &config, "--save", &out],
        &["run", &config, "--out", &out],
        &["sweep", &sweep, "--out", &out],
    ];
    commands.map(|command| {
        let refused = failure(&effgan(command));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{refused:?} left something");
        // Otherwise the config is right, and what fails is the data set or the server's folder, which are nowhere.
        let is_config = refused.0 == Some(2) && !refused.1.contains("is not a server folder");
        assert!(!is_config || refused.1.contains("wrong.toml: "), "{refused:?} does not name the file");
        refused
    })
}

#[test]
fn a_wrong_key_is_refused_by_every_command_before_data_are_read_or_anything_is_made() {
    let effgan = "kind = \"effgan\"\nrounds = 2\nfine_tune_epochs = 8";
    let md_gan = "loss = \"hinge\"\nema = 0.9\nepochs = 4\n\n[algorithm]\nkind = \"md-gan\"\nrounds = 2";
    let ua_gan = md_gan.replace("md-gan", "ua-gan").replace("ema = 0.9\n", "");
    let central = "kind = \"central\"\nrounds = 2\n\n[aggregation]\nkind = \"median\"";
    for (from, to, said) in [
        ("batch_size = 16", "batch_size = 16\nbeta1 = 2.0", "local.beta1 = 2.0 must be at least 0 and below 1"),
        ("batch_size = 16", "batch_size = 1", "local.batch_size = 1 must be from 2 to 65536"),
        ("batch_size = 16", "batch_size = 16\nsteps = 1", "set exactly one of local.epochs and local.steps"),
        ("\nepochs = 4", "", "set exactly one of local.epochs and local.steps"),
        ("rounds = 2", "rounds = 2\ncohort = 0.0", "algorithm.cohort = 0.0 must be above 0 and at most 1"),
        ("base_channels = 8", "base_channels = 0", "network.base_channels = 0 must be from 1 to 1024"),
        ("limit = 120", "limit = 0", "dataset.limit = 0 must be at least 1"),
        ("limit = 120", "size = 30\nchannels = 1", "images of 1 x 30 x 30 do not fit a dcgan"),
        ("limit = 120", "size = 30", "images of 1 x 30 x 30 do not fit a dcgan"),
        (
            "[local]",
            "[federation]\nclasses = [\"a\"]\n\n[local]",
            "federation.classes has length 1, and data set mnist has 10 classes; name all of them",
        ),
        ("classes_per_client = 5", "classes_per_client = 0", "partition.classes_per_client = 0 must be at least 1"),
        ("samples = 200", "samples = 1", "evaluation.samples = 1 must be at least 2"),
        (effgan, central, "aggregation.kind = \"median\" is not for central"),
        (&format!("epochs = 4\n\n[algorithm]\n{effgan}"), md_gan, "local.ema is not supported by md-gan; remove it"),
        (&format!("epochs = 4\n\n[algorithm]\n{effgan}"), &ua_gan, "local.loss must be non-saturating for ua-gan"),
    ] {
        for (code, line) in refused_by_every_command(from, to) {
            assert!(code == Some(2) && line.contains(said), "{line}");
        }
    }
}

#[test]
fn a_network_that_does_not_fit_a_data_set_whose_name_tells_its_images_is_refused_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (config, sweep, out, server) = (path("wrong.toml"), path("a.sweep.toml"), path("out"), path("server"));
    let tiny = fs::read_to_string(tiny_config()).unwrap();
    fs::write(&config, tiny.replace("kind = \"dcgan\"", "kind = \"resnet\"")).unwrap();
    fs::write(&sweep, "name = \"a\"\nconfig = \"wrong.toml\"\nseeds = [1]\n[[grids]]\n").unwrap();
    for command in [
        &["federation", "run", &config, "--out", &out, "--server", &server][..],
        &["partition", &config, "--save", &out],
        &["run", &config, "--out", &out],
        &["sweep", &sweep, "--out", &out],
    ] {
        let (code, line) = failure(&effgan(command));
        assert!(code == Some(2) && line.contains("wrong.toml: images of 1 x 28 x 28 do not fit a resnet"), "{line}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_does_not_suit_the_number_of_clients_is_refused_before_data_are_read_where_the_number_is_in_the_config() {
    let of_sites = "[federation]\nsites = [\"a\", \"b\"]\n\n[aggregation]\n";
    for (cohort, keys, said) in [
        ("", "min_clients = 9", "aggregation.min_clients = 9 must be at most"),
        ("", "kind = \"trimmed-mean\"\ntrim = 2", "aggregation.trim = 2 cuts 4 of"),
        ("", "max_share = 0.1", "aggregation.max_share = 0.1 is below"),
        (
            "cohort = 0.2\n",
            "min_clients = 2",
            "aggregation.min_clients = 2 must be at most 1, the number of clients that",
        ),
        ("cohort = 0.4\n", "kind = \"trimmed-mean\"\ntrim = 1", "aggregation.trim = 1 cuts 2 of "),
    ] {
        for (code, line) in
            refused_by_every_command("[evaluation]", &format!("{cohort}{of_sites}{keys}\n\n[evaluation]"))
        {
            assert!(code == Some(2) && line.contains(said), "{line}");
        }
    }
}

#[test]
fn what_no_simulation_can_do_is_refused_before_data_are_read_and_a_federation_does_not_ask() {
    let attack = "[simulation.attack]\nkind = \"scaled\"\nclients = 3\nfactor = 1.0\n\n[evaluation]";
    for (from, to, said) in [
        ("clients = 3", "clients = 121", "partition.clients = 121 is more than the 120 images to assign"),
        (
            "clients = 3",
            "clients = 3\nmin_examples = 41",
            "partition.min_examples = 41 must be at most 40, as 3 clients",
        ),
        ("[evaluation]", attack, "simulation.attack.clients = 3 must be below 3, the number of clients"),
    ] {
        let [_, partition, run, sweep] = refused_by_every_command(from, to);
        for (code, line) in [partition, run, sweep] {
            assert!(code == Some(2) && line.contains(said), "{line}");
        }
    }
    let strategy = "[federation]\nstrategy = { name = \"FedAdam\" }\n\n[evaluation]";
    let [_, partition, run, sweep] = refused_by_every_command("[evaluation]", strategy);
    for (code, line) in [run, sweep] {
        assert!(code == Some(2) && line.contains("federation.strategy names a strategy of Flower"), "{line}");
    }
    // The sites of a demonstration share the config's partition, which may be looked at: only its data are missing.
    assert!(partition.0 == Some(3) && partition.1.contains("/nowhere"), "{partition:?}");
}

#[test]
fn data_that_cannot_be_read_is_code_3_and_one_line() {
    let data = tempfile::tempdir().unwrap();
    let dir = format!("dataset.dir={}", data.path().display());
    let files = ["dataset.name=mnist", &dir];
    let (code, line) = refused(&files);
    assert_eq!(code, Some(3));
    assert!(line.contains("train-images-idx3-ubyte"), "{line}");
    // Headers that promise 60,000 images and labels, and nothing behind them.
    let header = [0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 28, 0, 0, 0, 28];
    fs::write(data.path().join("train-images-idx3-ubyte"), header).unwrap();
    fs::write(data.path().join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0xea, 0x60]).unwrap();
    let (code, line) = refused(&files);
    assert_eq!(code, Some(3));
    assert!(line.contains("truncated: expected 47040016 bytes in all, got 16"), "{line}");
}

#[test]
fn a_loss_that_is_not_finite_is_code_4_and_a_readable_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (code, line) = failure(&run_tiny(&run, &["--set", "local.learning_rate=1e30"]));
    assert_eq!(code, Some(4));
    assert!(line.contains("failed in round 1: the ") && line.contains("lower local.learning_rate"), "{line}");
    let info = json(&run.join("run.json"));
    assert_eq!(info["status"], "failed");
    assert_eq!(info["reason"], line);
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("lower local.learning_rate"));
}
