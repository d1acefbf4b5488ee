//! Sites with folders of images of their own: classes, label counts, and a generator that is added late.

use super::*;

/// A site with equally many images of noise in each of these two folders.
fn with_classes(folder: &TempDir, name: &str, classes: [&str; 2]) -> SiteSettings {
    let site = own(folder, name, 3, 40);
    let data = folder.path().join(name);
    ["cats", "dogs"].iter().zip(classes).for_each(|(from, to)| fs::rename(data.join(from), data.join(to)).unwrap());
    site
}

#[test]
fn sites_with_different_folders_train_one_conditional_network_with_named_classes() {
    let folder = tempfile::tempdir().unwrap();
    let sites = || {
        vec![
            with_classes(&folder, "south", ["animals", "smileys"]),
            with_classes(&folder, "north", ["food", "animals"]),
        ]
    };
    let mut grid = grid_of(sites());
    let out = folder.path().join("run");
    let conditional = "network={kind=\"dcgan\",base_channels=4,latent_dim=8,conditional=true}";
    let line = run_over(&mut grid, &of_folders(&[conditional]), &out).0.unwrap_err().line();
    assert!(line.contains("needs federation.classes") && !out.exists(), "{line}");
    assert_eq!(grid.number, 0, "no site was asked");

    let named = of_folders(&[conditional, "federation.classes=[\"animals\",\"food\",\"smileys\"]"]);
    run_over(&mut grid, &named, &out).0.unwrap();
    let model = effgan_fl::Ensemble::open(&out).unwrap();
    assert_eq!(model.manifest().classes, ["animals", "food", "smileys"]);
    assert_eq!(model.manifest().network.num_classes, Some(3));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for private in ["", "checkpoints", "join"] {
        assert_eq!(mode(&out.join(private)), 0o700, "{private}");
    }
    assert_eq!(mode(&out.join("join/discriminator.safetensors")), 0o600);
    assert_eq!(mode(&folder.path().join("site-north/state")), 0o700);
}

#[test]
fn a_generator_added_late_gives_the_same_model_as_one_collected_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("run"));
    run_over(&mut grid_of(two_folders(&folder)), &of_folders(&[]), &whole).0.unwrap();

    // A site no longer answers for a run whose fine-tuned generator has left it; a new ledger makes it a site that has just joined.
    for name in ["north", "south"] {
        fs::remove_file(folder.path().join(format!("site-{name}/ledger.jsonl"))).unwrap();
    }
    let mut grid = grid_of(two_folders(&folder));
    grid.silent.insert((1, "train.finetune"));
    let short = of_folders(&["federation.deadline=3"]);
    run_over(&mut grid, &short, &out).0.unwrap();
    let missing = Folder::read(&out).unwrap().rounds[&3].missing[0].reason.clone();
    assert_eq!(missing, "no answer within 3 s");

    let (file, stop) = (folder.path().join("north.generator"), AtomicBool::new(false));
    let site = fine_tune(&out.join("join"), &own(&folder, "north", 1, 80), &file, &stop).unwrap();
    assert_eq!(site.name.as_str(), "north");
    assert_eq!(add_late_member(&out, &file, on(1, &quiet())).unwrap().as_str(), "north");
    assert_eq!(hash(&out), hash(&whole));
    let members = |run: &Path| fs::read(run.join("model/manifest.json")).unwrap();
    assert_eq!(members(&out), members(&whole));

    let other = folder.path().join("other.generator");
    let (late, tensors) = effgan_nn::sealed::load::<LateGenerator>(&file).unwrap();
    let late = LateGenerator { arithmetic_version: effgan_nn::ArithmeticVersion(1), ..late };
    effgan_nn::sealed::save(&other, &late, &tensors).unwrap();
    let error = add_late_member(&out, &other, on(1, &quiet())).unwrap_err().line();
    let ours = effgan_nn::ArithmeticVersion::OURS;
    let line = format!("it is of arithmetic version 1, and the run of version {ours}; fine-tune with the run's effgan");
    assert_eq!(error, format!("{}: {line}", other.display()));
    let again = add_late_member(&out, &file, on(1, &quiet())).unwrap_err().line();
    assert!(again.ends_with("north is already a member"), "{again}");
    let stranger = folder.path().join("stranger.generator");
    fine_tune(&out.join("join"), &own(&folder, "east", 3, 40), &stranger, &stop).unwrap();
    let error = add_late_member(&out, &stranger, on(1, &quiet())).unwrap_err().line();
    assert!(error.ends_with("east is not one of the run's sites"), "{error}");
    let short = folder.path().join("short.generator");
    fs::write(&short, &fs::read(&stranger).unwrap()[..1000]).unwrap();
    let error = add_late_member(&out, &short, on(1, &quiet())).unwrap_err().line();
    assert!(error.starts_with("expected a file of effgan ensemble fine-tune: "), "{error}");
    assert_eq!(error.matches(&short.display().to_string()).count(), 1, "{error}");

    fs::remove_file(whole.join("sites.json")).unwrap();
    let simulation = add_late_member(&whole, &file, on(1, &quiet())).unwrap_err().line();
    assert!(simulation.ends_with("is a simulation's run, in which no client can be late"), "{simulation}");
}

#[test]
fn label_counts_are_sent_only_where_the_config_requests_them() {
    for asked in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let setting = format!("federation.label_counts={asked}");
        run_over(&mut grid_of(two_folders(&folder)), &of_folders(&["algorithm.rounds=1", &setting]), &out).0.unwrap();
        let partition = info_of(&out).unwrap().partition;
        assert_eq!(partition.clients, ["north", "south"]);
        assert_eq!(partition.class_counts.is_some(), asked);
        for (counts, n) in partition.class_counts.iter().flatten().zip(&partition.num_examples) {
            assert_eq!(counts.iter().sum::<u64>(), *n);
        }
    }
}

/// What the audit found is the site's: the run's folder says who withheld, and no more.
#[test]
fn a_generator_that_its_site_withholds_is_no_member_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let sites = two_folders(&folder);
    let policy = folder.path().join("site-south/policy.toml");
    let text = fs::read_to_string(&policy).unwrap();
    // Few images are held out, so that there is no audit.
    fs::write(&policy, format!("{text}[release]\nrequire_audit = true\n")).unwrap();
    let (out, config) = (folder.path().join("run"), of_folders(&[]));
    let mut grid = grid_of(sites);
    let (outcome, _) = run_over(&mut grid, &config, &out);
    outcome.unwrap();
    let read = Folder::read(&out).unwrap();
    let last = read.rounds.values().last().unwrap();
    assert_eq!(last.clients.iter().map(|client| client.name.as_str()).collect::<Vec<_>>(), ["north"]);
    let reasons: Vec<_> = last.missing.iter().map(|one| (one.name.as_str(), one.reason.as_str())).collect();
    let advice = "its own audit of the generator did not allow it to leave; train less, or privately";
    assert_eq!(reasons, [("south", &*format!("refused: withheld ({advice})"))]);
    assert!(read.rounds.values().rev().skip(1).all(|round| round.missing.is_empty()), "it took part in the rounds");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("refused: withheld") && !page.contains("held out, and 20"), "no figure of an audit");
    let ledger = fs::read_to_string(folder.path().join("site-south/ledger.jsonl")).unwrap();
    assert!(ledger.contains("\"event\":\"audited\"") && ledger.contains("and require_audit = true"));
}
