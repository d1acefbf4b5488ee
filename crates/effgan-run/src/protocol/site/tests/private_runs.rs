//! Private runs: what they cost a site is counted over all of them, and a server that wants more is refused.

use std::collections::BTreeSet;

use effgan_data::DatasetConfig;
use effgan_data::datasets::PersonKey;
use effgan_fl::policy::PrivateUpdates;

use super::*;

/// Three replies of two updates each, in which each of 112 images is with a probability of 64/112.
fn private(noise_multiplier: f64) -> String {
    with_privacy(&format!("noise_multiplier = {noise_multiplier}"))
}

fn with_privacy(keys: &str) -> String {
    let norm = with("base_channels = 2 }", "base_channels = 2, norm = \"none\" }");
    format!("{norm}privacy = {{ {keys} }}\n")
}

/// A reply to a request of round 1, from other parameters in each.
fn round(kit: &Kit, config: &str, value: f32, head: Option<&str>) -> Content {
    let mut params = start(&private(4.0));
    params.iter_mut().next().unwrap().1.values_mut()[0] = value;
    kit.ask("train", site_message(config, ExchangeKind::Average, 1, params).with_ledger_head(head))
}

fn updates(n: u64) -> PrivateUpdates {
    PrivateUpdates { noise_multiplier: 4.0, sample_rate: 64.0 / 112.0, updates: n }
}

/// The private updates that were begun, as the ledger has them.
fn charged(kit: &Kit) -> Vec<Vec<PrivateUpdates>> {
    let charged = |entry| match entry {
        Entry::Began(began) => Some(began.private),
        _ => None,
    };
    kit.entries().into_iter().filter_map(charged).collect()
}

#[test]
fn a_reply_is_charged_when_it_leaves_and_not_when_it_is_sent_again() {
    let (kit, config) = (Kit::new(ANY), private(4.0));
    let first = round(&kit, &config, 0.0, None);
    let again = round(&kit, &config, 0.0, None);
    assert_eq!((refusal(&first), &first.params), (None, &again.params), "the reply that was kept");
    assert_eq!(charged(&kit), [vec![updates(2)]]);
    // Where it is no longer kept, it is computed again, with other noise.
    fs::remove_dir_all(&kit.settings.state_dir).unwrap();
    let other = round(&kit, &config, 0.0, None);
    assert_ne!(other.params, first.params);
    assert_eq!(charged(&kit), [vec![updates(2)], vec![updates(2)]]);
}

/// Whether trained parameters are within the bound depends on the noised updates: each refusal would tell a bit of them.
#[test]
fn training_that_ends_in_a_refusal_costs_as_much_as_an_answer() {
    let kit = Kit::new("approve = \"any\"\nmax_parameter = 2.0\nmax_epsilon = 2.0\n");
    let config = private(4.0).replace("batch_size = 64", "batch_size = 64, generator_learning_rate = 5.0");
    let mut refusals = Vec::new();
    while refusals.last() != Some(&Some(Refusal::PrivacyBudgetSpent)) && refusals.len() < 50 {
        refusals.push(refusal(&round(&kit, &config, 0.01 * refusals.len() as f32, None)));
    }
    let last = refusals.pop().unwrap();
    assert_eq!(last, Some(Refusal::PrivacyBudgetSpent), "a server cannot ask without end");
    assert!(!refusals.is_empty() && refusals.iter().all(|code| *code == Some(Refusal::ParametersOutOfBounds)));
    assert_eq!(charged(&kit).len(), refusals.len());
    // Nor by another run that was answered before, whose reply is no longer there.
    let kit = Kit::new("approve = \"any\"\nmax_epsilon = 2.0\n");
    assert_eq!(refusal(&round(&kit, &private(4.0), 0.0, None)), None);
    let again = |i: usize| {
        let mut message = site_message(&private(4.0), ExchangeKind::Average, 1, start(&private(4.0)));
        message.words.insert("run".into(), format!("run{i}"));
        refusal(&kit.ask("train", message))
    };
    let codes: Vec<Option<Refusal>> = (2..40).map(again).collect();
    assert_eq!(codes.last(), Some(&Some(Refusal::PrivacyBudgetSpent)), "{codes:?}");
    let begun = charged(&kit).len();
    assert_eq!(again(50), Some(Refusal::PrivacyBudgetSpent));
    assert_eq!(charged(&kit).len(), begun, "nothing is trained any more");
}

