//! A site that is asked by somebody hostile: what it refuses, what it writes down, and what never leaves.

use std::time::SystemTime;

use effgan_fl::{Broadcast, ExchangeKind, Moment};
use effgan_nn::{Array, Params, Purpose, Streams, pixels};
use image::GrayImage;
use tempfile::TempDir;

use super::*;
use crate::protocol::approval;
use crate::protocol::content::{CONFIG_HASH, KIND};
use crate::protocol::ledger::{Entry, Ledger};

mod rehearsal;

/// A run that the defaults of a policy allow, on 16 × 16 pixels so that it takes moments.
const CONFIG: &str = r#"
name = "small"
seed = 1
dataset = { name = "folder", size = 16, channels = 1 }
partition = { kind = "iid", clients = 1, min_examples = 1 }
network = { kind = "dcgan", latent_dim = 4, base_channels = 2 }
local = { batch_size = 64, epochs = 1 }
algorithm = { kind = "effgan", rounds = 2, fine_tune_epochs = 1 }
"#;

/// A kit with a folder of images.
struct Kit {
    folder: TempDir,
    at_site: AtSite,
}

impl Kit {
    /// 140 images in two classes, of which 126 are for training and 113 or so train; `policy` is its policy.toml.
    fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        images(&data_dir, 140, 16);
        let file = folder.path().join("policy.toml");
        fs::write(&file, policy).unwrap();
        let images = SiteImages::Own { data_dir, client: ClientName::new("north").unwrap() };
        let at_site = AtSite { images, state_dir: folder.path().join("state"), policy: Some(file), jobs: 1 };
        Self { folder, at_site }
    }

    /// As join leaves it.
    fn joined(self) -> Self {
        fs::write(self.folder.path().join("hold-out.secret"), crate::protocol::hold_out::new_secret()).unwrap();
        self
    }

    fn ask(&self, kind: &str, message: Content) -> Content {
        answer(&self.at_site, kind, message, &AtomicBool::new(false)).unwrap()
    }

    fn query(&self, config: &str) -> Content {
        self.ask("query", query(config))
    }

    /// The answer to the letter of `round`, from the networks that a server would begin with.
    fn round(&self, config: &str, kind: ExchangeKind, round: u32) -> Content {
        self.ask(message_type_of(kind), letter(config, kind, round, start(config)))
    }

    fn ledger(&self) -> Ledger {
        Ledger::of(self.folder.path())
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.ledger().read(|_, line| entries.push(line.entry)).unwrap();
        entries
    }
}

/// Allows what the defaults allow without asking.
const ANY: &str = "approve = \"any\"\n";

fn images(folder: &Path, num: usize, side: u32) {
    for i in 0..num {
        let class = folder.join(["cats", "dogs"][i % 2]);
        fs::create_dir_all(&class).unwrap();
        let noise = Streams::of_run(7).normal(Purpose::Init, i as u64, (side * side) as usize);
        let pixels = noise.into_iter().map(pixels::to_u8).collect();
        GrayImage::from_raw(side, side, pixels).unwrap().save(class.join(format!("{i:03}.png"))).unwrap();
    }
}

fn with(from: &str, to: &str) -> String {
    assert!(CONFIG.contains(from), "{from}");
    CONFIG.replace(from, to)
}

fn asked(content: Content, config: &str) -> Content {
    let mut content = content.with_config(config);
    content.numbers.insert("deadline".into(), 60.0);
    content.words.insert("run".into(), "run1".into());
    content.words.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    content
}

fn query(config: &str) -> Content {
    asked(Content::query(), config)
}

fn letter(config: &str, kind: ExchangeKind, round: u32, params: Params) -> Content {
    let broadcast = Broadcast { round, kind, iteration: 0, iterations: 1, params };
    let now = Moment { round: round - 1, exchanges: 0 };
    asked(Content::of_letter(&SiteMessage { broadcast, now, oldest: now }), config).packed()
}

fn message_type_of(kind: ExchangeKind) -> &'static str {
    crate::protocol::post::message_type(kind)
}

