//! A site's half: it opens its images, says who it is, and works on letters.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use effgan_data::partition::{Iid, Shares};
use effgan_data::{ClientName, ClientShare, Dataset, Partition, PartitionConfig};
use effgan_fl::local::check_shard;
use effgan_fl::{Answered, Reply, RunId, Shard, Site};
use effgan_nn::networks::Network;
use effgan_nn::params;

use super::{Content, Introduction};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::output::warn;

/// What a site is started with.
#[derive(Clone, Debug)]
pub struct AtSite {
    /// Whose images, and which.
    pub images: SiteImages,
    /// Where it keeps what it remembers between messages.
    pub state_dir: PathBuf,
    /// Threads, ≥ 1.
    pub jobs: usize,
}

/// The images of a site.
#[derive(Clone, Debug)]
pub enum SiteImages {
    /// All images of a folder or file, as `dataset.name` of the config reads it.
    Own {
        /// Where they lie.
        data_dir: PathBuf,
        /// Whose they are.
        client: ClientName,
    },
    /// For experiments: what the config deals to the client with this number, from 0.
    Dealt {
        /// In the order of names.
        partition_id: usize,
        /// Where the data set lies, if it is not in the program or the cache.
        data_dir: Option<PathBuf>,
    },
}

/// What the site says to `message`, of Flower's type `kind`.
///
/// # Errors
/// What is wrong with the message or the site's images; [`Kind::Interrupted`](crate::Kind::Interrupted) when `stop` becomes true.
pub fn answer(at_site: &AtSite, kind: &str, message: Content, stop: &AtomicBool) -> Result<Content> {
    let message = message.unpacked().map_err(bad_message)?;
    let tie = message.tie();
    let desk = Desk::open(at_site, &message)?;
    let said = if kind == "query" { desk.introduction().into_content() } else { desk.answer(message, stop)? };
    Ok(said.tied(tie).packed())
}

/// What a site works with.
struct Desk<'a> {
    at_site: &'a AtSite,
    config: Config,
    dataset: Dataset,
    share: ClientShare,
    /// Nobody waits for its answer after this.
    deadline: Instant,
    run: String,
}

impl<'a> Desk<'a> {
    fn open(at_site: &'a AtSite, message: &Content) -> Result<Self> {
        let word = |name: &str| message.word(name).map_err(bad_message);
        let seconds = message.numbers.get("deadline").copied().unwrap_or_default();
        let deadline =
            Duration::try_from_secs_f64(seconds).map_err(|error| bad_message(format!("`deadline`: {error}")))?;
        let mut config = Config::parse(word("config")?, &[])?;
        config.dataset.dir = at_site.images.data_dir();
        if let SiteImages::Own { .. } = at_site.images {
            // It says how much of one data set is dealt to all.
            config.dataset.limit = None;
        }
        let dataset = config.dataset.load()?;
        let share = at_site.images.share(&config, &dataset)?;
        Ok(Self { at_site, config, dataset, share, deadline: Instant::now() + deadline, run: word("run")?.into() })
    }

    fn introduction(&self) -> Introduction {
        let train = &self.dataset.train;
        let counts = || Partition { clients: vec![self.share.clone()] }.class_counts(train).swap_remove(0);
        Introduction {
            name: self.share.name.clone(),
            num_examples: self.share.train.len() as u64,
            image_shape: train.shape(),
            num_classes: train.num_classes(),
            version: env!("CARGO_PKG_VERSION").into(),
            label_counts: self.config.federation.label_counts.then(counts),
            max_examples: None,
            ledger: None,
        }
    }

    /// Of this run and client alone.
    fn state_dir(&self) -> PathBuf {
        let run = &params::sha256(self.run.as_bytes())[..16];
        self.at_site.state_dir.join(run).join(self.share.name.as_str())
    }

    fn answer(&self, message: Content, stop: &AtomicBool) -> Result<Content> {
        let letter = message.into_letter().map_err(bad_message)?;
        let Self { config, dataset, share, .. } = self;
        let train = &dataset.train;
        let network = Network::of_classes(config.network.clone(), train.shape(), train.num_classes())?;
        check_shard(&network, &share.name, share.train.len())?;
        let algorithm = config.algorithm.build(network, config.local.clone(), &config.aggregation)?;
        let watch = |_: &_| {
            let is_over = stop.load(Ordering::Relaxed) || Instant::now() >= self.deadline;
            if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let site = Site {
            algorithm: &*algorithm,
            shard: Shard { client: &share.name, images: train, train: &share.train },
            seed: config.seed,
            jobs: self.at_site.jobs,
            folder: &self.state_dir(),
            run: RunId { config: config.identity(), data: self.run.clone() },
            checkpoint: config.checkpoint.clone(),
            say: Arc::new(|line: &str| warn(line)),
            watch: &watch,
        };
        match site.answer(&letter) {
            Ok(answered) => Ok(Content::of_answer(answered)),
            Err(effgan_fl::FlError::Interrupted) if !stop.load(Ordering::Relaxed) => {
                let reason = format!("stopped at the deadline of {} s", config.federation.deadline);
                let (client, reply) = (share.name.clone(), Reply::Failed(reason));
                Ok(Content::of_answer(Answered { client, reply, seconds: 0.0 }))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl SiteImages {
    fn data_dir(&self) -> Option<PathBuf> {
        match self {
            Self::Own { data_dir, .. } => Some(data_dir.clone()),
            Self::Dealt { data_dir, .. } => data_dir.clone(),
        }
    }

    /// Whose images these are, and which of them train.
    fn share(&self, config: &Config, dataset: &Dataset) -> Result<ClientShare> {
        match self {
            Self::Own { client, .. } => {
                let shares = config.partition.shares().cloned().unwrap_or_else(|| Shares::of(1));
                let all = PartitionConfig::Iid(Iid { shares: Shares { clients: 1, ..shares } });
                let dealt = Config { partition: all, ..config.clone() }.deal(dataset)?;
                let share = dealt.clients.into_iter().next().expect("one client is dealt to");
                Ok(ClientShare { name: client.clone(), ..share })
            }
            &Self::Dealt { partition_id, .. } => {
                let clients = config.deal(dataset)?.clients;
                let num_clients = clients.len();
                clients.into_iter().nth(partition_id).ok_or_else(|| {
                    let last = num_clients - 1;
                    Failure::usage(anyhow!(
                        "partition-id = {partition_id} is outside 0..={last}, the clients of the config"
                    ))
                })
            }
        }
    }
}

fn bad_message(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}