/// A server that asks for a second generator spends none of the site's budget.
#[test]
fn a_fine_tuned_generator_that_has_left_is_neither_trained_nor_charged_again() {
    let (kit, config) = (Kit::new(ANY), private(4.0));
    let collect = |run: &str| {
        let mut message = site_message(&config, ExchangeKind::Collect, 3, start(&config));
        message.words.insert("run".into(), run.into());
        kit.ask(message_type(ExchangeKind::Collect), message)
    };
    let first = collect("run1");
    assert_eq!((refusal(&first), charged(&kit).len()), (None, 1));
    assert_eq!(collect("run1").params, first.params, "the reply that was kept");
    assert_eq!(refusal(&collect("run2")), Some(Refusal::AlreadyFineTuned));
    assert_eq!(charged(&kit).len(), 1);
}

/// Unfinished work, and a finished reply, belong to the number of images that noise and probability followed from.
#[test]
fn a_reply_for_another_number_of_images_is_computed_and_charged_anew() {
    let (kit, config) = (Kit::new(ANY), private(4.0));
    let first = round(&kit, &config, 0.0, None);
    images(&kit.folder.path().join("data"), 160, 16);
    let second = round(&kit, &config, 0.0, None);
    assert_eq!((refusal(&first), refusal(&second)), (None, None));
    assert_ne!(first.params, second.params);
    let [before, after] = &charged(&kit)[..] else { panic!("two trainings") };
    assert!(after[0].sample_rate < before[0].sample_rate, "{before:?} {after:?}");
}

/// Moves the images of each class into folders of persons, of whom each has so many.
fn into_persons(kit: &Kit, images_per_person: usize) {
    let data = kit.folder.path().join("data");
    let mut files: Vec<PathBuf> =
        ["cats", "dogs"].map(|class| data.join(class)).iter().flat_map(|class| pngs(class)).collect();
    files.sort();
    for (i, file) in files.iter().enumerate() {
        let person =
            data.join(["cats", "dogs"][i * 2 / files.len()]).join(format!("patient-{}", i / images_per_person));
        fs::create_dir_all(&person).unwrap();
        fs::rename(file, person.join(file.file_name().unwrap())).unwrap();
    }
    for class in ["cats", "dogs"] {
        let folders = fs::read_dir(data.join(class)).unwrap().map(|entry| entry.unwrap().path());
        folders.filter(|folder| folder.is_dir()).for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// All pictures below a folder.
fn pngs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { pngs(&path) } else { vec![path] }).collect()
}

