//! Runs without failures come to the simulation's hash, are resumed, extended and averaged by a strategy.

use effgan_fl::FlError;
use effgan_nn::ArithmeticVersion;

use super::*;
use crate::failure::Kind;

#[test]
fn sites_reach_the_simulations_hash_and_a_second_start_has_nothing_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (config(&[]), folder.path().join("run"));
    let sites = || (0..3).map(|i| assigned(&folder, i)).collect();
    let (outcome, lines) = run_over(&mut grid_of(sites()), &config, &out);
    outcome.unwrap();
    assert_eq!(hash(&out), simulated(&config, &folder));
    assert!(lines.iter().any(|line| line.starts_with("round 1   averaged 3 clients: loss D ")), "{lines:?}");
    let (outcome, lines) = run_over(&mut grid_of(sites()), &config, &out);
    assert_eq!((outcome.is_ok(), lines), (true, vec![format!("{} is done", out.display())]));
    let other = Config { seed: 9, ..config };
    let error = run_over(&mut grid_of(sites()), &other, &out).0.unwrap_err().line();
    assert!(
        error.ends_with(
            " would be resumed, and may not change seed from 1 to 9; choose another out folder, or restore the config"
        ),
        "{error}"
    );
    let error = crate::pipeline::resume(&out, &[], on(1, &quiet())).unwrap_err().line();
    assert!(
        error.ends_with(
            "is the run folder of a federation, whose images are at the sites; resume it with effgan federation run"
        ),
        "{error}"
    );
}

#[test]
fn sites_with_their_own_hold_outs_reach_the_hash_of_a_simulation_of_these() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&[]);
    let site = |i: usize| {
        let site = folder.path().join(format!("site-{i}"));
        fs::create_dir_all(&site).unwrap();
        fs::write(site.join("policy.toml"), "approve = \"any\"\nmin_images = 10\n").unwrap();
        SiteSettings { policy: Some(site.join("policy.toml")), ..assigned(&folder, i) }
    };
    let out = folder.path().join("run");
    run_over(&mut grid_of((0..3).map(site).collect()), &config, &out).0.unwrap();

    let partition = Partition { clients: (0..3).map(|i| split(&site(i), config.clone()).unwrap()).collect() };
    let path = folder.path().join("partition.json");
    fs::write(&path, serde_json::to_vec(&partition).unwrap()).unwrap();
    let of_file = Config { partition: PartitionConfig::File(PartitionFile { path }), ..config.clone() };
    assert_eq!(hash(&out), simulated(&of_file, &folder));
    assert_ne!(partition, config.deal(&config.load_dataset().unwrap()).unwrap(), "the seed's hold-outs differ");
}

#[test]
fn a_run_that_is_extended_continues_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (short, long, out) = (config(&[]), config(&["algorithm.rounds=3"]), folder.path().join("run"));
    let sites = || (0..3).map(|i| assigned(&folder, i)).collect();
    run_over(&mut grid_of(sites()), &short, &out).0.unwrap();
    let (outcome, lines) = run_over(&mut grid_of(sites()), &long, &out);
    outcome.unwrap();
    assert!(lines[0].ends_with("resumes after round 2"), "{lines:?}");
    assert_eq!(hash(&out), simulated(&long, &folder));
}

#[test]
fn a_strategy_replaces_the_averaging_and_its_memory_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let sites = || (0..3).map(|i| assigned(&folder, i)).collect();
    let strategy = "federation.strategy={ name = \"Counted\", step = 0.5 }";
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    run_over(&mut grid_of(sites()), &config(&[strategy]), &whole).0.unwrap();
    // The first run ends before the collection, after all its rounds.
    let mut first = grid_of(sites());
    first.change_reply = |_, kind, content| {
        if kind == "train.finetune" { Err("gone".into()) } else { Ok(content) }
    };
    let strict = config(&[strategy, "aggregation.min_clients=3"]);
    assert!(run_over(&mut first, &strict, &cut).0.unwrap_err().line().contains("client-0000: gone"));
    run_over(&mut grid_of(sites()), &strict, &cut).0.unwrap();
    assert_eq!(hash(&cut), hash(&whole));
    assert_ne!(hash(&whole), simulated(&config(&[]), &folder));
    let error = run(&strict, &folder.path().join("no"), on(1, &quiet())).unwrap_err().line();
    assert!(
        error.starts_with("federation.strategy names a strategy of Flower, which a simulation does not use"),
        "{error}"
    );
    let median = config(&[strategy, "aggregation.kind=median"]);
    let error = run_over(&mut grid_of(sites()), &median, &folder.path().join("no")).0.unwrap_err().line();
    assert!(
        error.starts_with("federation.strategy replaces the mean of effgan, fedgan, fedprox; remove it"),
        "{error}"
    );
}

#[test]
fn a_run_of_another_arithmetic_is_not_extended_and_no_site_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (short, long, out) = (config(&[]), config(&["algorithm.rounds=3"]), folder.path().join("run"));
    let sites = || (0..3).map(|i| assigned(&folder, i)).collect();
    run_over(&mut grid_of(sites()), &short, &out).0.unwrap();
    let earlier = RunInfo { arithmetic_version: ArithmeticVersion(1), ..info_of(&out).unwrap() };
    fs::write(out.join("run.json"), serde_json::to_vec(&earlier).unwrap()).unwrap();
    let mut grid = grid_of(sites());
    let error = run_over(&mut grid, &long, &out).0.unwrap_err();
    let line = FlError::OtherArithmetic { path: out.clone(), version: ArithmeticVersion(1) }.to_string();
    assert_eq!((error.kind(), error.line()), (Kind::Data, line));
    assert!(grid.asked.is_empty());
    let (outcome, lines) = run_over(&mut grid, &short, &out);
    assert_eq!((outcome.is_ok(), lines), (true, vec![format!("{} is done", out.display())]));
}