fn start(config: &str) -> Params {
    let config = Config::parse(config, &[]).unwrap();
    let size = config.dataset.size.unwrap_or(16);
    let network = Network::new(config.network, [1, size, size]).unwrap();
    effgan_fl::local::LocalTraining::new(network, config.local).unwrap().init(config.seed)
}

fn refusal(content: &Content) -> Option<Refusal> {
    content.refusal().unwrap()
}

#[test]
fn a_site_with_the_default_policy_waits_for_somebodys_yes_and_then_takes_part() {
    let kit = Kit::new("");
    for _ in 0..3 {
        let said = kit.query(CONFIG);
        assert_eq!(refusal(&said), Some(Refusal::WaitingForApproval));
        assert_eq!(said.numbers.len(), 0, "nothing of the site leaves before: {said:?}");
    }
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), Some(Refusal::WaitingForApproval));
    let waiting = approval::waiting(kit.folder.path()).unwrap();
    assert_eq!(waiting.len(), 1);
    let shown = approval::shown(kit.folder.path(), &waiting[0]).unwrap();
    for words in [
        "small has waited for a yes since 2",
        "effgan: 2 rounds, each of 1 pass over the images, then fine-tuning of 1 pass over the images",
        "3 passes over the images, 6 training steps of 64 images",
        "16 pixels a side, grey; 112 train; a share of 0.1 is kept from training",
        "after each round both networks",
        "in the end the generator, fine-tuned on this site's images",
        "ok      training images: 112   (min_images = 100)",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    approval::approve(kit.folder.path(), &waiting[0]).unwrap();
    let said = kit.query(CONFIG);
    assert_eq!((refusal(&said), said.numbers["num-examples"]), (None, 112.0));
    assert_eq!(said.ledger().unwrap(), Some(kit.ledger().read(|_, _| ()).unwrap().hash.as_str()));
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), None);

    // The same with one more round is another question.
    let longer = with("rounds = 2", "rounds = 3");
    assert_eq!(refusal(&kit.query(&longer)), Some(Refusal::WaitingForApproval));
    // Nor is a yes for 112 images one for more.
    let data = kit.folder.path().join("data");
    fs::copy(data.join("cats/000.png"), data.join("cats/more.png")).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 2)), Some(Refusal::WaitingForApproval));
    let Some(Entry::Refused(refused)) = kit.entries().pop() else { panic!("it was refused") };
    assert!(refused.why.contains("said when 112 images were to train, and now 113 are"), "{}", refused.why);
    let again = approval::waiting(kit.folder.path()).unwrap();
    approval::approve(kit.folder.path(), again.last().unwrap()).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 2)), None);
    // A yes can be taken back.
    approval::withdraw(kit.folder.path(), &waiting[0].config).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), Some(Refusal::WaitingForApproval));
}

#[test]
fn the_servers_own_operator_does_not_get_one_image_back() {
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
    // No file is an image any more: whoever opened one would say so.
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
    // Without a size they are as they are; the reader counts.
    let kit = Kit::new("approve = \"any\"\nmax_memory = \"1 MiB\"\n");
    fs::remove_dir_all(kit.folder.path().join("data")).unwrap();
    images(&kit.folder.path().join("data"), 140, 120);
    assert_eq!(refusal(&kit.query(&with("size = 16, ", ""))), Some(Refusal::TooMuchMemory));
}

#[test]
fn a_message_whose_parts_disagree_gets_no_answer() {
    let kit = Kit::new(ANY);
    let average = || letter(CONFIG, ExchangeKind::Average, 1, start(CONFIG));
    // Both networks after a fine-tuning, by the one word that said average.
    assert_eq!(refusal(&kit.ask("train.finetune", average())), Some(Refusal::OtherQuestion));
    let changed = |change: fn(&mut Content)| {
        let mut message = average();
        change(&mut message);
        kit.ask("train", message)
    };
    for said in [
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
        assert_eq!(refusal(&said), Some(Refusal::OtherQuestion), "{said:?}");
        assert!(said.params.is_empty());
    }
    let other = changed(|message| _ = message.words.insert("version".into(), "9.9.9".into()));
    assert_eq!(refusal(&other), Some(Refusal::OtherVersion));
}

