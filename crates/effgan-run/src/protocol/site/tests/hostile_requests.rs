//! A server that contradicts itself, asks for more than it may have, or waits for a name in an error.

use super::*;

#[test]
fn a_message_whose_parts_disagree_gets_no_answer() {
    let kit = Kit::new(ANY);
    let average = || site_message(CONFIG, ExchangeKind::Average, 1, start(CONFIG));
    // By this one word, the server would get both networks after fine-tuning.
    assert_eq!(refusal(&kit.ask("train.finetune", average())), Some(Refusal::OtherQuestion));
    let changed = |change: fn(&mut Content)| {
        let mut message = average();
        change(&mut message);
        kit.ask("train", message)
    };
    for reply in [
        changed(|message| _ = message.words.insert(KIND.into(), "collect".into())),
        changed(|message| _ = message.words.insert(KIND.into(), "query".into())),
        changed(|message| _ = message.words.insert(CONFIG_HASH.into(), "0".repeat(64))),
        changed(|message| _ = message.words.remove(CONFIG_HASH)),
        changed(|message| _ = message.words.insert("run".into(), "../../state".into())),
        changed(|message| _ = message.numbers.insert("round".into(), 2.0)),
        changed(|message| _ = message.numbers.insert("iteration".into(), 1.0)),
        changed(|message| _ = message.numbers.insert("deadline".into(), f64::NAN)),
        changed(|message| _ = message.numbers.insert("deadline".into(), -1.0)),
        kit.round(CONFIG, ExchangeKind::Average, 3),
        kit.round(CONFIG, ExchangeKind::Collect, 2),
        kit.round(CONFIG, ExchangeKind::Feedback, 1),
        kit.ask("train.feedback", average()),
        kit.ask("query", average()),
        kit.query("no = config"),
    ] {
        assert_eq!(refusal(&reply), Some(Refusal::OtherQuestion), "{reply:?}");
        assert!(reply.params.is_empty());
    }
    let other = changed(|message| _ = message.words.insert("version".into(), "9.9.9".into()));
    assert_eq!(refusal(&other), Some(Refusal::OtherVersion));
}

#[test]
fn a_config_out_of_its_bounds_is_refused_with_a_line_in_the_ledger_before_images_are_looked_for() {
    let kit = Kit::new(ANY);
    fs::remove_dir_all(kit.folder.path().join("data")).unwrap();
    let ua_gan = with("effgan\", rounds = 2, fine_tune_epochs = 1", "ua-gan\", rounds = 2");
    for (config, why) in [
        (
            with("batch_size = 64", "batch_size = 64, beta1 = 2.0"),
            "local.beta1 = 2.0 must be at least 0 and below 1 (computed in 32 bits)",
        ),
        (with("base_channels = 2", "base_channels = 0"), "network.base_channels = 0 must be from 1 to 1024"),
        (with("rounds = 2", "rounds = 2, cohort = 0.0"), "algorithm.cohort = 0.0 must be above 0 and at most 1"),
        (ua_gan.replace("batch_size", "loss = \"hinge\", batch_size"), "local.loss must be non-saturating for ua-gan"),
        // The server would know the noise, while the site's operator reads that the run is private.
        (
            with("base_channels = 2", "base_channels = 2, norm = \"none\"")
                + "[privacy]\nnoise_multiplier = 1.0\ninsecure_seed = 1\n",
            "privacy.insecure_seed makes nothing private and is for simulations alone",
        ),
        (format!("{ua_gan}[aggregation]\nkind = \"median\"\n"), "aggregation.kind = \"median\" is not for ua-gan"),
    ] {
        assert_eq!(refusal(&kit.query(&config)), Some(Refusal::OtherQuestion), "{config}");
        let entries = kit.entries();
        let Some(Entry::Refused(refused)) = entries.last() else { panic!("a refusal") };
        assert!(refused.why.starts_with(&format!("the config: {why}")), "{}", refused.why);
    }
    assert_eq!(kit.entries().len(), 6);
}

