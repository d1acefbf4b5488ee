//! A site's half: it decides whether it does what it is asked, opens its images, says who it is, and works on letters.
//!
//! A site of its own images is under its policy, and so is one of an experiment that is given a policy. Whatever goes wrong, the server
//! learns a code.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use effgan_data::control_chars::without_control;
use effgan_data::control_chars::without_control as shown;
use effgan_data::datasets::FileList;
use effgan_data::{ClientName, ClientShare, Dataset, Partition};
use effgan_fl::local::check_shard;
use effgan_fl::{Algorithm, FlError, Refusal, Reply, RunId, Shard, Site, SiteMessage};
use effgan_nn::networks::Network;
use effgan_nn::params;

use super::answer::{Unanswered, check_leaving};
use super::content::LEDGER;
use super::house::{House, POLICY, Record};
use super::ledger::History;
use super::question::Question;
use super::{Content, Introduction, LedgerQuestion, Tie, classes, question};
use crate::config::Config;
use crate::failure::{Failure, Result};

/// What a site is started with.
#[derive(Clone, Debug)]
pub struct AtSite {
    /// Whose images, and which.
    pub images: SiteImages,
    /// Where it keeps what it remembers between messages.
    pub state_dir: PathBuf,
    /// The site's `policy.toml`, beside which its ledger and its hold-out's secret lie. A site with files of its own that is given none has the
    /// default policy, and these files in `state_dir`; an experiment with a data set that lies in the program or the cache is under none then.
    pub policy: Option<PathBuf>,
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

/// What the site says to `message`, of Flower's type `kind`: an answer, or the code of a refusal, whose words are told here alone.
///
/// # Errors
/// [`Kind::Interrupted`](crate::Kind::Interrupted) when `stop` becomes true.
pub fn answer(at_site: &AtSite, kind: &str, message: Content, stop: &AtomicBool) -> Result<Content> {
    let (tie, mut record, mut house) = (message.tie(), Record::default(), None);
    let work = AssertUnwindSafe(|| {
        let question;
        (record.question, question) = question::read(kind, message);
        make_private(&at_site.state_dir)?;
        house = at_site.policy_file().map(|policy| House::open(&policy, stop)).transpose()?;
        let content = work(at_site, house.as_ref(), question?, &mut record, stop)?;
        Ok(content.tied(tie.clone()))
    });
    let panicked = |_| Err(Unanswered::new(Refusal::WorkFailed, "a panic, which is a bug: please report it"));
    let said: std::result::Result<Content, Unanswered> = catch_unwind(work).unwrap_or_else(panicked);
    if matches!(said, Err(Unanswered { is_interrupted: true, .. })) {
        // Whoever interrupts it knows why, and refuses.
        return Err(FlError::Interrupted.into());
    }
    let head = match (&house, at_site.policy_file(), &said) {
        (Some(house), ..) => house.write_down(record, said.as_ref()).map(Some),
        (None, Some(policy), Err(unanswered)) => House::write_closed(&policy, record, unanswered).map(Some),
        (None, ..) => Ok(None),
    };
    Ok(leaving(said, head, tie))
}

/// Writes into the ledger beside `policy` that `question` was refused by whoever carries messages for the site, where [`answer`] was
/// interrupted or could not be called: `why` goes to the site's own log and ledger, and does not leave. Answers with the ledger's head.
///
/// # Errors
/// When the line is not on the disk.
pub fn write_refusal(policy: &Path, question: LedgerQuestion, refusal: Refusal, why: &str) -> Result<String> {
    let unanswered = Unanswered::new(refusal, why);
    log::warn!("{}", without_control(&unanswered.line()));
    let record = Record { question, ..Record::default() };
    House::write_closed(policy, record, &unanswered).map_err(|unanswered| Failure::from(anyhow!(unanswered.why)))
}

/// What the ledger has of `message`, of Flower's type `kind`.
pub fn question_of(kind: &str, message: Content) -> LedgerQuestion {
    question::read(kind, message).0
}

/// What leaves, with the `head` of the ledger after its line: what is not written down does not.
fn leaving(
    said: std::result::Result<Content, Unanswered>,
    head: std::result::Result<Option<String>, Unanswered>,
    tie: Tie,
) -> Content {
    let (said, head) = match head {
        Ok(head) => (said, head),
        Err(unanswered) => (Err(unanswered), None),
    };
    let refused = |unanswered: Unanswered| {
        log::warn!("{}", without_control(&unanswered.line()));
        Content::refused(unanswered.refusal).tied(tie)
    };
    let mut content = said.unwrap_or_else(refused);
    content.words.extend(head.map(|head| (LEDGER.to_owned(), head)));
    content
}

/// Which of the site's images train under `config`, and which its secret holds out.
///
/// # Errors
/// What is wrong with the images, or the site's folder.
pub fn split(at_site: &AtSite, mut config: Config) -> Result<ClientShare> {
    at_site.images.adapt(&mut config);
    let house = at_site.policy_file().map(|policy| House::open(&policy, &AtomicBool::new(false))).transpose();
    let images = house.and_then(|house| {
        let listed = config.dataset.list(config.federation.classes.as_deref())?;
        Images::open(at_site, &config, house.as_ref(), listed.as_ref())
    });
    Ok(images.map_err(|unanswered| Failure::data(anyhow!(unanswered.why)))?.share)
}

/// Makes the folder, for its owner alone.
fn make_private(folder: &Path) -> std::result::Result<(), Unanswered> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let private = made.and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)));
    private.map_err(|error| Unanswered::new(Refusal::WorkFailed, format!("{}: {error}", folder.display())))
}

