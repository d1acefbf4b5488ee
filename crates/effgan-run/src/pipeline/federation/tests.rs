//! A federation whose grid is in this process: the sites' own code answers, and whatever may go wrong on the way does.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use effgan_data::partition::PartitionFile;
use effgan_data::{ClientName, Partition, PartitionConfig};
use effgan_fl::StrategyReply;
use effgan_nn::{Array, Params, Streams};
use image::GrayImage;
use tempfile::TempDir;

use super::*;
use crate::config::StrategyConfig;
use crate::pipeline::{hand_in, run};
use crate::protocol::{AtSite, Content, MessageId, NodeId, Pulled, SiteImages, answer, fine_tune, split};
use crate::record::events::Event;
use crate::report::folder::Folder;

mod hostile_sites;

const TINY: &str = include_str!("../../../tests/tiny.toml");

/// Three nodes; each answers when it is asked for what it has to say, the last who was asked first.
struct Post {
    sites: Vec<AtSite>,
    sent: VecDeque<(MessageId, NodeId, String, Content)>,
    number: u64,
    /// Nodes that leave messages of this type without an answer.
    silent: BTreeSet<(NodeId, &'static str)>,
    /// For so many looks the last node is not connected.
    away: u32,
    /// Who was sent something.
    asked: BTreeSet<NodeId>,
    /// How many bytes answers may have, by Flower's type of the question.
    limits: BTreeSet<(String, u64)>,
    /// What becomes of an answer.
    spoil: fn(NodeId, &str, Content) -> std::result::Result<Content, String>,
    /// What happens elsewhere before an answer to such a question is taken.
    meanwhile: Meanwhile,
}

type Meanwhile = Box<dyn FnMut(NodeId, &str) + Send>;

impl Grid for Post {
    fn nodes(&mut self) -> effgan_fl::Result<Vec<NodeId>> {
        let there = self.sites.len() - usize::from(self.away > 0);
        self.away = self.away.saturating_sub(1);
        Ok((0..there as u64).collect())
    }

    fn push(&mut self, node: NodeId, kind: &str, content: &Content, _: f64) -> effgan_fl::Result<MessageId> {
        self.number += 1;
        self.asked.insert(node);
        let id = format!("message {}", self.number);
        if !self.silent.iter().any(|(silent, of)| *silent == node && *of == kind) {
            self.sent.push_front((id.clone(), node, kind.into(), content.clone()));
        }
        Ok(id)
    }

    fn pull(&mut self, messages: &[(MessageId, u64)]) -> effgan_fl::Result<Option<Pulled>> {
        for (id, most) in messages {
            let kind = self.sent.iter().find(|(sent, ..)| sent == id).map(|(_, _, kind, _)| kind.clone());
            self.limits.extend(kind.map(|kind| (kind, *most)));
        }
        let is_wanted = |id: &MessageId| messages.iter().any(|(wanted, _)| wanted == id);
        let Some(place) = self.sent.iter().position(|(id, ..)| is_wanted(id)) else { return Ok(None) };
        let (id, node, kind, content) = self.sent.remove(place).unwrap();
        let said = answer(&self.sites[node as usize], &kind, content, &AtomicBool::new(false));
        (self.meanwhile)(node, &kind);
        let said = said.map_err(|failure| failure.line()).and_then(|content| (self.spoil)(node, &kind, content));
        Ok(Some((id, said)))
    }

