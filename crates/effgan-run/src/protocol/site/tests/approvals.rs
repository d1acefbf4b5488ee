//! A site that waits for approval: nothing of its files is learned before, and an approval is for what was shown with it.

use super::*;

#[test]
fn a_site_with_the_default_policy_waits_for_approval_and_then_takes_part() {
    let kit = Kit::new("");
    for _ in 0..3 {
        let reply = kit.query(CONFIG);
        assert_eq!(refusal(&reply), Some(Refusal::WaitingForApproval));
        assert_eq!(reply.numbers.len(), 0, "nothing of the site leaves before: {reply:?}");
    }
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), Some(Refusal::WaitingForApproval));
    let waiting = approval::waiting(kit.folder.path()).unwrap();
    assert_eq!(waiting.len(), 1);
    let shown = approval::shown(kit.folder.path(), &waiting[0]).unwrap();
    for words in [
        "small has been waiting for approval since 2",
        "effgan: 2 rounds, each of 1 pass over the images, then fine-tuning of 1 pass over the images",
        "3 passes over the images, 6 training steps of 64 images",
        "16 pixels per side, grey; 112 images train; a share of 0.1 is held out",
        "after each round both networks",
        "at the end the generator, fine-tuned on this site's images",
        "ok      training images: 112   (min_images = 100)",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    approval::approve(kit.folder.path(), &waiting[0]).unwrap();
    let reply = kit.query(CONFIG);
    assert_eq!((refusal(&reply), reply.numbers["num-examples"]), (None, 112.0));
    assert_eq!(reply.ledger().unwrap(), Some(kit.ledger().read(|_, _| ()).unwrap().hash.as_str()));
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), None);

    // The same config with one more round needs another approval.
    let longer = with("rounds = 2", "rounds = 3");
    assert_eq!(refusal(&kit.query(&longer)), Some(Refusal::WaitingForApproval));
    // An approval for 112 images does not cover a 113th.
    let data = kit.folder.path().join("data");
    fs::copy(data.join("cats/000.png"), data.join("cats/more.png")).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 2)), Some(Refusal::WaitingForApproval));
    let Some(Entry::Refused(refused)) = kit.entries().pop() else { panic!("it was refused") };
    assert!(refused.why.contains("approved for training on 112 images, and now there are 113"), "{}", refused.why);
    let again = approval::waiting(kit.folder.path()).unwrap();
    approval::approve(kit.folder.path(), again.last().unwrap()).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 2)), None);
    // An approval can be withdrawn.
    approval::withdraw(kit.folder.path(), &waiting[0].config).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), Some(Refusal::WaitingForApproval));
}

#[test]
fn turns_are_refused_by_default_and_where_they_are_allowed_the_approver_reads_who_gets_the_networks() {
    let turns = with("kind = \"effgan\"", "kind = \"cyclic-effgan\"");
    let kit = Kit::new("");
    for reply in [kit.query(&turns), kit.round(&turns, ExchangeKind::Average, 1)] {
        assert_eq!((refusal(&reply), reply.params.len()), (Some(Refusal::AlgorithmNotAllowed), 0));
    }
    let kit = Kit::new("algorithms = [\"cyclic-effgan\"]\n");
    assert_eq!(refusal(&kit.query(&turns)), Some(Refusal::WaitingForApproval));
    let waiting = approval::waiting(kit.folder.path()).unwrap();
    let shown = approval::shown(kit.folder.path(), &waiting[0]).unwrap();
    assert!(shown.contains(", which the next site receives as they are; at the end the generator"), "{shown}");
}

#[test]
fn before_approval_no_request_reveals_how_many_images_there_are_or_in_which_folders() {
    let kit = Kit::new("").joined();
    let one_step = with("epochs = 1 }\nalgorithm", "steps = 1 }\nalgorithm");
    let few = with("min_examples = 1", "min_examples = 1, held_out = 0.5");
    let guessed = format!("{CONFIG}federation = {{ classes = [\"cats\", \"wolves\"] }}\n");
    let right = format!("{CONFIG}federation = {{ classes = [\"cats\", \"dogs\"] }}\n");
    for config in [&one_step, &few, &guessed, &right] {
        assert_eq!(refusal(&kit.query(config)), Some(Refusal::WaitingForApproval), "{config}");
    }
    // Nor does it reveal how much of the budget earlier runs have spent, or which share is held out.
    kit.ledger().append(answered_before(0.25, 4)).unwrap();
    let policy = kit.settings.policy.clone().unwrap();
    fs::write(policy, "min_images = 10\ntotal_steps = 9\n").unwrap();
    for config in [CONFIG, &with("min_examples = 1", "min_examples = 1, held_out = 0.25")] {
        assert_eq!(refusal(&kit.query(config)), Some(Refusal::WaitingForApproval), "{config}");
    }
    // The site's own ledger says it.
    let whys: Vec<String> = kit
        .entries()
        .into_iter()
        .filter_map(|entry| if let Entry::Refused(refused) = entry { Some(refused.why) } else { None })
        .collect();
    assert!(whys[0].contains("and it would be refused: "), "{whys:?}");
    assert!(whys[2].contains("dogs"), "{whys:?}");
    assert!(whys[4].contains("held_out = 0.25") && whys[5].contains("total_steps"), "{whys:?}");
}

/// The ledger's entry of an answer to a run of another config.
fn answered_before(held_out: f64, steps: u64) -> Entry {
    let asked = Asked {
        run: "before".into(),
        config: "0".repeat(64),
        identity: "1".repeat(64),
        kind: "average".into(),
        round: Some(1),
        ..Default::default()
    };
    let trained = effgan_fl::policy::Amount { steps, rounds: 1, passes: 1.0, private: Vec::new() };
    Entry::Answered(Box::new(Answered { asked, held_out, trained, ..Default::default() }))
}

#[test]
fn an_approval_given_before_the_images_were_counted_does_not_cover_them() {
    let kit = Kit::new("");
    let (data, away) = (kit.folder.path().join("data"), kit.folder.path().join("away"));
    fs::rename(&data, &away).unwrap();
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WaitingForApproval));
    let approve = |images: Option<u64>| {
        let waiting = approval::waiting(kit.folder.path()).unwrap().pop().unwrap();
        assert_eq!(waiting.run_request.images, images);
        approval::approve(kit.folder.path(), &waiting).unwrap();
    };
    approve(None);
    fs::rename(&away, &data).unwrap();
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WaitingForApproval));
    approve(Some(112));
    assert_eq!(refusal(&kit.query(CONFIG)), None);
}

#[test]
fn an_approval_withdrawn_while_the_site_works_keeps_the_answer_from_leaving() {
    let kit = Kit::new("");
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WaitingForApproval));
    let waiting = approval::waiting(kit.folder.path()).unwrap().pop().unwrap();
    approval::approve(kit.folder.path(), &waiting).unwrap();
    let context = SiteContext::open(kit.settings.policy.as_ref().unwrap(), &AtomicBool::new(false)).unwrap();
    let request = server_request::read("query", query(CONFIG)).1.unwrap();
    assert!(context.check_still_approved(&request).is_ok());
    approval::withdraw(kit.folder.path(), &waiting.config).unwrap();
    let error = context.check_still_approved(&request).unwrap_err();
    assert_eq!(error.refusal, Refusal::WaitingForApproval);
}