#[test]
fn after_the_collection_a_site_answers_only_that_and_the_same_again() {
    let kit = Kit::new(ANY);
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 1)), None);
    let first = kit.round(CONFIG, ExchangeKind::Collect, 3);
    assert_eq!(first.params.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["generator"]);
    // Neither another round, nor one of the run with more rounds, nor under another name.
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 2)), Some(Refusal::AlreadyFineTuned));
    let longer = with("rounds = 2", "rounds = 3");
    assert_eq!(refusal(&kit.round(&longer, ExchangeKind::Average, 3)), Some(Refusal::AlreadyFineTuned));
    let mut renamed = letter(CONFIG, ExchangeKind::Average, 1, start(CONFIG));
    renamed.words.insert("run".into(), "run2".into());
    assert_eq!(refusal(&kit.ask("train", renamed)), Some(Refusal::AlreadyFineTuned));
    // Nor another generator, from parameters of the server's choice.
    let mut chosen = start(CONFIG);
    chosen.iter_mut().for_each(|(_, array)| array.values.iter_mut().for_each(|value| *value *= 0.5));
    let said = kit.ask("train.finetune", letter(CONFIG, ExchangeKind::Collect, 3, chosen));
    assert_eq!(refusal(&said), Some(Refusal::AlreadyFineTuned));
    // A server that lost the answer is given the same, and it costs nothing of what the policy allows.
    let again = kit.round(CONFIG, ExchangeKind::Collect, 3);
    assert_eq!(again.params, first.params);
    let steps = |entry: &Entry| if let Entry::Answered(answered) = entry { answered.trained.steps } else { 0 };
    assert_eq!(kit.entries().iter().map(steps).collect::<Vec<_>>(), [2, 2, 0, 0, 0, 0, 0]);
}

#[test]
fn a_servers_name_for_a_run_buys_no_second_generator_and_no_more_work() {
    let kit = Kit::new("approve = \"any\"\ntotal_passes = 4.0\n");
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Collect, 3)), None);
    // The same parameters under the same name, by configs that make another generator of them.
    for (from, to) in [("seed = 1", "seed = 2"), ("fine_tune_epochs = 1", "fine_tune_epochs = 2"), ("= 64", "= 32")] {
        let said = kit.ask("train.finetune", letter(&with(from, to), ExchangeKind::Collect, 3, start(CONFIG)));
        assert_eq!(refusal(&said), Some(Refusal::AlreadyFineTuned), "{to}");
    }
    let ask = |seed: u32| {
        let config = with("seed = 1", &format!("seed = {seed}"));
        let mut message = letter(&config, ExchangeKind::Average, 1, start(CONFIG));
        message.words.insert("run".into(), "another".into());
        refusal(&kit.ask("train", message))
    };
    // A run wants three passes; of the four that are allowed one is spent.
    assert_eq!([11, 12, 13, 14, 15].map(ask).map(|said| said.is_none()), [true, true, true, false, false]);
}

#[test]
fn a_server_that_trains_its_own_generator_gets_no_answer_to_a_single_image() {
    let kit = Kit::new("approve = \"any\"\nwhole_pass = false\nalgorithms = [\"md-gan\"]\n");
    let config = with("kind = \"effgan\", rounds = 2, fine_tune_epochs = 1", "kind = \"md-gan\", rounds = 2");
    let feedback = |num_images: usize| {
        let mut params: Params = start(&config).under("discriminator").named_under("discriminator");
        params.insert("images", Array::new([num_images, 1, 16, 16], vec![0.0; num_images * 256]));
        let broadcast = Broadcast { round: 1, kind: ExchangeKind::Feedback, iteration: 0, iterations: 4, params };
        let now = Moment { round: 0, exchanges: 0 };
        let message = Content::of_letter(&SiteMessage { broadcast, now, oldest: now });
        kit.ask("train.feedback", asked(message, &config).packed())
    };
    for num_images in [1, 63, 65] {
        assert_eq!(refusal(&feedback(num_images)), Some(Refusal::WorkFailed), "{num_images}");
    }
    let last = kit.entries().pop();
    assert!(matches!(last, Some(Entry::Refused(refused)) if refused.why.contains("expected 64 to 64 images")));
    assert_eq!(refusal(&feedback(64)), None);
}