    fn strategy(&self, config: &StrategyConfig) -> Arc<dyn Strategy> {
        assert_eq!((config.name.as_str(), config.settings["step"].as_f64()), ("Counted", Some(0.5)));
        Arc::new(Counted)
    }
}

/// Goes half the way to the plain mean, and counts its rounds.
struct Counted;

impl Strategy for Counted {
    fn aggregate(
        &self,
        round: u32,
        mut current: Params,
        replies: Vec<StrategyReply>,
        mut memory: Params,
    ) -> effgan_fl::Result<(Params, Params)> {
        assert!(replies.len() == 3 && replies.iter().all(|reply| shapes(&reply.params) == shapes(&current)));
        assert!(!current.iter().any(|(name, _)| name.contains("running")), "a strategy sees trainable parameters only");
        let before = memory.get("rounds").map_or(0.0, |rounds| rounds.values[0]);
        assert_eq!(before, round as f32 - 1.0);
        memory.insert("rounds", Array::new([1], vec![round as f32]));
        for (name, array) in &mut current {
            for (i, value) in array.values.iter_mut().enumerate() {
                let mean = replies.iter().map(|reply| reply.params.get(name).unwrap().values[i]).sum::<f32>() / 3.0;
                *value += 0.5 * (mean - *value);
            }
        }
        Ok((current, memory))
    }
}

fn shapes(params: &Params) -> Vec<(String, Vec<usize>)> {
    params.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect()
}

fn dealt(folder: &TempDir, partition_id: usize) -> AtSite {
    let images = SiteImages::Dealt { partition_id, data_dir: None };
    AtSite { images, state_dir: folder.path().join(format!("state-{partition_id}")), policy: None, jobs: 1 }
}

fn post(sites: Vec<AtSite>) -> Post {
    Post {
        sites,
        sent: VecDeque::new(),
        number: 0,
        silent: BTreeSet::new(),
        away: 0,
        asked: BTreeSet::new(),
        limits: BTreeSet::new(),
        spoil: |_, _, content| Ok(content),
        meanwhile: Box::new(|_, _| {}),
    }
}

fn config(settings: &[&str]) -> Config {
    Config::parse(TINY, &settings.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

/// Runs into `out` and answers with what was said.
fn over(post: &mut Post, config: &Config, out: &Path) -> (Result<()>, Vec<String>) {
    over_listed(post, config, out, None)
}

/// As [`over`], where the server has a list.
fn over_listed(post: &mut Post, config: &Config, out: &Path, roll: Option<Roll>) -> (Result<()>, Vec<String>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&said);
    let progress = Progress::lines(move |line| log.lock().unwrap().push(line.to_owned()));
    let outcome = federate(config, out, 2, post, roll, &progress, &AtomicBool::new(false));
    let said = said.lock().unwrap().clone();
    (outcome, said)
}

fn hash(run: &Path) -> String {
    info_of(run).unwrap().model_hash.unwrap()
}

fn quiet() -> Progress {
    Progress::lines(|_| {})
}

fn simulated(config: &Config, folder: &TempDir) -> String {
    let out = folder.path().join("simulated");
    run(config, &out, 2, &quiet(), &AtomicBool::new(false)).unwrap();
    hash(&out)
}

#[test]
fn sites_come_to_the_hash_of_the_simulation_and_a_second_start_has_nothing_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (config(&[]), folder.path().join("run"));
    let sites = || (0..3).map(|i| dealt(&folder, i)).collect();
    let (outcome, said) = over(&mut post(sites()), &config, &out);
    outcome.unwrap();
    assert_eq!(hash(&out), simulated(&config, &folder));
    assert!(said.iter().any(|line| line.starts_with("round 1   averaged 3 clients: loss D ")), "{said:?}");
    let (outcome, said) = over(&mut post(sites()), &config, &out);
    assert_eq!((outcome.is_ok(), said), (true, vec![format!("{} is done", out.display())]));
    let other = Config { seed: 9, ..config };
    let error = over(&mut post(sites()), &other, &out).0.unwrap_err().line();
    assert!(error.ends_with("is a run of another config; choose another out, or put the config back"), "{error}");
    let error = crate::pipeline::resume(&out, &[], 1, &quiet(), &AtomicBool::new(false)).unwrap_err().line();
    assert!(
        error.ends_with("is a federation's, whose images are elsewhere; start it again with effgan federation run"),
        "{error}"
    );
}

#[test]
fn sites_under_policies_come_to_the_hash_of_the_simulation_of_their_own_hold_outs() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&[]);
    let site = |i: usize| {
        let site = folder.path().join(format!("site-{i}"));
        fs::create_dir_all(&site).unwrap();
        fs::write(site.join("policy.toml"), "approve = \"any\"\nmin_images = 10\n").unwrap();
        AtSite { policy: Some(site.join("policy.toml")), ..dealt(&folder, i) }
    };
    let out = folder.path().join("run");
    over(&mut post((0..3).map(site).collect()), &config, &out).0.unwrap();

    let partition = Partition { clients: (0..3).map(|i| split(&site(i), config.clone()).unwrap()).collect() };
    let path = folder.path().join("partition.json");
    fs::write(&path, serde_json::to_vec(&partition).unwrap()).unwrap();
    let of_file = Config { partition: PartitionConfig::File(PartitionFile { path }), ..config.clone() };
    assert_eq!(hash(&out), simulated(&of_file, &folder));
    assert_ne!(partition, config.deal(&config.load_dataset().unwrap()).unwrap(), "the seed has dealt another");
}

