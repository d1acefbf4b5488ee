//! What a policy does not allow is refused, and which sites are under a policy.

use super::*;

#[test]
fn the_servers_operator_cannot_make_a_site_overfit_to_single_images() {
    let kit = Kit::new(ANY);
    let attack = with("min_examples = 1", "min_examples = 1, held_out = 0.99")
        .replace("base_channels = 2", "base_channels = 2, norm = \"group\"")
        .replace("fine_tune_epochs = 1", "fine_tune_steps = 1500")
        .replace("rounds = 2", "rounds = 0");
    assert_eq!(refusal(&kit.query(&attack)), Some(Refusal::HoldOutTooLarge));
    assert_eq!(refusal(&kit.round(&attack, ExchangeKind::Collect, 1)), Some(Refusal::HoldOutTooLarge));
    let half = attack.replace("0.99", "0.5");
    assert_eq!(refusal(&kit.round(&half, ExchangeKind::Collect, 1)), Some(Refusal::TooFewImages));
}

#[test]
fn what_the_policy_does_not_allow_is_refused_before_an_image_is_opened() {
    let kit = Kit::new(ANY);
    // No file is an image any more: opening one would be an error.
    for class in ["cats", "dogs"] {
        for file in fs::read_dir(kit.folder.path().join("data").join(class)).unwrap() {
            fs::write(file.unwrap().path(), "no image").unwrap();
        }
    }
    let label_counts = format!("{CONFIG}[federation]\nlabel_counts = true\n");
    for (config, expected) in [
        (with("effgan\", rounds = 2, fine_tune_epochs = 1", "md-gan\", rounds = 2"), Refusal::AlgorithmNotAllowed),
        (with("min_examples = 1", "held_out = 0.7"), Refusal::HoldOutTooLarge),
        (with("min_examples = 1", "held_out = 0.4"), Refusal::TooFewImages),
        (with("batch_size = 64", "batch_size = 4"), Refusal::BatchTooSmall),
        (label_counts, Refusal::LabelCountsNotAllowed),
        (with("size = 16", "size = 1024"), Refusal::ImageTooLarge),
        (with("base_channels = 2", "base_channels = 1024"), Refusal::ModelTooLarge),
        (with("fine_tune_epochs = 1", "fine_tune_steps = 1"), Refusal::LessThanAPass),
        (with("rounds = 2", "rounds = 900"), Refusal::TooManyRounds),
        (with("fine_tune_epochs = 1", "fine_tune_epochs = 5000"), Refusal::TooManyPasses),
        (with("fine_tune_epochs = 1", "fine_tune_steps = 300000"), Refusal::TooManySteps),
        (CONFIG.to_owned(), Refusal::DataUnusable),
    ] {
        assert_eq!(refusal(&kit.query(&config)), Some(expected), "{config}");
    }
    assert!(kit.entries().iter().all(|entry| matches!(entry, Entry::Refused(_))));
}

#[test]
fn images_of_1024_pixels_are_refused_by_their_number_alone() {
    let kit = Kit::new("approve = \"any\"\nmax_image_size = 1024\nmax_memory = \"64 MiB\"\n");
    // 140 × 1024 × 1024 bytes are 140 MiB.
    assert_eq!(refusal(&kit.query(&with("size = 16", "size = 1024"))), Some(Refusal::TooMuchMemory));
    // Without dataset.size the images keep their size, and the reader counts their memory.
    let kit = Kit::new("approve = \"any\"\nmax_memory = \"1 MiB\"\n");
    fs::remove_dir_all(kit.folder.path().join("data")).unwrap();
    images(&kit.folder.path().join("data"), 140, 120);
    assert_eq!(refusal(&kit.query(&with("size = 16, ", ""))), Some(Refusal::TooMuchMemory));
}

#[test]
fn parameters_that_arrive_and_parameters_that_leave_are_bounded() {
    let kit = Kit::new(ANY);
    for bad in [f32::NAN, f32::INFINITY, 3.4e38, -2e4] {
        let mut params = start(CONFIG);
        params.iter_mut().next().unwrap().1.values_mut()[0] = bad;
        let reply = kit.ask("train", site_message(CONFIG, ExchangeKind::Average, 1, params));
        assert_eq!(refusal(&reply), Some(Refusal::ParametersOutOfBounds));
    }
    // Parameters leave only within the bound: these arrive within it, and a step of Adam with a learning rate of 5 exceeds it.
    let kit = Kit::new("approve = \"any\"\nmax_parameter = 2.0\n");
    let fast = with("batch_size = 64", "batch_size = 64, learning_rate = 5.0");
    let reply = kit.round(&fast, ExchangeKind::Average, 1);
    assert_eq!(refusal(&reply), Some(Refusal::ParametersOutOfBounds));
}