#[test]
fn the_same_question_to_other_images_is_another_answer_and_counts() {
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
    // What was kept of round 1 is gone with round 2, and trained again it is the same.
    rounds(&kit);
    assert_eq!(steps(&kit), [2, 2, 0, 0]);
    let cats = kit.folder.path().join("data/cats");
    for image in fs::read_dir(&cats).unwrap() {
        GrayImage::from_pixel(16, 16, image::Luma([7])).save(image.unwrap().path()).unwrap();
    }
    rounds(&kit);
    // Of round 2 the answer was kept.
    assert_eq!(steps(&kit), [2, 2, 0, 0, 2, 0]);
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Collect, 3)), None);
    // Nothing is kept of the generator either, and the images are as they were before.
    fs::remove_dir_all(&kit.at_site.state_dir).unwrap();
    images(&kit.folder.path().join("data"), 140, 16);
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Collect, 3)), Some(Refusal::AlreadyFineTuned));
    let last = kit.entries().pop();
    assert!(matches!(last, Some(Entry::Refused(refused)) if refused.why.contains("this is another one")));
}

#[test]
fn before_a_yes_no_question_tells_how_many_images_there_are_or_in_which_folders() {
    let kit = Kit::new("").joined();
    let one_step = with("epochs = 1 }\nalgorithm", "steps = 1 }\nalgorithm");
    let few = with("min_examples = 1", "min_examples = 1, held_out = 0.5");
    let guessed = format!("{CONFIG}federation = {{ classes = [\"cats\", \"wolves\"] }}\n");
    let right = format!("{CONFIG}federation = {{ classes = [\"cats\", \"dogs\"] }}\n");
    for config in [&one_step, &few, &guessed, &right] {
        assert_eq!(refusal(&kit.query(config)), Some(Refusal::WaitingForApproval), "{config}");
    }
    // Nor what earlier runs took of what is allowed, or held out.
    kit.ledger().append(answered_before(0.25, 4)).unwrap();
    let policy = kit.at_site.policy.clone().unwrap();
    fs::write(policy, "min_images = 10\ntotal_steps = 9\n").unwrap();
    for config in [CONFIG, &with("min_examples = 1", "min_examples = 1, held_out = 0.25")] {
        assert_eq!(refusal(&kit.query(config)), Some(Refusal::WaitingForApproval), "{config}");
    }
    // The site's own people are told.
    let whys: Vec<String> = kit
        .entries()
        .into_iter()
        .filter_map(|entry| if let Entry::Refused(refused) = entry { Some(refused.why) } else { None })
        .collect();
    assert!(whys[0].contains("and it would be refused: "), "{whys:?}");
    assert!(whys[2].contains("dogs"), "{whys:?}");
    assert!(whys[4].contains("held_out = 0.25") && whys[5].contains("total_steps"), "{whys:?}");
}

/// An answer to a run of another config.
fn answered_before(held_out: f64, steps: u64) -> Entry {
    let question = crate::protocol::ledger::Question {
        run: "before".into(),
        config: "0".repeat(64),
        identity: "1".repeat(64),
        kind: "average".into(),
        round: Some(1),
        ..Default::default()
    };
    let trained = effgan_fl::policy::Amount { steps, rounds: 1, passes: 1.0 };
    Entry::Answered(Box::new(crate::protocol::ledger::Answered { question, held_out, trained, ..Default::default() }))
}

#[test]
fn files_of_a_site_are_under_a_policy_whatever_the_images_are_called() {
    let kit = Kit::new("");
    let data_dir = Some(kit.folder.path().join("data"));
    for policy in [None, kit.at_site.policy.clone()] {
        let images = SiteImages::Dealt { partition_id: 0, data_dir: data_dir.clone() };
        let at_site = AtSite { images, policy, ..kit.at_site.clone() };
        let said = answer(&at_site, "query", query(CONFIG), &AtomicBool::new(false)).unwrap();
        assert_eq!(refusal(&said), Some(Refusal::WaitingForApproval));
    }
}