/// Decides, opens the images, and answers.
fn work(
    at_site: &AtSite,
    house: Option<&House>,
    question: Question,
    record: &mut Record,
    stop: &AtomicBool,
) -> std::result::Result<Content, Unanswered> {
    let started = Instant::now();
    let (question, history) = understand(at_site, house, question, record)?;
    if let (Some(house), None) = (house, &question.letter) {
        house.forget(&at_site.state_dir);
    }
    let images = decide(at_site, house, &question, &history, record)?;
    let Some(letter) = &question.letter else {
        return Ok(images.introduction(&question.config).into_content().packed());
    };
    let most = house.map_or(Duration::MAX, |house| Duration::from_secs_f64(house.policy.max_seconds));
    let desk = Desk { at_site, question: &question, images: &images, started, most };
    let content = desk.answer(letter, stop)?.packed();
    if let Some(house) = house {
        check_leaving(&house.policy, &content)?;
        house.check_answer(&question, &history, &content, record)?;
        house.check_still_approved(&question)?;
    }
    Ok(content)
}

/// What is asked of this site's images, and what the ledger says of the run that asks.
fn understand(
    at_site: &AtSite,
    house: Option<&House>,
    mut question: Question,
    record: &mut Record,
) -> std::result::Result<(Question, History), Unanswered> {
    record.wishes = Some(question.wishes.clone());
    at_site.images.adapt(&mut question.config);
    let history = house.map(|house| house.history(&record.question)).transpose()?.unwrap_or_default();
    Ok((question, history))
}

/// The images, once all allows that they are opened, and they are what was allowed.
fn decide(
    at_site: &AtSite,
    house: Option<&House>,
    question: &Question,
    history: &History,
    record: &mut Record,
) -> std::result::Result<Images, Unanswered> {
    let mut listed = None;
    if let Some(house) = house {
        house.check_question(question, history)?;
        let checked =
            house.check_history(question, history).and_then(|()| list(at_site, house, question, history, record));
        let images = record.wishes.as_ref().and_then(|wishes| wishes.images);
        house.check_approved(question, history, images, checked.as_ref().map(|_| ()))?;
        listed = checked?;
    }
    let images = Images::open(at_site, &question.config, house, listed.as_ref())?;
    if let Some(house) = house {
        house.check_images(question, history, &images, record)?;
    }
    Ok(images)
}

/// The names of the site's pictures, and whether so many may be trained on; `None` where they lie in files of many.
fn list(
    at_site: &AtSite,
    house: &House,
    question: &Question,
    history: &History,
    record: &mut Record,
) -> std::result::Result<Option<FileList>, Unanswered> {
    let listed = question.config.dataset.list(question.config.federation.classes.as_deref())?;
    if let Some(own) = listed.as_ref().filter(|_| at_site.images.is_own()) {
        house.check_counted(question, history, own, record)?;
    }
    Ok(listed)
}

/// A site's images in memory.
pub(super) struct Images {
    pub(super) dataset: Dataset,
    pub(super) share: ClientShare,
}

impl Images {
    /// Reads them; under a policy the site itself says which are held out.
    fn open(
        at_site: &AtSite,
        config: &Config,
        house: Option<&House>,
        listed: Option<&FileList>,
    ) -> std::result::Result<Self, Unanswered> {
        let mut config = config.clone();
        if let Some(house) = house {
            config.dataset.max_memory = house.max_memory(config.dataset.max_memory);
        }
        let told = |(refusal, failure): (Refusal, Failure)| Unanswered::new(refusal, failure.line());
        let dataset = classes::load(&config).map_err(told)?;
        let mut share = at_site.images.share(&config, &dataset)?;
        if let Some(house) = house {
            house.hold_out(&config, &dataset, listed, &mut share)?;
        }
        Ok(Self { dataset, share })
    }

    /// What trains on them.
    fn algorithm(&self, config: &Config) -> std::result::Result<Box<dyn Algorithm>, Unanswered> {
        let Self { dataset, share } = self;
        let train = &dataset.train;
        let network = Network::of_classes(config.network.clone(), train.shape(), train.num_classes())?;
        check_shard(&network, &share.name, share.train.len())?;
        Ok(config.algorithm.build(network, config.local.clone(), &config.aggregation)?)
    }

