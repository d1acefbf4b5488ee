//! A federation in this process: its grid calls the sites' own code, and makes go wrong whatever may go wrong on the way.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use effgan_data::partition::PartitionFile;
use effgan_data::{ClientName, Partition, PartitionConfig};
use effgan_fl::StrategyReply;
use effgan_nn::{Array, Params, Streams};
use image::GrayImage;
use tempfile::TempDir;

use super::*;
use crate::config::StrategyConfig;
use crate::pipeline::{add_late_member, run};
use crate::progress::Progress;
use crate::protocol::{
    Content, LateGenerator, MessageId, NodeId, Pulled, SiteImages, SiteSettings, answer, fine_tune, split,
};
use crate::record::events::Event;
use crate::report::run_folder::Folder;

mod hostile_sites;
mod own_folders;
mod private_runs;
mod unavailable_sites;
mod whole_runs;

const TINY: &str = include_str!("../../../../tests/tiny.toml");

/// A grid of sites, one node each. A site does its work when its reply is pulled; the newest request is answered first.
struct TestGrid {
    sites: Vec<SiteSettings>,
    sent: VecDeque<(MessageId, NodeId, String, Content)>,
    number: u64,
    /// Nodes that do not answer messages of this type.
    silent: BTreeSet<(NodeId, &'static str)>,
    /// For so many polls the last node is not connected.
    away: u32,
    /// The nodes that were sent a message.
    asked: BTreeSet<NodeId>,
    /// How long replies may be in bytes, by the request's type.
    limits: BTreeSet<(String, u64)>,
    /// Changes a reply on its way.
    change_reply: fn(NodeId, &str, Content) -> std::result::Result<Content, String>,
    /// Called after a site has replied to a message of such a type, before its reply is returned.
    meanwhile: Meanwhile,
}

type Meanwhile = Box<dyn FnMut(NodeId, &str) + Send>;

impl Grid for TestGrid {
    fn nodes(&mut self) -> effgan_fl::Result<Vec<NodeId>> {
        let there = self.sites.len() - usize::from(self.away > 0);
        self.away = self.away.saturating_sub(1);
        Ok((0..there as u64).collect())
    }

    fn push(&mut self, node: NodeId, kind: &str, content: Content, _: f64) -> effgan_fl::Result<MessageId> {
        self.number += 1;
        self.asked.insert(node);
        let id = format!("message {}", self.number);
        if !self.silent.iter().any(|(silent, of)| *silent == node && *of == kind) {
            self.sent.push_front((id.clone(), node, kind.into(), content));
        }
        Ok(id)
    }

    fn pull(&mut self, messages: &[(MessageId, u64)]) -> effgan_fl::Result<Option<Pulled>> {
        for (id, max_bytes) in messages {
            let kind = self.sent.iter().find(|(sent, ..)| sent == id).map(|(_, _, kind, _)| kind.clone());
            self.limits.extend(kind.map(|kind| (kind, *max_bytes)));
        }
        let is_wanted = |id: &MessageId| messages.iter().any(|(wanted, _)| wanted == id);
        let Some(place) = self.sent.iter().position(|(id, ..)| is_wanted(id)) else { return Ok(None) };
        let (id, node, kind, content) = self.sent.remove(place).unwrap();
        let reply = answer(&self.sites[node as usize], &kind, content, &AtomicBool::new(false));
        (self.meanwhile)(node, &kind);
        let reply =
            reply.map_err(|failure| failure.line()).and_then(|content| (self.change_reply)(node, &kind, content));
        Ok(Some((id, reply)))
    }

    fn strategy(&self, config: &StrategyConfig) -> Arc<dyn Strategy> {
        assert_eq!((config.name.as_str(), config.settings["step"].as_f64()), ("Counted", Some(0.5)));
        Arc::new(Counted)
    }
}

/// A strategy that moves half the way to the plain mean, and counts its rounds in its memory.
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
        let before = memory.get("rounds").map_or(0.0, |rounds| rounds.values()[0]);
        assert_eq!(before, round as f32 - 1.0);
        memory.insert("rounds", Array::new([1], vec![round as f32]));
        for (name, array) in &mut current {
            for (i, value) in array.values_mut().iter_mut().enumerate() {
                let mean = replies.iter().map(|reply| reply.params.get(name).unwrap().values()[i]).sum::<f32>() / 3.0;
                *value += 0.5 * (mean - *value);
            }
        }
        Ok((current, memory))
    }
}