#[test]
fn a_policy_that_cannot_be_read_answers_nothing_and_the_ledger_says_so() {
    let kit = Kit::new("approve = \"sometimes\"");
    let said = kit.query(CONFIG);
    assert_eq!(refusal(&said), Some(Refusal::WorkFailed));
    let [Entry::Refused(refused)] = &kit.entries()[..] else { panic!("one line") };
    assert!(refused.why.contains("unknown variant `sometimes`"), "{}", refused.why);
    assert!(said.words.contains_key("ledger"));
}

#[test]
fn parameters_that_come_and_that_go_are_bounded() {
    let kit = Kit::new(ANY);
    for bad in [f32::NAN, f32::INFINITY, 3.4e38, -2e4] {
        let mut params = start(CONFIG);
        params.iter_mut().next().unwrap().1.values[0] = bad;
        let said = kit.ask("train", letter(CONFIG, ExchangeKind::Average, 1, params));
        assert_eq!(refusal(&said), Some(Refusal::ParametersOutOfBounds));
    }
    // What is sent leaves only within the bound, too: these come in below it, and a step of Adam with a rate of 5 leads out.
    let kit = Kit::new("approve = \"any\"\nmax_parameter = 2.0\n");
    let fast = with("batch_size = 64", "batch_size = 64, learning_rate = 5.0");
    let said = kit.round(&fast, ExchangeKind::Average, 1);
    assert_eq!(refusal(&said), Some(Refusal::ParametersOutOfBounds));
}

#[test]
fn the_hold_out_is_the_sites_own_and_dealt_once() {
    let kit = Kit::new(ANY);
    let split = |kit: &Kit, config: &str| split(&kit.at_site, Config::parse(config, &[]).unwrap()).unwrap();
    let first = split(&kit, CONFIG);
    assert_eq!((first.train.len(), first.held_out.len()), (112, 14));
    for other in [with("seed = 1", "seed = 2"), with("size = 16", "size = 8")] {
        assert_eq!(split(&kit, &other), first, "the server's seed and sizes choose nothing");
    }
    assert_ne!(split(&Kit::new(ANY), CONFIG), first, "another secret, another hold-out");
    assert_eq!(refusal(&kit.query(CONFIG)), None);
    let other = with("min_examples = 1", "min_examples = 1, held_out = 0.05");
    assert_eq!(refusal(&kit.query(&other)), Some(Refusal::HoldOutDiffers));
}

#[test]
fn work_is_bounded_in_a_run_and_in_all_runs() {
    let kit = Kit::new("approve = \"any\"\ntotal_passes = 8.0\n");
    let ask = |seed: u32, run: &str, round: u32, value: f32| {
        let config = with("seed = 1", &format!("seed = {seed}"));
        let mut params = start(&config);
        params.iter_mut().next().unwrap().1.values[0] = value;
        let mut message = letter(&config, ExchangeKind::Average, round, params);
        message.words.insert("run".into(), run.into());
        refusal(&kit.ask("train", message))
    };
    // The run wants three answers; a server that asks again and again with other parameters gets twice as many.
    for i in 0..6 {
        assert_eq!(ask(1, "run1", 1 + i % 2, 0.01 * i as f32), None, "{i}");
    }
    assert_eq!(ask(1, "run1", 1, 0.5), Some(Refusal::TooManyRounds));
    // Six passes are spent, and another run wants three.
    assert_eq!(ask(2, "run2", 1, 0.0), Some(Refusal::BudgetSpent));
}