#[test]
fn more_rounds_go_on_where_the_run_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (short, long, out) = (config(&[]), config(&["algorithm.rounds=3"]), folder.path().join("run"));
    let sites = || (0..3).map(|i| dealt(&folder, i)).collect();
    over(&mut post(sites()), &short, &out).0.unwrap();
    let (outcome, said) = over(&mut post(sites()), &long, &out);
    outcome.unwrap();
    assert!(said[0].ends_with("goes on after round 2"), "{said:?}");
    assert_eq!(hash(&out), simulated(&long, &folder));
}

#[test]
fn a_strategy_takes_the_place_of_the_averaging_and_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let sites = || (0..3).map(|i| dealt(&folder, i)).collect();
    let strategy = "federation.strategy={ name = \"Counted\", step = 0.5 }";
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    over(&mut post(sites()), &config(&[strategy]), &whole).0.unwrap();
    // It ends before the collection, with all its rounds done.
    let mut first = post(sites());
    first.spoil = |_, kind, content| {
        if kind == "train.finetune" { Err("gone".into()) } else { Ok(content) }
    };
    let strict = config(&[strategy, "aggregation.min_clients=3"]);
    assert!(over(&mut first, &strict, &cut).0.unwrap_err().line().contains("client-0000: gone"));
    over(&mut post(sites()), &strict, &cut).0.unwrap();
    assert_eq!(hash(&cut), hash(&whole));
    assert_ne!(hash(&whole), simulated(&config(&[]), &folder));
    let error = run(&strict, &folder.path().join("no"), 1, &quiet(), &AtomicBool::new(false)).unwrap_err().line();
    assert!(
        error.starts_with("federation.strategy names a strategy of Flower, which a simulation does not use"),
        "{error}"
    );
    let median = config(&[strategy, "aggregation.kind=median"]);
    let error = over(&mut post(sites()), &median, &folder.path().join("no")).0.unwrap_err().line();
    assert!(error.starts_with("federation.strategy replaces the mean of fedgan, fedprox and effgan"), "{error}");
}

#[test]
fn a_site_that_connects_after_the_server_has_gone_on_gets_the_letter_that_was_held_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (config(&["aggregation.min_clients=3"]), folder.path().join("run"));
    let sites = || (0..3).map(|i| dealt(&folder, i)).collect();
    let mut first = post(sites());
    first.spoil = |node, kind, content| {
        if (node, kind) == (1, "train.finetune") { Err("gone".into()) } else { Ok(content) }
    };
    assert!(over(&mut first, &config, &out).0.unwrap_err().line().contains("client-0001: gone"));
    let mut second = post(sites());
    second.away = 2;
    over(&mut second, &config, &out).0.unwrap();
    assert_eq!(hash(&out), simulated(&config, &folder));
    let missing = Folder::read(&out).unwrap().rounds.into_values().map(|round| round.missing.len());
    assert_eq!(missing.sum::<usize>(), 0);
}

#[test]
fn when_nobody_can_take_part_the_run_ends_at_once_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    // Two clients of two classes each would leave six of ten to nobody: what no site can mend.
    let config = config(&["partition.clients=2", "partition.classes_per_client=2"]);
    let sites = (0..2).map(|i| dealt(&folder, i)).collect();
    let line = over(&mut post(sites), &config, &folder.path().join("run")).0.unwrap_err().line();
    // Why is in the sites' own logs.
    assert!(line.starts_with("no site can take part: refused: data-unusable (its operator must run "), "{line}");
}