/// 70 persons with two images each: three of each class are test persons, and of the other 32 four are held out.
#[test]
fn where_folders_name_persons_they_are_counted_charged_and_held_out_as_a_whole() {
    let config = private(4.0).replace("batch_size = 64", "batch_size = 28");
    let kit = Kit::new("person = 2\n");
    into_persons(&kit, 2);
    assert_eq!(refusal(&kit.query(&config)), Some(Refusal::WaitingForApproval));
    let waiting = approval::waiting(kit.folder.path()).unwrap();
    let shown = approval::shown(kit.folder.path(), &waiting[0]).unwrap();
    assert!(shown.contains("112 images of 56 persons train"), "{shown}");
    assert!(
        shown.contains(
            " at δ = 1e-5 for each person (policy.toml: person = 2) with all images, if every round is answered once"
        ),
        "{shown}"
    );
    approval::approve(kit.folder.path(), &waiting[0]).unwrap();
    let reply = kit.query(&config);
    assert_eq!((reply.numbers["num-examples"], reply.numbers["num-persons"]), (112.0, 56.0));
    assert_eq!(refusal(&round(&kit, &config, 0.0, None)), None);
    // Half of the persons are in an update, and each of the four updates of an epoch is charged.
    assert_eq!(charged(&kit), [vec![PrivateUpdates { noise_multiplier: 4.0, sample_rate: 0.5, updates: 4 }]]);
    let config = Config::parse(&config, &[]).unwrap();
    let share = split(&kit.settings, config.clone()).unwrap();
    let dir = Some(kit.folder.path().join("data"));
    let dataset = DatasetConfig { dir, person: Some(PersonKey::Folder(2)), ..config.dataset };
    let persons = dataset.list(None).unwrap().unwrap().persons.unwrap();
    let of = |images: &[u32]| -> BTreeSet<String> { images.iter().map(|&i| persons[i as usize].to_string()).collect() };
    let [train, held_out] = [of(&share.train), of(&share.held_out)];
    assert_eq!((train.len(), held_out.len(), train.intersection(&held_out).count()), (56, 8, 0));
    // A run that hides no persons is not told how many there are.
    let kit = Kit::new("approve = \"any\"\nperson = 2\n");
    into_persons(&kit, 2);
    assert!(!kit.query(CONFIG).numbers.contains_key("num-persons"));
}

/// An approval is for the persons that were shown with it: fewer of as many images would each be less hidden.
#[test]
fn an_approval_does_not_cover_the_same_images_of_other_persons() {
    let (config, kit) = (private(4.0), Kit::new("person = 2\n"));
    into_persons(&kit, 2);
    assert_eq!(refusal(&kit.query(&config)), Some(Refusal::WaitingForApproval));
    approval::approve(kit.folder.path(), &approval::waiting(kit.folder.path()).unwrap()[0]).unwrap();
    assert_eq!(refusal(&kit.query(&config)), None);
    into_persons(&kit, 1);
    assert_eq!(refusal(&kit.query(&config)), Some(Refusal::WaitingForApproval));
    let Some(Entry::Refused(refused)) = kit.entries().pop() else { panic!("it was refused") };
    let why = "approved for training on 112 images of 56 persons, and now there are 112 images of 112 persons";
    assert!(refused.why.contains(why), "{}", refused.why);
}

/// Whose the images are decides which are held out, and how many a server would learn that there are: that is the site's to say.
#[test]
fn a_server_cannot_say_whose_the_images_are() {
    let kit = Kit::new(ANY);
    into_persons(&kit, 2);
    let share = |config: &str| split(&kit.settings, Config::parse(config, &[]).unwrap()).unwrap();
    let plain = share(CONFIG);
    for level in [1, 2] {
        let config = private(4.0).replace("channels = 1 }", &format!("channels = 1, person = {level} }}"));
        let reply = kit.query(&config);
        assert_eq!((refusal(&reply), reply.numbers.get("num-persons")), (None, None));
        assert_eq!(share(&config), plain);
    }
}

/// The same request for as many images and persons, grouped in another way, is not answered by work that hid the former ones.
#[test]
fn a_reply_for_other_persons_is_computed_and_charged_anew() {
    // Nobody is held out, so that each person trains.
    let config = private(4.0).replace("min_examples = 1", "min_examples = 1, held_out = 0.0");
    let kit = Kit::new("approve = \"any\"\nperson = 2\n");
    into_persons(&kit, 2);
    let first = round(&kit, &config, 0.0, None);
    let data = kit.folder.path().join("data/cats");
    let mut folders: Vec<PathBuf> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    // An image of one person turns out to be another's.
    let moved = pngs(&folders[0]).into_iter().min().unwrap();
    fs::rename(&moved, folders[1].join(moved.file_name().unwrap())).unwrap();
    let second = round(&kit, &config, 0.0, None);
    assert_eq!((refusal(&first), refusal(&second)), (None, None));
    assert!(first.params != second.params, "the reply that was kept is not sent");
    assert_eq!(charged(&kit).len(), 2);
}