    fn introduction(&self, config: &Config) -> Introduction {
        let train = &self.dataset.train;
        let counts = || Partition { clients: vec![self.share.clone()] }.class_counts(train).swap_remove(0);
        Introduction {
            name: self.share.name.clone(),
            num_examples: self.share.train.len() as u64,
            image_shape: train.shape(),
            num_classes: train.num_classes(),
            version: env!("CARGO_PKG_VERSION").into(),
            label_counts: config.federation.label_counts.then(counts),
            max_examples: None,
            ledger: None,
        }
    }
}

/// What a site works on a letter with.
struct Desk<'a> {
    at_site: &'a AtSite,
    question: &'a Question,
    images: &'a Images,
    started: Instant,
    /// No work on an answer takes longer.
    most: Duration,
}

impl Desk<'_> {
    /// Of this run and client alone.
    fn state_dir(&self) -> PathBuf {
        let run = &params::sha256(self.question.run.as_bytes())[..16];
        self.at_site.state_dir.join(run).join(self.images.share.name.as_str())
    }

    fn answer(&self, letter: &SiteMessage, stop: &AtomicBool) -> std::result::Result<Content, Unanswered> {
        let (Question { config, seconds, run, .. }, Images { dataset, share }) = (self.question, self.images);
        let train = &dataset.train;
        let algorithm = self.images.algorithm(config)?;
        let watch = |_: &_| {
            let is_over = stop.load(Ordering::Relaxed) || self.started.elapsed() >= self.most.min(*seconds);
            if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let site = Site {
            algorithm: &*algorithm,
            shard: Shard { client: &share.name, images: train, train: &share.train },
            seed: config.seed,
            jobs: self.at_site.jobs,
            folder: &self.state_dir(),
            run: RunId { config: config.identity(), data: run.clone() },
            checkpoint: config.checkpoint.clone(),
            warn: Arc::new(|line: &str| log::warn!("{line}")),
            on_step: &watch,
        };
        let answered = match site.answer(letter) {
            Err(FlError::Interrupted) if self.is_out_of_time() => return Err(self.out_of_time()),
            answered => answered?,
        };
        match answered.reply {
            Reply::Failed(reason) => Err(Unanswered::new(Refusal::WorkFailed, reason)),
            Reply::Update(_) => Ok(Content::of_answer(answered)),
        }
    }

    /// Who sets `stop` at the deadline may have a clock that is ahead.
    fn is_out_of_time(&self) -> bool {
        self.started.elapsed().saturating_add(Duration::from_secs(1)) >= self.most.min(self.question.seconds)
    }

    fn out_of_time(&self) -> Unanswered {
        let (waits, most) = (self.question.seconds, self.most);
        if most < waits {
            let why = format!("stopped after {} s; max_seconds allows more", most.as_secs_f64());
            return Unanswered::new(Refusal::TooMuchTime, why);
        }
        Unanswered::new(Refusal::Deadline, format!("stopped at the deadline of {} s", waits.as_secs_f64()))
    }
}

impl AtSite {
    fn policy_file(&self) -> Option<PathBuf> {
        let names_files = matches!(self.images, SiteImages::Own { .. } | SiteImages::Dealt { data_dir: Some(_), .. });
        policy_file(self.policy.as_deref(), names_files, &self.state_dir)
    }
}

/// Where the policy of a site lies that is given `policy`: whoever names files of this machine is under one, whatever the images are called.
pub fn policy_file(policy: Option<&Path>, names_files: bool, state_dir: &Path) -> Option<PathBuf> {
    policy.map(Path::to_owned).or_else(|| names_files.then(|| state_dir.join(POLICY)))
}

impl SiteImages {
    fn is_own(&self) -> bool {
        matches!(self, Self::Own { .. })
    }

    /// The config says what the images are, and the site which and where.
    fn adapt(&self, config: &mut Config) {
        match self {
            Self::Own { data_dir, .. } => {
                config.dataset.dir = Some(data_dir.clone());
                // It says how much of one data set is dealt to all.
                config.dataset.limit = None;
            }
            Self::Dealt { data_dir, .. } => config.dataset.dir.clone_from(data_dir),
        }
    }

    /// Whose images these are, and which of them train. All of a site's own do, before it holds some out.
    fn share(&self, config: &Config, dataset: &Dataset) -> std::result::Result<ClientShare, Unanswered> {
        match self {
            Self::Own { client, .. } => {
                let train = (0..dataset.train.len() as u32).collect();
                Ok(ClientShare { name: client.clone(), train, held_out: Vec::new() })
            }
            &Self::Dealt { partition_id, .. } => {
                let dealt =
                    config.deal(dataset).map_err(|failure| Unanswered::new(Refusal::DataUnusable, failure.line()))?;
                let clients = dealt.clients;
                let last = clients.len() - 1;
                clients.into_iter().nth(partition_id).ok_or_else(|| {
                    let why = format!("partition-id = {partition_id} is outside 0..={last}, the clients of the config");
                    Unanswered::new(Refusal::DataUnusable, why)
                })
            }
        }
    }
}

mod rehearsal;
#[cfg(test)]
mod tests;

pub use self::rehearsal::{Rehearsal, rehearse};
