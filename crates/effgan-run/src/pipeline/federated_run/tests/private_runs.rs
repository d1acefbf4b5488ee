//! Private training over sites: each plans its own noise and keeps account of what leaves, and the server knows the heads of their ledgers.

use effgan_data::partition::PartitionFile;
use effgan_fl::policy::{Amount, PrivateUpdates};

use super::*;
use crate::protocol::ledger::{Entry, Ledger};
use crate::protocol::test_servers;

/// Sites with images of their own: 60 at south, 80 at north; a fifth is held out.
fn sites(folder: &TempDir) -> Vec<SiteSettings> {
    let sites = two_folders(folder);
    for site in &sites {
        let policy = "approve = \"any\"\nmin_images = 30\nrequire_privacy = true\nmax_epsilon = 30.0\n";
        fs::write(site.policy.as_ref().unwrap(), policy).unwrap();
    }
    sites
}

fn private(seed: u64) -> Config {
    let seed = format!("seed={seed}");
    of_folders(&["network.norm=none", "privacy={ target_epsilon = 8.0 }", &seed])
}

/// All private updates that a site has begun.
fn charged(site: &SiteSettings) -> Vec<PrivateUpdates> {
    let mut all = Amount::default();
    let mut add = |entry| {
        if let Entry::Began(began) = entry {
            all = std::mem::take(&mut all).plus(&Amount { private: began.private, ..Amount::default() });
        }
    };
    Ledger::of(site.policy.as_ref().unwrap().parent().unwrap()).read(|_, line| add(line.entry)).unwrap();
    all.private
}

#[test]
fn each_site_is_charged_for_the_updates_that_the_server_states() {
    let folder = tempfile::tempdir().unwrap();
    let (sites, out) = (sites(&folder), folder.path().join("run"));
    let (outcome, lines) = run_over(&mut grid_of(sites.clone()), &private(1), &out);
    outcome.unwrap();
    let stated = info_of(&out).unwrap().privacy;
    // In the order of their numbers of images.
    for (site, statement) in sites.iter().zip(&stated) {
        let expected = PrivateUpdates {
            noise_multiplier: statement.noise_multiplier,
            sample_rate: statement.sample_rate,
            updates: statement.updates,
        };
        assert_eq!(charged(site), [expected]);
        assert!(statement.epsilon <= 8.0 && statement.epsilon > 7.9, "{}", statement.epsilon);
    }
    assert_eq!(stated.len(), 2);
    assert_ne!(stated[0].noise_multiplier, stated[1].noise_multiplier, "the smaller site needs more noise");
    assert!(
        lines.iter().any(|line| line.starts_with("privacy: ε = 8.000 at δ = 1e-5 for a client with ")),
        "{lines:?}"
    );
}

#[test]
fn the_parameters_that_leave_are_noised_and_no_two_runs_are_equal() {
    let folder = tempfile::tempdir().unwrap();
    let runs = ["one", "two"].map(|name| {
        let folder = tempfile::tempdir_in(folder.path()).unwrap();
        let out = folder.path().join(name);
        run_over(&mut grid_of(sites(&folder)), &private(1), &out).0.unwrap();
        hash(&out)
    });
    assert_ne!(runs[0], runs[1]);
}

/// The server keeps the heads over all runs, so a site that lost its ledger's end is found out by the next run.
#[test]
fn a_site_that_restored_its_ledger_takes_part_in_no_private_run() {
    let folder = tempfile::tempdir().unwrap();
    let sites = sites(&folder);
    let server = test_servers::server(folder.path(), &[("south", 0, None), ("north", 1, None)]);
    let ledger = sites[1].policy.as_ref().unwrap().with_file_name("ledger.jsonl");
    let run_of = |seed: u64, deadline: &str| {
        let (out, list) = (folder.path().join(format!("run-{seed}")), SiteList::of(server.clone()));
        let federation = of_folders(&[deadline]).federation;
        run_listed(&mut grid_of(sites.clone()), &Config { federation, ..private(seed) }, &out, Some(list))
    };
    run_of(1, "federation.deadline=600").0.unwrap();
    let text = fs::read_to_string(&ledger).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let older = lines[..lines.len() - 1].join("\n") + "\n";
    fs::write(&ledger, older).unwrap();
    // Not even when it asks again, or after another run.
    for _ in 0..2 {
        let (outcome, lines) = run_of(2, "federation.deadline=5");
        let refused = "refused: ledger-restored (";
        assert!(outcome.is_err() && lines.iter().any(|line| line.contains(refused)), "{lines:?}");
    }
    fs::write(&ledger, text).unwrap();
    run_of(3, "federation.deadline=600").0.unwrap();
}

/// What a simulation with the same split and an insecure seed states is what sites of that many images plan.
#[test]
fn a_simulation_states_what_sites_of_its_sizes_would() {
    let folder = tempfile::tempdir().unwrap();
    let (sites, out) = (sites(&folder), folder.path().join("run"));
    run_over(&mut grid_of(sites.clone()), &private(1), &out).0.unwrap();
    let stated = info_of(&out).unwrap().privacy;
    let sizes: Vec<usize> = stated.iter().map(|statement| statement.images as usize).collect();
    let mut next = 0;
    let clients = ["south", "north"].iter().zip(&sizes).map(|(name, &size)| {
        let train = (next..next + size as u32).collect();
        next += size as u32;
        effgan_data::ClientShare { name: ClientName::new(*name).unwrap(), train, held_out: Vec::new() }
    });
    let partition = Partition { clients: clients.collect() };
    let path = folder.path().join("partition.json");
    fs::write(&path, serde_json::to_vec(&partition).unwrap()).unwrap();
    let simulated = config(&["network.norm=none", "privacy={ target_epsilon = 8.0 }"]);
    let simulated = Config { partition: PartitionConfig::File(PartitionFile { path }), ..simulated };
    let out = folder.path().join("simulated");
    run(&simulated, &out, on(2, &quiet())).unwrap();
    assert_eq!(info_of(&out).unwrap().privacy, stated);
}