#[test]
fn every_answer_is_in_the_ledger_as_it_left() {
    let kit = Kit::new(ANY);
    kit.query(CONFIG);
    let params = start(CONFIG);
    let said = kit.ask("train", letter(CONFIG, ExchangeKind::Average, 1, params.clone()));
    let entries = kit.entries();
    let [Entry::Answered(query), Entry::Answered(train)] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(query.words.keys().collect::<Vec<_>>(), ["client-name", "version"]);
    assert_eq!(query.wishes.as_ref().unwrap().images, Some(112));
    assert_eq!(query.question.config, params::sha256(CONFIG.as_bytes()));
    assert_eq!((train.question.kind.as_str(), train.question.round), ("average", Some(1)));
    assert_eq!(train.question.received, Some(params.hash()));
    for (name, array) in &said.params {
        let bytes: Vec<u8> = array.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(
            (train.arrays[name].bytes, &train.arrays[name].sha256),
            (bytes.len() as u64, &params::sha256(&bytes))
        );
    }
    for name in ["num-examples", "loss_d", "loss_g", "steps", "seconds"] {
        assert_eq!(train.numbers[name], said.numbers[name]);
    }
    assert_eq!(train.trained, effgan_fl::policy::Amount { rounds: 1, steps: 2, passes: 1.0 });
    assert_eq!(said.ledger().unwrap(), Some(kit.ledger().read(|_, _| ()).unwrap().hash.as_str()));
    let mode = |name: &str| fs::metadata(kit.folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ledger.jsonl"), mode("hold-out.secret"), mode("state")), (0o600, 0o600, 0o700));
}

#[test]
fn a_site_whose_ledger_was_changed_or_cannot_be_written_answers_nothing() {
    let kit = Kit::new(ANY);
    kit.query(CONFIG);
    kit.round(CONFIG, ExchangeKind::Average, 1);
    let path = kit.folder.path().join("ledger.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"steps\":2", "\"steps\":1")).unwrap();
    let changed = kit.query(CONFIG);
    // The last line is not checked by one after it: it takes one to see.
    assert_eq!(refusal(&changed), None);
    fs::write(&path, text.replacen("\"classes\":2", "\"classes\":3", 1)).unwrap();
    assert_eq!(refusal(&kit.round(CONFIG, ExchangeKind::Average, 2)), Some(Refusal::WorkFailed));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let unwritten = kit.query(CONFIG);
    assert_eq!(
        (refusal(&unwritten), unwritten.numbers.contains_key("num-examples")),
        (Some(Refusal::WorkFailed), false)
    );
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
        AtSite { images, state_dir: kit.join("state"), policy: Some(kit.join("policy.toml")), jobs: 1 }
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
            [("query", query(config)), ("train", letter(config, ExchangeKind::Average, 1, start(CONFIG)))]
        {
            let said = answer(&site, kind, message, &AtomicBool::new(false)).unwrap();
            assert_eq!(refusal(&said), Some(expected), "{data}");
            let bytes = format!("{said:?}");
            for word in ["Mustermann", "1961", "clinic", &folder.path().display().to_string(), ".png", "cats", "dogs"] {
                assert!(!bytes.contains(word), "{data}: {bytes}");
            }
        }
        let own = fs::read_to_string(site.policy.unwrap().parent().unwrap().join("ledger.jsonl")).unwrap();
        assert!(own.contains("Mustermann"), "the site's own ledger says what is wrong");
    }
}