#[test]
fn work_is_bounded_per_run_and_over_all_runs() {
    let kit = Kit::new("approve = \"any\"\ntotal_passes = 8.0\n");
    let ask = |seed: u32, run: &str, round: u32, value: f32| {
        let config = with("seed = 1", &format!("seed = {seed}"));
        let mut params = start(&config);
        params.iter_mut().next().unwrap().1.values_mut()[0] = value;
        let mut message = site_message(&config, ExchangeKind::Average, round, params);
        message.words.insert("run".into(), run.into());
        refusal(&kit.ask("train", message))
    };
    // The run requests three answers; a server that keeps asking with other parameters gets twice as many.
    for i in 0..6 {
        assert_eq!(ask(1, "run1", 1 + i % 2, 0.01 * i as f32), None, "{i}");
    }
    assert_eq!(ask(1, "run1", 1, 0.5), Some(Refusal::TooManyRounds));
    // Six of eight passes are spent, and another run requests three.
    assert_eq!(ask(2, "run2", 1, 0.0), Some(Refusal::BudgetSpent));
}

#[test]
fn work_that_takes_longer_than_the_policy_allows_is_stopped() {
    let kit = Kit::new(
        "approve = \"any\"\nmax_seconds = 0.2\nmax_passes = 1e9\nmax_steps = 1000000000\ntotal_passes = 1e9\ntotal_steps = 1000000000\n",
    );
    let long = with("epochs = 1 }", "epochs = 100000 }");
    assert_eq!(refusal(&kit.round(&long, ExchangeKind::Average, 1)), Some(Refusal::TooMuchTime));
}

#[test]
fn a_site_that_names_files_is_under_a_policy_whatever_its_images_are_called() {
    let kit = Kit::new("");
    let data_dir = Some(kit.folder.path().join("data"));
    for policy in [None, kit.settings.policy.clone()] {
        let images = SiteImages::Assigned { partition_id: 0, data_dir: data_dir.clone() };
        let settings = SiteSettings { images, policy, ..kit.settings.clone() };
        let reply = answer(&settings, "query", query(CONFIG), &AtomicBool::new(false)).unwrap();
        assert_eq!(refusal(&reply), Some(Refusal::WaitingForApproval));
    }
}

#[test]
fn a_site_whose_policy_cannot_be_read_refuses_and_its_ledger_says_why() {
    let kit = Kit::new("approve = \"sometimes\"");
    let reply = kit.query(CONFIG);
    assert_eq!(refusal(&reply), Some(Refusal::WorkFailed));
    let [Entry::Refused(refused)] = &kit.entries()[..] else { panic!("one line") };
    assert!(refused.why.contains("unknown variant `sometimes`"), "{}", refused.why);
    assert!(reply.words.contains_key("ledger"));
}

#[test]
fn a_site_of_an_experiment_is_under_a_policy_only_where_it_has_one() {
    let kit = Kit::new(ANY);
    let config = CONFIG.replace(
        "dataset = { name = \"folder\", size = 16, channels = 1 }",
        "dataset = { name = \"mnist-mini\", limit = 60, size = 16 }",
    );
    let assigned = |policy| {
        let images = SiteImages::Assigned { partition_id: 0, data_dir: None };
        SiteSettings { images, policy, ..kit.settings.clone() }
    };
    let ask = |settings: &SiteSettings| answer(settings, "query", query(&config), &AtomicBool::new(false)).unwrap();
    let free = ask(&assigned(None));
    assert_eq!((refusal(&free), free.ledger().unwrap()), (None, None));
    let bound = ask(&assigned(kit.settings.policy.clone()));
    assert_eq!(refusal(&bound), Some(Refusal::TooFewImages));
    // A site with images of its own always is under a policy: the default one, where none is given.
    let own = SiteSettings { policy: None, ..kit.settings.clone() };
    assert_eq!(
        refusal(&answer(&own, "query", query(CONFIG), &AtomicBool::new(false)).unwrap()),
        Some(Refusal::WaitingForApproval)
    );
}