fn shapes(params: &Params) -> Vec<(String, Vec<usize>)> {
    params.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect()
}

fn assigned(folder: &TempDir, partition_id: usize) -> SiteSettings {
    let images = SiteImages::Assigned { partition_id, data_dir: None };
    SiteSettings { images, state_dir: folder.path().join(format!("state-{partition_id}")), policy: None, jobs: 1 }
}

fn grid_of(sites: Vec<SiteSettings>) -> TestGrid {
    TestGrid {
        sites,
        sent: VecDeque::new(),
        number: 0,
        silent: BTreeSet::new(),
        away: 0,
        asked: BTreeSet::new(),
        limits: BTreeSet::new(),
        change_reply: |_, _, content| Ok(content),
        meanwhile: Box::new(|_, _| {}),
    }
}

fn config(settings: &[&str]) -> Config {
    Config::parse(TINY, &settings.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

/// Runs into `out`, and returns the lines that were logged.
fn run_over(grid: &mut TestGrid, config: &Config, out: &Path) -> (Result<()>, Vec<String>) {
    run_listed(grid, config, out, None)
}

/// As [`run_over`], with a list of sites.
fn run_listed(grid: &mut TestGrid, config: &Config, out: &Path, list: Option<SiteList>) -> (Result<()>, Vec<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let progress = Progress::lines(move |line| log.lock().unwrap().push(line.to_owned()));
    let outcome = federate(config, out, grid, list, on(2, &progress));
    let lines = lines.lock().unwrap().clone();
    (outcome, lines)
}

fn hash(run: &Path) -> String {
    info_of(run).unwrap().model_hash.unwrap()
}

/// `jobs` threads that nothing stops.
fn on(jobs: usize, progress: &Progress) -> Execution<'_> {
    static STOP: AtomicBool = AtomicBool::new(false);
    Execution::new(Some(jobs), progress, &STOP)
}

fn quiet() -> Progress {
    Progress::lines(|_| {})
}

fn simulated(config: &Config, folder: &TempDir) -> String {
    let out = folder.path().join("simulated");
    run(config, &out, on(2, &quiet())).unwrap();
    hash(&out)
}

/// Writes images of noise in two classes; another seed makes other images.
fn images(folder: &Path, seed: u64, num: usize) {
    for i in 0..num {
        let class = folder.join(["cats", "dogs"][i % 2]);
        fs::create_dir_all(&class).unwrap();
        let noise = Streams::of_run(seed).normal(effgan_nn::Purpose::Init, i as u64, 28 * 28);
        let pixels = noise.into_iter().map(effgan_nn::pixels::to_u8).collect();
        GrayImage::from_raw(28, 28, pixels).unwrap().save(class.join(format!("{i}.png"))).unwrap();
    }
}

fn own(folder: &TempDir, name: &str, seed: u64, num: usize) -> SiteSettings {
    let data_dir = folder.path().join(name);
    if !data_dir.exists() {
        images(&data_dir, seed, num);
    }
    let images = SiteImages::Own { data_dir, client: ClientName::new(name).unwrap() };
    let site = folder.path().join(format!("site-{name}"));
    fs::create_dir_all(&site).unwrap();
    let policy = site.join("policy.toml");
    fs::write(&policy, "approve = \"any\"\nmin_images = 30\nlabel_counts = true\n").unwrap();
    SiteSettings { images, state_dir: site.join("state"), policy: Some(policy), jobs: 1 }
}

/// Two sites with folders of their own.
fn two_folders(folder: &TempDir) -> Vec<SiteSettings> {
    vec![own(folder, "south", 2, 60), own(folder, "north", 1, 80)]
}

fn of_folders(more: &[&str]) -> Config {
    let sites =
        ["dataset={name=\"folder\"}", "partition={kind=\"iid\",clients=1}", "federation.sites=[\"north\",\"south\"]"];
    config(&[&sites[..], more].concat())
}