#[test]
fn a_site_of_an_experiment_is_under_a_policy_only_where_it_has_one() {
    let kit = Kit::new(ANY);
    let config = CONFIG.replace(
        "dataset = { name = \"folder\", size = 16, channels = 1 }",
        "dataset = { name = \"mnist-mini\", limit = 60, size = 16 }",
    );
    let dealt = |policy| {
        let images = SiteImages::Dealt { partition_id: 0, data_dir: None };
        AtSite { images, policy, ..kit.at_site.clone() }
    };
    let ask = |at_site: &AtSite| answer(at_site, "query", query(&config), &AtomicBool::new(false)).unwrap();
    let free = ask(&dealt(None));
    assert_eq!((refusal(&free), free.ledger().unwrap()), (None, None));
    let bound = ask(&dealt(kit.at_site.policy.clone()));
    assert_eq!(refusal(&bound), Some(Refusal::TooFewImages));
    // One of its own images always is, with the defaults where nobody says where its policy lies.
    let own = AtSite { policy: None, ..kit.at_site.clone() };
    assert_eq!(
        refusal(&answer(&own, "query", query(CONFIG), &AtomicBool::new(false)).unwrap()),
        Some(Refusal::WaitingForApproval)
    );
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
fn an_array_that_is_not_the_networks_is_a_failure_of_the_work_and_no_panic() {
    let kit = Kit::new(ANY);
    let params: Params = [("generator.w".to_owned(), Array::new([1], vec![1.0]))].into_iter().collect();
    let said = kit.ask("train", letter(CONFIG, ExchangeKind::Average, 1, params));
    assert_eq!(refusal(&said), Some(Refusal::WorkFailed));
}

#[test]
fn a_site_that_is_asked_who_it_is_forgets_runs_that_nobody_asks_about() {
    let kit = Kit::new(&format!("{ANY}keep_days = 30\n"));
    let days_ago = |days: u64| SystemTime::now() - Duration::from_hours(24 * days);
    let run = |name: &str, days: u64| {
        let folder = kit.at_site.state_dir.join(name).join("north");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("memory"), "of it").unwrap();
        fs::File::options().write(true).open(folder.join("memory")).unwrap().set_modified(days_ago(days)).unwrap();
        kit.at_site.state_dir.join(name)
    };
    let (old, new, foreign) = (run("0123456789abcdef", 31), run("fedcba9876543210", 29), run("somebody's", 31));
    assert_eq!(refusal(&kit.query(CONFIG)), None);
    assert_eq!([old, new, foreign].map(|path| path.exists()), [false, true, true]);
}

#[test]
fn a_yes_that_was_said_before_the_images_were_counted_is_no_yes_to_them() {
    let kit = Kit::new("");
    let (data, away) = (kit.folder.path().join("data"), kit.folder.path().join("away"));
    fs::rename(&data, &away).unwrap();
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WaitingForApproval));
    let approve = |images: Option<u64>| {
        let waiting = approval::waiting(kit.folder.path()).unwrap().pop().unwrap();
        assert_eq!(waiting.wishes.images, images);
        approval::approve(kit.folder.path(), &waiting).unwrap();
    };
    approve(None);
    fs::rename(&away, &data).unwrap();
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WaitingForApproval));
    approve(Some(112));
    assert_eq!(refusal(&kit.query(CONFIG)), None);
}

#[test]
fn a_yes_that_is_taken_back_while_the_site_is_at_work_keeps_its_answer() {
    let kit = Kit::new("");
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WaitingForApproval));
    let waiting = approval::waiting(kit.folder.path()).unwrap().pop().unwrap();
    approval::approve(kit.folder.path(), &waiting).unwrap();
    let house = House::open(kit.at_site.policy.as_ref().unwrap(), &AtomicBool::new(false)).unwrap();
    let question = question::read("query", query(CONFIG)).1.unwrap();
    assert!(house.check_still_approved(&question).is_ok());
    approval::withdraw(kit.folder.path(), &waiting.config).unwrap();
    let unanswered = house.check_still_approved(&question).unwrap_err();
    assert_eq!(unanswered.refusal, Refusal::WaitingForApproval);
}

#[test]
fn a_site_that_has_lost_its_hold_out_deals_no_other() {
    let kit = Kit::new(ANY);
    assert_eq!(refusal(&kit.query(CONFIG)), None);
    let secret = kit.folder.path().join("hold-out.secret");
    let kept = fs::read(&secret).unwrap();
    fs::remove_file(&secret).unwrap();
    assert_eq!(refusal(&kit.query(CONFIG)), Some(Refusal::WorkFailed));
    assert!(!secret.exists());
    fs::write(&secret, kept).unwrap();
    assert_eq!(refusal(&kit.query(CONFIG)), None);
}

#[test]
fn a_server_of_another_version_that_asks_again_and_again_fills_no_ledger() {
    let kit = Kit::new(ANY);
    for _ in 0..3 {
        let mut message = query(CONFIG);
        message.words.insert("version".into(), "0.0.7".into());
        assert_eq!(refusal(&kit.ask("query", message)), Some(Refusal::OtherVersion));
    }
    assert_eq!(kit.entries().len(), 1);
}