#[test]
fn a_server_that_asks_again_and_again_gets_no_more_than_the_budget() {
    let (kit, config) = (Kit::new("approve = \"any\"\nmax_epsilon = 2.0\nmax_rounds = 1000\n"), private(4.0));
    let policy = effgan_fl::Policy::read(kit.settings.policy.as_ref().unwrap()).unwrap();
    let mut answered = 0;
    // Each seed is another run, so that no bound of a single run is reached.
    let refused = (1..100).find_map(|seed| {
        let config = config.replace("seed = 1", &format!("seed = {seed}"));
        let refused = refusal(&round(&kit, &config, 0.0, None));
        answered += u64::from(refused.is_none());
        refused
    });
    assert_eq!(refused, Some(Refusal::PrivacyBudgetSpent));
    assert!(answered > 0);
    // What has left is within the budget; the whole run that is asked for would not be.
    let share = |updates_more: u64| policy.share_of(&[updates(2 * answered + updates_more)]);
    assert!(share(0) <= 1.0 && share(6) > 1.0, "{} {}", share(0), share(6));
    // Nor does a site compute what it may not send.
    let time = SystemTime::now();
    assert_eq!(refusal(&round(&kit, &config, 0.7, None)), Some(Refusal::PrivacyBudgetSpent));
    assert!(time.elapsed().unwrap().as_secs() < 30);
    // Plain runs are not private runs' concern.
    assert_eq!(refusal(&kit.query(CONFIG)), None);
}

#[test]
fn a_server_cannot_make_the_noise_small_or_known() {
    let kit = Kit::new(ANY);
    for (config, expected) in [
        (private(0.06), Refusal::PrivacyBudgetSpent),
        (with_privacy("noise_multiplier = 4.0, insecure_seed = 1"), Refusal::OtherQuestion),
        (with_privacy("noise_multiplier = 4.0, delta = 0.001"), Refusal::DeltaTooLarge),
        (with_privacy("target_epsilon = 500.0"), Refusal::PrivacyBudgetSpent),
        (format!("{}federation = {{ label_counts = true }}\n", private(4.0)), Refusal::OtherQuestion),
    ] {
        assert_eq!(refusal(&kit.query(&config)), Some(expected), "{config}");
        assert_eq!(refusal(&round(&kit, &config, 0.0, None)), Some(expected), "{config}");
    }
    let strict = Kit::new("approve = \"any\"\nrequire_privacy = true\n");
    assert_eq!(refusal(&strict.query(CONFIG)), Some(Refusal::PrivacyRequired));
    assert_eq!(refusal(&strict.query(&private(4.0))), None);
}

#[test]
fn a_target_plans_the_noise_for_all_rounds_of_the_run() {
    let kit = Kit::new(ANY);
    let config = with_privacy("target_epsilon = 5.0");
    assert_eq!(refusal(&round(&kit, &config, 0.0, None)), None);
    let [charged] = &charged(&kit)[..] else { panic!("one training") };
    let [PrivateUpdates { noise_multiplier, sample_rate, updates: 2 }] = charged[..] else { panic!("{charged:?}") };
    let of_run = |steps| {
        let step = effgan_privacy::SampledGaussian::new(noise_multiplier, sample_rate).unwrap();
        effgan_privacy::epsilon(&effgan_privacy::Composition::of(step, steps).unwrap(), 1e-5).unwrap().value
    };
    assert!(of_run(6) <= 5.0 && of_run(6) > 4.99, "{}", of_run(6));
}