#[test]
fn after_the_collection_a_site_answers_only_the_same_request_with_the_same_generator() {
    let kit = Kit::new(ANY);
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), None);
    let first = kit.round(CONFIG, ExchangeKind::Collect, 3);
    assert_eq!(first.params.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["generator"]);
    // No other round, no round of the extended run, and nothing under another run id.
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 2)), Some(Refusal::AlreadyFineTuned));
    let longer = with("rounds = 2", "rounds = 3");
    assert_eq!(refusal(&kit.round(&longer, ExchangeKind::Average, 3)), Some(Refusal::AlreadyFineTuned));
    let mut renamed = site_message(CONFIG, ExchangeKind::Average, 1, start(CONFIG));
    renamed.words.insert("run".into(), "run2".into());
    assert_eq!(refusal(&kit.ask("train", renamed)), Some(Refusal::AlreadyFineTuned));
    // No second generator, from parameters of the server's choice.
    let mut chosen = start(CONFIG);
    chosen.iter_mut().for_each(|(_, array)| array.values_mut().iter_mut().for_each(|value| *value *= 0.5));
    let reply = kit.ask("train.finetune", site_message(CONFIG, ExchangeKind::Collect, 3, chosen));
    assert_eq!(refusal(&reply), Some(Refusal::AlreadyFineTuned));
    // A server that lost the answer gets the same one again, at no cost to the policy's budget.
    let again = kit.round(CONFIG, ExchangeKind::Collect, 3);
    assert_eq!(again.params, first.params);
    let steps = |entry: &Entry| if let Entry::Answered(answered) = entry { answered.trained.steps } else { 0 };
    // The second line is the audit of the generator, before it left.
    assert_eq!(kit.entries().iter().map(steps).collect::<Vec<_>>(), [2, 0, 2, 0, 0, 0, 0, 0]);
}

#[test]
fn another_run_id_or_config_gets_no_second_generator_and_no_more_work() {
    let kit = Kit::new("approve = \"any\"\ntotal_passes = 4.0\n");
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Collect, 3)), None);
    // The same parameters under the same run id, with configs that turn them into another generator.
    for (from, to) in [("seed = 1", "seed = 2"), ("fine_tune_epochs = 1", "fine_tune_epochs = 2"), ("= 64", "= 32")] {
        let reply = kit.ask("train.finetune", site_message(&with(from, to), ExchangeKind::Collect, 3, start(CONFIG)));
        assert_eq!(refusal(&reply), Some(Refusal::AlreadyFineTuned), "{to}");
    }
    let ask = |seed: u32| {
        let config = with("seed = 1", &format!("seed = {seed}"));
        let mut message = site_message(&config, ExchangeKind::Average, 1, start(CONFIG));
        message.words.insert("run".into(), "another".into());
        refusal(&kit.ask("train", message))
    };
    // A run requests three passes; one of the four that are allowed is spent.
    assert_eq!([11, 12, 13, 14, 15].map(ask).map(|refusal| refusal.is_none()), [true, true, true, false, false]);
}

#[test]
fn a_server_that_trains_its_own_generator_gets_no_answer_to_a_single_image() {
    let kit = Kit::new("approve = \"any\"\nwhole_pass = false\nalgorithms = [\"md-gan\"]\n");
    let config = with("kind = \"effgan\", rounds = 2, fine_tune_epochs = 1", "kind = \"md-gan\", rounds = 2");
    let feedback = |num_images: usize| {
        let mut params: Params = start(&config).under("discriminator").named_under("discriminator");
        params.insert("images", Array::new([num_images, 1, 16, 16], vec![0.0; num_images * 256]));
        let broadcast = Broadcast { round: 1, kind: ExchangeKind::Feedback, iteration: 0, iterations: 4, params };
        let now = RunPosition { round: 0, exchanges: 0 };
        let message = Content::of_site_message(&SiteMessage { broadcast, now, oldest: now });
        kit.ask("train.feedback", of_run(message, &config).packed())
    };
    for num_images in [1, 63, 65] {
        assert_eq!(refusal(&feedback(num_images)), Some(Refusal::WorkFailed), "{num_images}");
    }
    let last = kit.entries().pop();
    assert!(matches!(last, Some(Entry::Refused(refused)) if refused.why.contains("expected 64 to 64 images of shape")));
    assert_eq!(refusal(&feedback(64)), None);
}

