//! A site and the requests of a server that may be hostile: what the site refuses, what it records, and what never leaves.

use std::time::SystemTime;

use effgan_data::ClientName;
use effgan_fl::{Broadcast, ExchangeKind, FlError, RunPosition, SiteMessage};
use effgan_nn::{ArithmeticVersion, Array, Params, Purpose, Streams, params, pixels, sealed};
use image::GrayImage;
use tempfile::TempDir;

use super::*;
use crate::protocol::ledger::{Answered, Entry, Ledger};
use crate::protocol::message::{CONFIG_HASH, KIND, message_type};

mod approvals;
mod hostile_requests;
mod policy_limits;
mod private_runs;
mod rehearsals;
mod release;
mod site_files;

/// A run that the default policy allows, on images of 16 × 16 pixels so that it takes moments.
const CONFIG: &str = r#"
name = "small"
seed = 1
dataset = { name = "folder", size = 16, channels = 1 }
partition = { kind = "iid", clients = 1, min_examples = 1 }
network = { kind = "dcgan", latent_dim = 4, base_channels = 2 }
local = { batch_size = 64, epochs = 1 }
algorithm = { kind = "effgan", rounds = 2, fine_tune_epochs = 1 }
"#;

/// A site's kit with a folder of images.
struct Kit {
    folder: TempDir,
    settings: SiteSettings,
}

impl Kit {
    /// 140 images in two classes: 126 for training, of which 112 train and 14 are held out. `policy` is the policy.toml.
    fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        images(&data_dir, 140, 16);
        let file = folder.path().join("policy.toml");
        fs::write(&file, policy).unwrap();
        let images = SiteImages::Own { data_dir, client: ClientName::new("north").unwrap() };
        let settings = SiteSettings { images, state_dir: folder.path().join("state"), policy: Some(file), jobs: 1 };
        Self { folder, settings }
    }

    /// With a hold-out secret, as `effgan federation join` leaves it.
    fn joined(self) -> Self {
        fs::write(self.folder.path().join("hold-out.secret"), hold_out::new_secret()).unwrap();
        self
    }

    fn ask(&self, kind: &str, message: Content) -> Content {
        answer(&self.settings, kind, message, &AtomicBool::new(false)).unwrap()
    }

    fn query(&self, config: &str) -> Content {
        self.ask("query", query(config))
    }

    /// The reply to a request for the work of `round`, from the networks that a server starts with.
    fn round(&self, config: &str, kind: ExchangeKind, round: u32) -> Content {
        self.ask(message_type(kind), site_message(config, kind, round, start(config)))
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

/// A policy that allows without approval what the default policy allows.
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

fn of_run(content: Content, config: &str) -> Content {
    content.of_run(config, "run1", 60.0)
}

fn query(config: &str) -> Content {
    of_run(Content::query(), config)
}

fn site_message(config: &str, kind: ExchangeKind, round: u32, params: Params) -> Content {
    let broadcast = Broadcast { round, kind, iteration: 0, iterations: 1, params };
    let now = RunPosition { round: round - 1, exchanges: 0 };
    of_run(Content::of_site_message(&SiteMessage { broadcast, now, oldest: now }), config).packed()
}

fn start(config: &str) -> Params {
    let config = Config::parse(config, &[]).unwrap();
    let size = config.dataset.size.unwrap_or(16);
    effgan_nn::model::init(&config.model_without_noise([1, size, size], 1).unwrap(), config.seed)
}

fn refusal(content: &Content) -> Option<Refusal> {
    content.refusal().unwrap()
}