#[test]
fn a_ledger_that_was_restored_from_a_backup_stops_private_runs() {
    let (kit, config) = (Kit::new(ANY), private(4.0));
    assert_eq!(refusal(&round(&kit, &config, 0.0, None)), None);
    let backup = fs::read(kit.folder.path().join("ledger.jsonl")).unwrap();
    let newest = round(&kit, &config, 0.1, None);
    let head = newest.ledger().unwrap().unwrap().to_owned();
    // A ledger with that line goes on, also when others follow it.
    assert_eq!(refusal(&round(&kit, &config, 0.2, Some(&head))), None);
    assert_eq!(refusal(&round(&kit, &config, 0.3, Some(&head))), None);
    fs::write(kit.folder.path().join("ledger.jsonl"), backup).unwrap();
    assert_eq!(refusal(&round(&kit, &config, 0.4, Some(&head))), Some(Refusal::LedgerRestored));
    let Some(Entry::Refused(refused)) = kit.entries().pop() else { panic!("a refusal") };
    assert!(refused.why.contains("restored from a backup"), "{}", refused.why);
    let plain = site_message(CONFIG, ExchangeKind::Average, 1, start(CONFIG)).with_ledger_head(Some(&head));
    assert_eq!(refusal(&kit.ask("train", plain)), None, "ε is of no concern to a plain run");
}

#[test]
fn whoever_approves_a_private_run_reads_what_it_costs() {
    let kit = Kit::new("").joined();
    let config = private(4.0);
    assert_eq!(refusal(&kit.query(&config)), Some(Refusal::WaitingForApproval));
    let waiting = approval::waiting(kit.folder.path()).unwrap();
    let shown = approval::shown(kit.folder.path(), &waiting[0]).unwrap();
    let line = shown.lines().find(|line| line.trim_start().starts_with("privacy")).unwrap();
    let start = "  privacy differential privacy: ε = ";
    assert!(
        line.starts_with(start) && line.contains(" at δ = 1e-5 for each image, if every round is answered once ("),
        "{line}"
    );
    assert!(shown.contains("% after 0 %   (max_epsilon = 10 at max_delta = 1e-5)"), "{shown}");
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WaitingForApproval));
    let waiting = approval::waiting(kit.folder.path()).unwrap();
    let shown = approval::shown(kit.folder.path(), &waiting[1]).unwrap();
    assert!(shown.contains("  privacy none: no ε bounds what the answers give away\n"), "{shown}");
    // What left before without noise is no part of any ε.
    assert!(!shown.contains("answers without noise"), "{shown}");
    approval::approve(kit.folder.path(), &waiting[1]).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), None);
    let shown = approval::shown(kit.folder.path(), &waiting[0]).unwrap();
    assert!(shown.contains("answers without noise have left this site before"), "{shown}");
}

/// What leaves with a reply depends on the images through the noised networks alone: all else is equal for two sites with other images.
#[test]
fn no_number_that_leaves_depends_on_the_images() {
    let reply = |seed: u64| {
        let kit = Kit::new(ANY);
        let data = kit.folder.path().join("data");
        for (i, class) in ["cats", "dogs"].into_iter().enumerate() {
            for file in fs::read_dir(data.join(class)).unwrap() {
                let noise = Streams::of_run(seed + i as u64).normal(Purpose::Init, 0, 16 * 16);
                let pixels = noise.into_iter().map(|value| pixels::to_u8(value * 0.3)).collect();
                GrayImage::from_raw(16, 16, pixels).unwrap().save(file.unwrap().path()).unwrap();
            }
        }
        // Noise beside which nothing of the images remains.
        let replies = [kit.query(&private(1e5)), round(&kit, &private(1e5), 0.0, None)];
        replies.map(|reply| {
            assert_eq!(refusal(&reply), None);
            let names: Vec<String> = reply.numbers.keys().cloned().collect();
            let fixed: Vec<(String, f64)> =
                reply.numbers.into_iter().filter(|(name, _)| !name.starts_with("loss") && name != "seconds").collect();
            (names, fixed)
        })
    };
    assert_eq!(reply(1), reply(50));
}