#[test]
fn what_a_federation_cannot_do_is_refused_before_anything() {
    let folder = tempfile::tempdir().unwrap();
    let central = TINY.replace("kind = \"effgan\"", "kind = \"central\"").replace("fine_tune_epochs = 8\n", "");
    let central = Config::parse(&central, &[]).unwrap();
    for (config, reason) in [
        (central, "algorithm.kind = \"central\" trains on all images in one place"),
        (config(&["simulation.dropout=0.5"]), "[simulation] describes simulated dropouts and attackers"),
        (of_folders(&["dataset={name=\"folder\",size=37,channels=3}"]), "images of 3 x 37 x 37 do not fit a dcgan"),
    ] {
        let error = over(&mut post(Vec::new()), &config, &folder.path().join("run")).0.unwrap_err().line();
        assert!(error.starts_with(reason), "{error}");
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn who_cannot_take_part_is_told_with_the_reason_and_the_run_waits_for_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let sites = (0..4).map(|i| dealt(&folder, [0, 0, 1, 7][i])).collect();
    let config = config(&["federation.deadline=0.5"]);
    let mut post = post(sites);
    post.spoil = |node, _, mut content| {
        if node == 2 {
            content.words.insert("version".into(), "9.9.9".into());
        }
        Ok(content)
    };
    let (outcome, said) = over(&mut post, &config, &folder.path().join("run"));
    let line = outcome.unwrap_err().line();
    let (first, last) = (
        "1 of 3 sites are there after 0.5 s; node ",
        "; start their nodes, or give them longer by federation.deadline",
    );
    assert!(line.starts_with(first) && line.ends_with(last), "{line}");
    for reason in [
        "another node is client-0000 already; give each site a name of its own",
        "client-0001 has effgan 9.9.9, and the server 0.1.0",
        "refused: data-unusable (its operator must run effgan federation check)",
    ] {
        assert!(said.iter().any(|said| said.contains(reason)) && line.contains(reason), "{reason}: {said:?}");
    }
    let mut config = config;
    config.federation.sites = Some(["client-0000", "north"].map(|name| ClientName::new(name).unwrap()).into());
    let (outcome, said) =
        over(&mut self::post(vec![dealt(&folder, 0), dealt(&folder, 1)]), &config, &folder.path().join("run"));
    assert!(outcome.unwrap_err().line().starts_with("1 of 2 sites are there after 0.5 s, without north; "));
    assert!(said.iter().any(|line| line.contains("client-0001 is not one of federation.sites")), "{said:?}");
}

#[test]
fn answers_that_cannot_be_used_leave_their_site_out_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut post = post((0..3).map(|i| dealt(&folder, i)).collect());
    post.spoil = |node, kind, mut content| match (node, kind) {
        (0, "train") => Err("the disk is full (Flower's error 2)".into()),
        (1, "train") => {
            let bad: f64 = content.numbers["num-examples"] + 0.5;
            content.numbers.insert("num-examples".into(), bad);
            Ok(content)
        }
        _ => Ok(content),
    };
    over(&mut post, &config(&[]), &out).0.unwrap();
    let folder = Folder::read(&out).unwrap();
    let reasons: Vec<&str> = folder.rounds[&1].missing.iter().map(|missing| missing.reason.as_str()).collect();
    assert_eq!(reasons[0], "the disk is full (Flower's error 2)");
    assert!(reasons[1].starts_with("the message's `num-examples` is ") && reasons[1].ends_with("which is no count"));
    assert_eq!(folder.rounds[&3].clients.len(), 3, "they are welcome again");
}

/// Images of noise in a folder of two classes; another seed, other images.
fn images(folder: &Path, seed: u64, num: usize) {
    for i in 0..num {
        let class = folder.join(["cats", "dogs"][i % 2]);
        fs::create_dir_all(&class).unwrap();
        let noise = Streams::of_run(seed).normal(effgan_nn::Purpose::Init, i as u64, 28 * 28);
        let pixels = noise.into_iter().map(effgan_nn::pixels::to_u8).collect();
        GrayImage::from_raw(28, 28, pixels).unwrap().save(class.join(format!("{i}.png"))).unwrap();
    }
}

fn own(folder: &TempDir, name: &str, seed: u64, num: usize) -> AtSite {
    let data_dir = folder.path().join(name);
    if !data_dir.exists() {
        images(&data_dir, seed, num);
    }
    let images = SiteImages::Own { data_dir, client: ClientName::new(name).unwrap() };
    let site = folder.path().join(format!("site-{name}"));
    fs::create_dir_all(&site).unwrap();
    let policy = site.join("policy.toml");
    fs::write(&policy, "approve = \"any\"\nmin_images = 30\nlabel_counts = true\n").unwrap();
    AtSite { images, state_dir: site.join("state"), policy: Some(policy), jobs: 1 }
}

/// Two sites with folders of their own.
fn two_folders(folder: &TempDir) -> Vec<AtSite> {
    vec![own(folder, "south", 2, 60), own(folder, "north", 1, 80)]
}

fn of_folders(more: &[&str]) -> Config {
    let sites =
        ["dataset={name=\"folder\"}", "partition={kind=\"iid\",clients=1}", "federation.sites=[\"north\",\"south\"]"];
    config(&[&sites[..], more].concat())
}

/// A site with as many images of noise in each of these folders.
fn with_classes(folder: &TempDir, name: &str, classes: [&str; 2]) -> AtSite {
    let site = own(folder, name, 3, 40);
    let data = folder.path().join(name);
    ["cats", "dogs"].iter().zip(classes).for_each(|(from, to)| fs::rename(data.join(from), data.join(to)).unwrap());
    site
}

