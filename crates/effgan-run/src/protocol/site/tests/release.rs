//! The gate: a generator that shows its images stays at the site, and a server learns nothing more.

use effgan_data::{DatasetConfig, DatasetName};
use effgan_fl::policy::Release;

use super::*;
use crate::protocol::ledger::Audited;

/// A kit with so many digits of two kinds in place of its noise, of which a tenth are test images. Its secret is always the same. No interval is
/// so narrow that `max_tpr_at_1 = 0` is kept.
fn digits(policy: &str, num: usize) -> Kit {
    let kit = Kit::new(&format!("approve = \"any\"\nmin_images = 1\nmax_passes = 5000.0\n{policy}"));
    fs::write(kit.folder.path().join("hold-out.secret"), "5".repeat(64)).unwrap();
    let data = kit.folder.path().join("data");
    fs::remove_dir_all(&data).unwrap();
    let train = DatasetConfig::of(DatasetName::MnistMini).load().unwrap().train;
    for class in [3, 8] {
        let folder = data.join(class.to_string());
        fs::create_dir_all(&folder).unwrap();
        let of_class = (0..train.len()).filter(|&i| train.labels()[i] == class).take(num / 2);
        for i in of_class {
            let image = GrayImage::from_raw(28, 28, train.image(i).to_vec()).unwrap();
            image.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
    kit
}

/// No rounds, and so many epochs of fine-tuning with half of the images held out.
fn config(epochs: u32) -> String {
    with(
        "kind = \"effgan\", rounds = 2, fine_tune_epochs = 1",
        &format!("kind = \"effgan\", rounds = 0, fine_tune_epochs = {epochs}"),
    )
    .replace("min_examples = 1", "min_examples = 1, held_out = 0.5")
    .replace("latent_dim = 4, base_channels = 2", "latent_dim = 32, base_channels = 16")
    .replace("batch_size = 64", "batch_size = 20, learning_rate = 1e-3")
}

fn collect(kit: &Kit, config: &str) -> Content {
    kit.round(config, ExchangeKind::Collect, 1)
}

fn audits(kit: &Kit) -> Vec<Audited> {
    let audit = |entry| match entry {
        Entry::Audited(audited) => Some(*audited),
        _ => None,
    };
    kit.entries().into_iter().filter_map(audit).collect()
}

/// 20 images that train for 1,500 epochs.
#[test]
fn a_generator_that_has_learned_its_images_by_heart_stays_and_the_server_learns_one_word() {
    let (kit, config) = (digits("[release]\nmax_auc = 0.6\n", 44), config(1500));
    let reply = collect(&kit, &config);
    let [audited] = &audits(&kit)[..] else { panic!("one audit") };
    let [generator] = &audited.generators[..] else { panic!("one generator") };
    let audit = generator.audit.as_ref().unwrap();
    assert_eq!((audit.num_train, audit.num_held_out, audited.leaves), (20, 20, false), "{audited:?}");
    assert!(audit.strongest().unwrap().membership.auc_low > 0.6, "{audit:?}");
    assert!(generator.why.ends_with(", beyond max_auc = 0.6"), "{}", generator.why);
    // The discriminator has seen nothing else, and tells still more; only the site has it.
    assert!(audit.discriminator.as_ref().unwrap().auc_low > 0.6, "{audit:?}");
    // What leaves is what leaves with any other refusal.
    assert_eq!(refusal(&reply), Some(Refusal::Withheld));
    let other = kit.ask("train", Content::default());
    let names = |content: &Content| content.words.keys().cloned().collect::<Vec<_>>();
    assert!(reply.params.is_empty() && names(&other).iter().all(|name| names(&reply).contains(name)));
    let request = site_message(&config, ExchangeKind::Collect, 1, start(&config));
    let repeated = Content::default().replying_to(request.request_id());
    assert_eq!(reply.numbers, repeated.numbers);
    let own: Vec<String> = names(&reply).into_iter().filter(|name| !repeated.words.contains_key(name)).collect();
    assert_eq!(own, ["ledger", "refused"]);
    let text = String::from_utf8(table(&kit)).unwrap();
    assert!(text.contains("the generator after 1500 training steps stays, since "), "{text}");
}

/// After 1,500 epochs the images are known by heart; the interval of an earlier generator still contains the limit.
#[test]
fn an_earlier_generator_leaves_in_place_of_one_that_stays_and_no_other_after_it() {
    let kit = digits("[release]\nmax_auc = 0.6\nif_unsure = \"release\"\non_fail = \"earlier\"\n", 44);
    let reply = collect(&kit, &config(1500));
    assert_eq!(refusal(&reply), None);
    let [audited] = &audits(&kit)[..] else { panic!("one decision") };
    let steps: Vec<u64> = audited.generators.iter().map(|generator| generator.steps).collect();
    assert!(steps.len() > 1 && audited.leaves, "{audited:?}");
    assert_eq!(steps, (0..steps.len()).map(|halvings| 1500 >> halvings).collect::<Vec<u64>>());
    let last = *steps.last().unwrap();
    assert_eq!(reply.numbers["steps"], last as f64);
    // All of the training counts, and the same request gets the same generator without another audit.
    let history = History::of_config(&kit.ledger(), &Config::parse(&config(1500), &[]).unwrap().identity()).unwrap();
    assert_eq!((history.spent.run.steps, history.is_fine_tuned), (1500, true));
    let again = collect(&kit, &config(1500));
    assert_eq!((again.params, again.numbers["steps"]), (reply.params.clone(), reply.numbers["steps"]));
    assert_eq!(audits(&kit).len(), 1);
    // It is the generator that a fine-tuning of so many steps makes.
    let other = Kit { folder: tempfile::tempdir().unwrap(), settings: kit.settings.clone() };
    let policy = other.folder.path().join("policy.toml");
    fs::write(&policy, "approve = \"any\"\nmin_images = 1\n").unwrap();
    fs::copy(kit.folder.path().join("hold-out.secret"), other.folder.path().join("hold-out.secret")).unwrap();
    let settings =
        SiteSettings { state_dir: other.folder.path().join("state"), policy: Some(policy), ..other.settings.clone() };
    let shorter = collect(&Kit { settings, ..other }, &config(last as u32));
    assert_eq!(shorter.params, reply.params);
}

fn table(kit: &Kit) -> Vec<u8> {
    let mut table = Vec::new();
    crate::protocol::ledger::table(&kit.ledger(), &mut table).unwrap().unwrap();
    table
}

/// Each answer would be a bit about images, to a question that the server chooses.
#[test]
fn a_server_that_asks_again_learns_nothing_new_and_its_training_counts() {
    let (kit, config) = (digits("[release]\nmax_tpr_at_1 = 0.0\nif_unsure = \"withhold\"\n", 44), config(2));
    assert_eq!(refusal(&collect(&kit, &config)), Some(Refusal::Withheld));
    let history = || History::of_config(&kit.ledger(), &Config::parse(&config, &[]).unwrap().identity()).unwrap();
    let spent = history().spent.run;
    assert_eq!((spent.rounds, spent.passes), (1, 2.0));
    // The same request is neither trained nor audited again, also when the files of the run are gone.
    fs::remove_dir_all(&kit.settings.state_dir).unwrap();
    assert_eq!(refusal(&collect(&kit, &config)), Some(Refusal::Withheld));
    assert_eq!((audits(&kit).len(), history().spent.run), (1, spent));
    // From other parameters, or under another name of the run, there is no second generator to judge.
    let mut other = start(&config);
    other.iter_mut().next().unwrap().1.values_mut()[0] = 0.5;
    let again = kit.ask(message_type(ExchangeKind::Collect), site_message(&config, ExchangeKind::Collect, 1, other));
    assert_eq!(refusal(&again), Some(Refusal::AlreadyFineTuned));
    assert_eq!(audits(&kit).len(), 1);
    // Whoever changes the limits at the site lets it leave.
    let file = kit.folder.path().join("policy.toml");
    let policy = fs::read_to_string(&file).unwrap();
    fs::write(&file, policy.replace("\"withhold\"", "\"release\"")).unwrap();
    let reply = collect(&kit, &config);
    assert_eq!((refusal(&reply), audits(&kit).len()), (None, 2));
    assert!(audits(&kit)[1].leaves && !audits(&kit)[1].generators[0].why.is_empty());
    assert_eq!(collect(&kit, &config).params, reply.params, "it is sent again without an audit");
    assert_eq!(audits(&kit).len(), 2);
}

/// A crash, or a deadline, between the decision and the answer: if only one of two decisions ended the run, which it was would be seen.
#[test]
fn a_decision_ends_the_fine_tuning_whether_or_not_its_answer_leaves() {
    let (kit, config) = (digits("max_rounds = 1\n", 44), config(2));
    let reply = collect(&kit, &config);
    assert_eq!(refusal(&reply), None);
    let file = kit.folder.path().join("ledger.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let decided = text.trim_end().rfind('\n').unwrap() + 1;
    assert!(text[decided..].contains("\"event\":\"answered\""));
    fs::write(&file, &text[..decided]).unwrap();
    let history = || History::of_config(&kit.ledger(), &Config::parse(&config, &[]).unwrap().identity()).unwrap();
    assert_eq!((history().spent.run.passes, history().is_fine_tuned), (2.0, true));
    let mut other = start(&config);
    other.iter_mut().next().unwrap().1.values_mut()[0] = 0.5;
    let other = kit.ask(message_type(ExchangeKind::Collect), site_message(&config, ExchangeKind::Collect, 1, other));
    assert_eq!(refusal(&other), Some(Refusal::AlreadyFineTuned));
    // The same request has its answer, and nothing is charged again.
    assert_eq!(collect(&kit, &config).params, reply.params);
    assert_eq!(history().spent.run.passes, 2.0);
}

/// Batch norm trains by each batch's own statistics; those that a server sends could make every sample of an audit the same.
#[test]
fn statistics_that_a_server_sends_hide_nothing_from_the_audit() {
    let config = config(30);
    let audit = |mean: f32| {
        let (kit, mut sent) = (digits("", 44), start(&config));
        for (name, array) in &mut sent {
            if name.ends_with("running_mean") {
                array.values_mut().fill(mean);
            }
        }
        let kind = ExchangeKind::Collect;
        assert_eq!(refusal(&kit.ask(message_type(kind), site_message(&config, kind, 1, sent))), None);
        let audited = audits(&kit).remove(0);
        let audit = audited.generators[0].audit.clone().unwrap();
        (audit.attacks, audit.copies)
    };
    assert_eq!(audit(0.0), audit(5e3));
}

#[test]
fn a_generator_that_cannot_be_audited_leaves_unless_the_policy_has_a_limit_or_requires_an_audit() {
    for (policy, leaves) in [
        ("", true),
        ("[release]\nmax_auc = 0.9\n", false),
        ("[release]\nmin_copy_ratio = 0.1\nif_unsure = \"release\"\n", true),
        ("[release]\nrequire_audit = true\nif_unsure = \"release\"\n", false),
    ] {
        // Eighteen of each train and are held out.
        let kit = digits(policy, 40);
        assert_eq!(refusal(&collect(&kit, &config(1))), (!leaves).then_some(Refusal::Withheld), "{policy}");
        let [audited] = &audits(&kit)[..] else { panic!("{policy}") };
        assert!(audited.generators[0].audit.is_none() && audited.leaves == leaves);
        assert!(
            audited.generators[0]
                .why
                .contains("18 of its images trained and 18 were held out, and 20 of both are needed")
        );
        let text = String::from_utf8(table(&kit)).unwrap();
        assert!(text.contains(" training step is not audited (north is not audited: "), "{text}");
    }
}

/// Withholding would tell something about the images that no ε counts.
#[test]
fn a_privately_trained_generator_leaves_whatever_its_audit_finds() {
    let kit = digits("[release]\nmax_tpr_at_1 = 0.0\n", 44);
    let private = config(1).replace("base_channels = 16 }", "base_channels = 16, norm = \"none\" }");
    let private = format!("{private}privacy = {{ noise_multiplier = 8.0 }}\n");
    assert_eq!(refusal(&collect(&kit, &private)), None);
    let [audited] = &audits(&kit)[..] else { panic!("one audit") };
    assert!(audited.leaves && audited.generators[0].why.contains("max_tpr_at_1 = 0"), "{audited:?}");
}

#[test]
fn generators_of_rounds_are_audited_where_the_policy_says_so() {
    let config = config(1).replace("rounds = 0", "rounds = 3");
    for (policy, num, code) in [
        ("", 0, None),
        ("[release]\naudit_rounds = true\n", 1, None),
        ("[release]\naudit_rounds = true\nmax_tpr_at_1 = 0.0\n", 1, Some(Refusal::Withheld)),
    ] {
        let kit = digits(policy, 44);
        assert_eq!(refusal(&kit.round(&config, ExchangeKind::Average, 2)), code, "{policy}");
        assert_eq!(audits(&kit).len(), num);
        // Of the second round on, what came was trained on these images too.
        let is_calibrated = |audited: &Audited| {
            audited.generators[0]
                .audit
                .iter()
                .flat_map(|audit| &audit.attacks)
                .any(|attacked| attacked.membership.is_calibrated)
        };
        assert!(audits(&kit).iter().all(is_calibrated));
        assert_eq!(refusal(&kit.round(&config, ExchangeKind::Average, 3)), code, "the run goes on");
    }
}

/// A generator could be prepared for known samples.
#[test]
fn the_samples_of_an_audit_are_the_sites_secret() {
    let seed = |kit: &Kit| {
        SiteContext::open(&kit.folder.path().join("policy.toml"), &AtomicBool::new(false))
            .unwrap()
            .audit_seed()
            .unwrap()
    };
    let [one, other] = [Kit::new(ANY), Kit::new(ANY)];
    assert_eq!(seed(&one), seed(&one));
    assert_ne!(seed(&one), seed(&other));
}

#[test]
fn the_default_limits_withhold_nothing() {
    assert!(!Release::default().has_limit() && !Release::default().withholds_unaudited());
}