#[test]
fn the_same_request_for_changed_images_is_another_answer_and_counts_as_work() {
    let kit = Kit::new(ANY);
    let rounds = |kit: &Kit| {
        for round in [1, 2] {
            assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, round)), None);
        }
    };
    let steps = |kit: &Kit| -> Vec<u64> {
        kit.entries()
            .iter()
            .filter_map(|entry| if let Entry::Answered(answered) = entry { Some(answered.trained.steps) } else { None })
            .collect()
    };
    rounds(&kit);
    // The answer of round 1 was removed at round 2; trained again, it is the same.
    rounds(&kit);
    assert_eq!(steps(&kit), [2, 2, 0, 0]);
    let cats = kit.folder.path().join("data/cats");
    for image in fs::read_dir(&cats).unwrap() {
        GrayImage::from_pixel(16, 16, image::Luma([7])).save(image.unwrap().path()).unwrap();
    }
    rounds(&kit);
    // The answer of round 2 was still kept.
    assert_eq!(steps(&kit), [2, 2, 0, 0, 2, 0]);
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Collect, 3)), None);
    // The kept generator is lost, and the images are back as they were.
    fs::remove_dir_all(&kit.settings.state_dir).unwrap();
    images(&kit.folder.path().join("data"), 140, 16);
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Collect, 3)), Some(Refusal::AlreadyFineTuned));
    let last = kit.entries().pop();
    assert!(matches!(last, Some(Entry::Refused(refused)) if refused.why.contains("this is another one")));
}

#[test]
fn an_array_that_the_network_lacks_is_refused_without_a_panic() {
    let kit = Kit::new(ANY);
    let params: Params = [("generator.w".to_owned(), Array::new([1], vec![1.0]))].into_iter().collect();
    let reply = kit.ask("train", site_message(CONFIG, ExchangeKind::Average, 1, params));
    assert_eq!(refusal(&reply), Some(Refusal::WorkFailed));
}

#[test]
fn a_server_of_another_version_that_keeps_asking_does_not_fill_the_ledger() {
    let kit = Kit::new(ANY);
    for _ in 0..3 {
        let mut message = query(CONFIG);
        message.words.insert("version".into(), "0.0.7".into());
        assert_eq!(refusal(&kit.ask("query", message)), Some(Refusal::OtherVersion));
    }
    assert_eq!(kit.entries().len(), 1);
}

#[test]
fn names_of_files_and_folders_never_leave() {
    const PATIENT: &str = "Erika Mustermann 1961-02-03";
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join(format!("clinic of {PATIENT}"));
    let site = |data: &str| {
        let kit = home.join(format!("kit {data}"));
        fs::create_dir_all(&kit).unwrap();
        fs::write(kit.join("policy.toml"), ANY).unwrap();
        let images = SiteImages::Own { data_dir: home.join(data), client: ClientName::new("north").unwrap() };
        SiteSettings { images, state_dir: kit.join("state"), policy: Some(kit.join("policy.toml")), jobs: 1 }
    };
    images(&home.join("mixed"), 130, 16);
    GrayImage::new(9, 7).save(home.join("mixed/cats").join(format!("{PATIENT}.png"))).unwrap();
    images(&home.join("broken"), 130, 16);
    fs::write(home.join("broken/dogs").join(format!("{PATIENT}.png")), "no image").unwrap();
    images(&home.join("stray"), 130, 16);
    GrayImage::new(16, 16).save(home.join("stray").join(format!("{PATIENT}.png"))).unwrap();
    fs::create_dir_all(home.join("linked")).unwrap();
    images(&home.join("linked"), 130, 16);
    std::os::unix::fs::symlink(
        home.join("mixed/cats/000.png"),
        home.join("linked/cats").join(format!("{PATIENT}.png")),
    )
    .unwrap();
    let as_they_are = with("size = 16, channels = 1", "skip_broken = false");
    let classes = format!("{CONFIG}[federation]\nclasses = [\"cats\", \"birds\"]\n");
    for (data, config, expected) in [
        ("missing", CONFIG, Refusal::DataUnusable),
        ("mixed", &as_they_are, Refusal::DataUnusable),
        ("broken", CONFIG, Refusal::DataUnusable),
        ("stray", CONFIG, Refusal::DataUnusable),
        ("linked", CONFIG, Refusal::DataUnusable),
        ("mixed", &classes, Refusal::UnknownClass),
    ] {
        let site = site(data);
        for (kind, message) in
            [("query", query(config)), ("train", site_message(config, ExchangeKind::Average, 1, start(CONFIG)))]
        {
            let reply = answer(&site, kind, message, &AtomicBool::new(false)).unwrap();
            assert_eq!(refusal(&reply), Some(expected), "{data}");
            let bytes = format!("{reply:?}");
            for word in ["Mustermann", "1961", "clinic", &folder.path().display().to_string(), ".png", "cats", "dogs"] {
                assert!(!bytes.contains(word), "{data}: {bytes}");
            }
        }
        let own = fs::read_to_string(site.policy.unwrap().parent().unwrap().join("ledger.jsonl")).unwrap();
        assert!(own.contains("Mustermann"), "the site's own ledger says what is wrong");
    }
}