#[test]
fn sites_with_other_folders_train_one_conditional_network_whose_classes_have_names() {
    let folder = tempfile::tempdir().unwrap();
    let sites = || {
        vec![
            with_classes(&folder, "south", ["animals", "smileys"]),
            with_classes(&folder, "north", ["food", "animals"]),
        ]
    };
    let mut post = post(sites());
    let out = folder.path().join("run");
    let conditional = "network={kind=\"dcgan\",base_channels=4,latent_dim=8,conditional=true}";
    let line = over(&mut post, &of_folders(&[conditional]), &out).0.unwrap_err().line();
    assert!(line.contains("needs federation.classes") && !out.exists(), "{line}");
    assert_eq!(post.number, 0, "no site was asked");

    let named = of_folders(&[conditional, "federation.classes=[\"animals\",\"food\",\"smileys\"]"]);
    over(&mut post, &named, &out).0.unwrap();
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
fn a_site_that_missed_the_collection_hands_its_generator_in_later() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("run"));
    over(&mut post(two_folders(&folder)), &of_folders(&[]), &whole).0.unwrap();

    // A site answers nothing of a run whose fine-tuned generator it has given; here each has just joined.
    for name in ["north", "south"] {
        fs::remove_file(folder.path().join(format!("site-{name}/ledger.jsonl"))).unwrap();
    }
    let mut post = post(two_folders(&folder));
    post.silent.insert((1, "train.finetune"));
    let short = of_folders(&["federation.deadline=3"]);
    over(&mut post, &short, &out).0.unwrap();
    let missing = Folder::read(&out).unwrap().rounds[&3].missing[0].reason.clone();
    assert_eq!(missing, "no answer within 3 s");

    let (file, stop) = (folder.path().join("north.generator"), AtomicBool::new(false));
    let site = fine_tune(&out.join("join"), &own(&folder, "north", 1, 80), &file, &stop).unwrap();
    assert_eq!(site.name.as_str(), "north");
    assert_eq!(hand_in(&out, &file, 1, &quiet(), &stop).unwrap().as_str(), "north");
    assert_eq!(hash(&out), hash(&whole));
    let members = |run: &Path| fs::read(run.join("model/manifest.json")).unwrap();
    assert_eq!(members(&out), members(&whole));

    let again = hand_in(&out, &file, 1, &quiet(), &stop).unwrap_err().line();
    assert!(again.ends_with("north is a member already"), "{again}");
    let stranger = folder.path().join("stranger.generator");
    fine_tune(&out.join("join"), &own(&folder, "east", 3, 40), &stranger, &stop).unwrap();
    let error = hand_in(&out, &stranger, 1, &quiet(), &stop).unwrap_err().line();
    assert!(error.ends_with("east is none of the run's sites"), "{error}");
    let short = folder.path().join("short.generator");
    fs::write(&short, &fs::read(&stranger).unwrap()[..1000]).unwrap();
    let error = hand_in(&out, &short, 1, &quiet(), &stop).unwrap_err().line();
    assert!(error.starts_with("this takes what effgan ensemble fine-tune wrote: "), "{error}");
    assert_eq!(error.matches(&short.display().to_string()).count(), 1, "{error}");

    fs::remove_file(whole.join("sites.json")).unwrap();
    let simulation = hand_in(&whole, &file, 1, &quiet(), &stop).unwrap_err().line();
    assert!(
        simulation.ends_with("is no federation's run: its clients were all here, and none can be late"),
        "{simulation}"
    );
}

#[test]
fn label_counts_are_told_where_the_config_asks_for_them() {
    for asked in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let setting = format!("federation.label_counts={asked}");
        over(&mut post(two_folders(&folder)), &of_folders(&["algorithm.rounds=1", &setting]), &out).0.unwrap();
        let partition = info_of(&out).unwrap().partition;
        assert_eq!(partition.clients, ["north", "south"]);
        assert_eq!(partition.class_counts.is_some(), asked);
        for (counts, n) in partition.class_counts.iter().flatten().zip(&partition.num_examples) {
            assert_eq!(counts.iter().sum::<u64>(), *n);
        }
    }
}

#[test]
fn a_site_that_stops_at_the_deadline_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // A million epochs take hours; the site looks at the clock after each step.
    let config = config(&["local.epochs=1000000", "federation.deadline=1", "aggregation.min_clients=1"]);
    let error = over(&mut post((0..3).map(|i| dealt(&folder, i)).collect()), &config, &out).0.unwrap_err().line();
    assert!(
        error.starts_with("0 of 3 clients gave a usable reply in round 1, and at least 1 must; client-0000: "),
        "{error}"
    );
    let events = RunDir::open(&out, info_of(&out).unwrap()).unwrap().events().unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::Round(_))));
    let state: PathBuf = folder.path().join("state-0");
    assert!(state.is_dir(), "what it had come to is kept at the site");
}
