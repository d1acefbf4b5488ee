//! The rules of a site's own house: its policy, its ledger, and what has to hold before an image is opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use effgan_data::control_chars::without_control;
use effgan_data::control_chars::without_control as shown;
use effgan_data::datasets::{FileList, MaxMemory};
use effgan_data::partition::CommonKeys;
use effgan_data::{ClientShare, Dataset};
use effgan_fl::local::LocalWork;
use effgan_fl::policy::{Amount, Approve, Policy, Spent};
use effgan_fl::{Broadcast, ExchangeKind, Refusal, RunRequest, SiteMessage, one_line};
use effgan_nn::params;

use super::answer::Unanswered;
use super::content::TENSORS;
use super::ledger::{Answered, Array, Entry, History, Ledger, Refused, at_work};
use super::question::Question;
use super::site::Images;
use super::{Content, hold_out, ledger, retention, wishes};
use crate::config::Config;

/// The file in a site's folder.
pub const POLICY: &str = "policy.toml";
/// For so long a process waits for another one of the same site.
const PATIENCE: Duration = Duration::from_secs(10);

/// A site's folder: `policy.toml`, `ledger.jsonl`, `hold-out.secret`.
pub(super) struct House {
    pub(super) folder: PathBuf,
    pub(super) policy: Policy,
    ledger: Ledger,
    /// Held as long as the site works; none where it only looks.
    at_work: Option<File>,
}

/// What is known of a question for the ledger, as far as its answer has come.
#[derive(Default)]
pub(super) struct Record {
    pub(super) question: ledger::Question,
    pub(super) wishes: Option<RunRequest>,
    pub(super) trained: Amount,
}

impl House {
    /// The house with this `policy.toml`, once no other process works for it.
    ///
    /// # Errors
    /// A policy that is none; another process that does not end.
    pub(super) fn open(policy: &Path, stop: &AtomicBool) -> Result<Self, Unanswered> {
        let folder = folder_of(policy).to_owned();
        let (started, wrong) = (Instant::now(), |why: String| Unanswered::new(Refusal::WorkFailed, why));
        let at_work = loop {
            let lock = at_work(&folder).map_err(|error| wrong(format!("{}: {error}", folder.display())))?;
            if let Some(lock) = lock {
                break lock;
            }
            if started.elapsed() >= PATIENCE || stop.load(Ordering::Relaxed) {
                return Err(wrong(format!("another process works for the site in {}; end it", folder.display())));
            }
            thread::sleep(Duration::from_millis(50));
        };
        let policy = Policy::read(policy)?;
        Ok(Self { ledger: Ledger::of(&folder), folder, policy, at_work: Some(at_work) })
    }

    /// The house as it would be to a run that has a yes. Whoever only looks writes nothing, and disturbs no process that works for it.
    ///
    /// # Errors
    /// A policy that is none.
    pub(super) fn look(policy: &Path) -> Result<Self, Unanswered> {
        let folder = folder_of(policy).to_owned();
        let policy = Policy { approve: Approve::Any, ..Policy::read(policy)? };
        Ok(Self { ledger: Ledger::of(&folder), folder, policy, at_work: None })
    }

    /// What the ledger says of the run that asks.
    pub(super) fn history(&self, question: &ledger::Question) -> Result<History, Unanswered> {
        Ok(History::of(&self.ledger, question)?)
    }

    /// What has to hold of the question alone: nothing here depends on the site's files.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn check_question(&self, question: &Question, history: &History) -> Result<(), Unanswered> {
        self.policy.check(&question.wishes, &Spent::default())?;
        // Another question to collect would be another generator, from parameters of the server's choice.
        let is_same_again =
            |letter: &SiteMessage| letter.broadcast.kind == ExchangeKind::Collect && history.has_answered();
        if history.is_fine_tuned && question.letter.as_ref().is_some_and(|letter| !is_same_again(letter)) {
            let why = "the generator that was fine-tuned for this run has left; only the same question is answered, and the same again";
            return Err(Unanswered::new(Refusal::AlreadyFineTuned, why));
        }
        question.letter.as_ref().map_or(Ok(()), |letter| Ok(self.policy.check_params(&letter.broadcast.params)?))
    }

    /// What has to hold after all earlier runs.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn check_history(&self, question: &Question, history: &History) -> Result<(), Unanswered> {
        self.policy.check(&question.wishes, &history.spent)?;
        if history.held_out.is_some() && !self.folder.join(hold_out::SECRET).exists() {
            let why = "hold-out.secret is gone, which says which images were held out before; put it back";
            return Err(Unanswered::new(Refusal::WorkFailed, why));
        }
        let held_out = question.wishes.held_out;
        match history.held_out.filter(|first| *first != held_out) {
            None => Ok(()),
            Some(first) => {
                let why = format!("the hold-out was dealt once, with held_out = {first}, and the run wants {held_out}");
                Err(Unanswered::new(Refusal::HoldOutDiffers, why))
            }
        }
    }

    /// That somebody here has said yes to the run. Until then what `checked` says of the site's files and earlier runs stays here: a server could
    /// ask a thousand ways, and learn from which question is refused how many images there are, in which folders, or how much was trained. A yes
    /// is for the number of images that was shown with it, of a folder of pictures: when there are more or fewer somebody has to look again.
    ///
    /// # Errors
    /// [`Refusal::WaitingForApproval`], whatever else is wrong.
    pub(super) fn check_approved(
        &self,
        question: &Question,
        history: &History,
        images: Option<u64>,
        checked: Result<(), &Unanswered>,
    ) -> Result<(), Unanswered> {
        if self.policy.approve == Approve::Any {
            return Ok(());
        }
        let mut why = match history.approved.get(&question.config_hash) {
            Some(yes) if yes.last_round == question.wishes.last_round() => {
                let Some(now) = images.filter(|now| yes.images != Some(*now)) else { return Ok(()) };
                let before = yes.images.map_or_else(|| "nobody knew how many".into(), |before| before.to_string());
                format!(
                    "the yes to the run was said when {before} images were to train, and now {now} are; effgan federation approve shows it anew"
                )
            }
            _ => "nobody here has said yes to the run; effgan federation approve shows what it wants".to_owned(),
        };
        if let Err(unanswered) = checked {
            why += &format!("; and it would be refused: {}", unanswered.why);
        }
        Err(Unanswered::new(Refusal::WaitingForApproval, why))
    }

    /// What hangs on the number of pictures, before one is opened; `listed` are the site's own, by their names.
    ///
    /// # Errors
    /// What the policy does not allow.
    pub(super) fn check_counted(
        &self,
        question: &Question,
        history: &History,
        listed: &FileList,
        record: &mut Record,
    ) -> Result<(), Unanswered> {
        let wishes = self.count(question, listed)?;
        record.wishes = Some(wishes.clone());
        Ok(self.policy.check(&wishes, &history.spent)?)
    }

    /// What the run wants, of so many pictures.
    fn count(&self, question: &Question, listed: &FileList) -> Result<RunRequest, Unanswered> {
        if !self.policy.allow_links
            && let Some(path) = listed.link_outside()?
        {
            let why =
                format!("{} is a link to outside of the data folder; allow_links = true allows it", path.display());
            return Err(Unanswered::new(Refusal::DataUnusable, why));
        }
        let mut sizes = [0_usize; 256];
        listed.train.iter().for_each(|(_, label)| sizes[usize::from(*label)] += 1);
        let train = |&size: &usize| (size - hold_out::num_held_out(size, question.wishes.held_out)) as u64;
        let wishes = RunRequest { images: Some(sizes.iter().map(train).sum()), ..question.wishes.clone() };
        let dataset = &question.config.dataset;
        match (dataset.size, dataset.channels) {
            (Some(size), Some(channels)) => {
                let num_classes = sizes.iter().filter(|&&size| size > 0).count();
                let num_images = listed.train.len() + listed.test.len();
                Ok(wishes::of_shape(wishes, &question.config, [channels, size, size], num_classes, num_images)?)
            }
            _ => Ok(wishes),
        }
    }

    /// Keeps the images from training that the site's secret says, and as many of each class as the config wants.
    ///
    /// # Errors
    /// A secret that is none; a file that is gone; fewer images than the config wants to train on.
    pub(super) fn hold_out(
        &self,
        config: &Config,
        dataset: &Dataset,
        listed: Option<&FileList>,
        share: &mut ClientShare,
    ) -> Result<(), Unanswered> {
        let CommonKeys { held_out, min_examples, .. } = wishes::shares(config);
        if self.at_work.is_none() && !self.folder.join(hold_out::SECRET).exists() {
            let why = "hold-out.secret is missing; effgan federation join makes it";
            return Err(Unanswered::new(Refusal::WorkFailed, why));
        }
        let secret = hold_out::secret(&self.folder).map_err(|error| {
            let why = format!("{}: {error}", self.folder.join(hold_out::SECRET).display());
            Unanswered::new(Refusal::WorkFailed, why)
        })?;
        let prints = hold_out::prints(dataset, listed)?;
        if prints.len() != dataset.train.len() {
            return Err(Unanswered::new(Refusal::DataUnusable, "the data folder has changed while it was read"));
        }
        let images = [&share.train[..], &share.held_out].concat();
        [share.train, share.held_out] = hold_out::split(&images, dataset.train.labels(), &prints, &secret, held_out);
        if share.train.len() < min_examples {
            let why =
                format!("{} images train, fewer than min_examples = {min_examples} of the config", share.train.len());
            return Err(Unanswered::new(Refusal::TooFewImages, why));
        }
        Ok(())
    }

    /// What hangs on the images themselves, and what has been trained before.
    ///
    /// # Errors
    /// What the policy does not allow.
    pub(super) fn check_images(
        &self,
        question: &Question,
        history: &History,
        images: &Images,
        record: &mut Record,
    ) -> Result<(), Unanswered> {
        let Images { dataset, share } = images;
        let train = &dataset.train;
        let counted = RunRequest { images: Some(share.train.len() as u64), ..question.wishes.clone() };
        let num_images = train.len() + dataset.test.len();
        let wishes = wishes::of_shape(counted, &question.config, train.shape(), train.num_classes(), num_images)?;
        record.wishes = Some(wishes.clone());
        self.policy.check(&wishes, &history.spent)?;
        match &question.letter {
            Some(letter) if !history.has_answered() => {
                Ok(self.policy.check_work(&wishes, &history.spent, amount(&wishes, &letter.broadcast))?)
            }
            _ => Ok(()),
        }
    }

    /// What hangs on the answer: one that left before, to the same question, costs nothing; from other images it is another one, and counts.
    ///
    /// # Errors
    /// What the policy does not allow; another fine-tuned generator than the one that left.
    pub(super) fn check_answer(
        &self,
        question: &Question,
        history: &History,
        content: &Content,
        record: &mut Record,
    ) -> Result<(), Unanswered> {
        let (Some(letter), Some(wishes)) = (&question.letter, &record.wishes) else { return Ok(()) };
        if history.has_sent(&arrays(content)) {
            return Ok(());
        }
        if history.is_fine_tuned {
            let why = "the generator that was fine-tuned for this run has left, and this is another one: images or what the site kept have changed";
            return Err(Unanswered::new(Refusal::AlreadyFineTuned, why));
        }
        record.trained = amount(wishes, &letter.broadcast);
        Ok(self.policy.check_work(wishes, &history.spent, record.trained)?)
    }

    /// Removes what `state_dir` holds of runs that nobody has asked about for the policy's `keep_days`. That it cannot be removed is no reason to
    /// answer nothing.
    pub(super) fn forget(&self, state_dir: &Path) {
        if let Err(error) = retention::forget(state_dir, Duration::from_hours(24 * self.policy.keep_days)) {
            log::warn!("{}", without_control(&one_line(&format!("{error:#}"))));
        }
    }

    /// That nobody has taken the yes back while the answer was made.
    ///
    /// # Errors
    /// [`Refusal::WaitingForApproval`].
    pub(super) fn check_still_approved(&self, question: &Question) -> Result<(), Unanswered> {
        let is_approved = || -> Result<bool, Unanswered> {
            Ok(History::yeses(&self.ledger)?.approved.contains_key(&question.config_hash))
        };
        if self.policy.approve == Approve::Any || is_approved()? {
            return Ok(());
        }
        Err(Unanswered::new(Refusal::WaitingForApproval, "the yes to the run was taken back while it was answered"))
    }

    /// What reading the images may take: as the policy says, or the config where it says less.
    pub(super) fn max_memory(&self, of_config: MaxMemory) -> MaxMemory {
        of_config.min(self.policy.max_memory)
    }

    /// Writes a refusal into the ledger beside this `policy.toml` when the house itself cannot be opened, and answers with the ledger's head.
    ///
    /// # Errors
    /// When the line is not on the disk.
    pub(super) fn write_closed(policy: &Path, record: Record, unanswered: &Unanswered) -> Result<String, Unanswered> {
        Ok(Ledger::of(folder_of(policy)).append(refused(record, unanswered))?)
    }

    /// Writes down what leaves or why nothing does, and answers with the ledger's head.
    ///
    /// # Errors
    /// When the line is not on the disk: then nothing may leave.
    pub(super) fn write_down(&self, record: Record, said: Result<&Content, &Unanswered>) -> Result<String, Unanswered> {
        let entry = match said {
            Ok(content) => {
                let Record { question, wishes, trained } = record;
                let held_out = wishes.as_ref().map_or(0.0, |wishes| wishes.held_out);
                let wishes = wishes.filter(|_| question.round.is_none());
                Entry::Answered(Box::new(Answered { question, held_out, wishes, trained, ..leaving(content) }))
            }
            Err(unanswered) => refused(record, unanswered),
        };
        Ok(self.ledger.append(entry)?)
    }
}

/// The folder in which a `policy.toml` lies, and all else of the site's beside it.
fn folder_of(policy: &Path) -> &Path {
    policy.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refused(record: Record, unanswered: &Unanswered) -> Entry {
    let Record { question, wishes, .. } = record;
    let (refusal, why) = (unanswered.refusal, one_line(&unanswered.why));
    Entry::Refused(Box::new(Refused { question, refusal, why, wishes }))
}

/// The training that an answer to `broadcast` takes.
fn amount(wishes: &RunRequest, broadcast: &Broadcast) -> Amount {
    let work = match broadcast.kind {
        ExchangeKind::Average => Some(wishes.local),
        ExchangeKind::Collect => wishes.fine_tune,
        ExchangeKind::Feedback | ExchangeKind::Logits => Some(LocalWork::Steps(1)),
        ExchangeKind::Swap => None,
    };
    let amount = work.and_then(|work| wishes.amount(work)).unwrap_or_default();
    Amount { rounds: u64::from(broadcast.iteration == 0), ..amount }
}

/// What leaves, without what only repeats the question.
fn leaving(content: &Content) -> Answered {
    let repeated = Content::default().tied(content.tie());
    let (mut numbers, mut words) = (content.numbers.clone(), content.words.clone());
    numbers.retain(|name, _| !repeated.numbers.contains_key(name));
    words.retain(|name, _| !repeated.words.contains_key(name) && name != TENSORS);
    Answered { arrays: arrays(content), numbers, words, ..Answered::default() }
}

/// The arrays of a message, by the names under which they leave.
fn arrays(content: &Content) -> BTreeMap<String, Array> {
    let array = |array: &effgan_nn::Array| {
        let bytes: Vec<u8> = array.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Array { bytes: bytes.len() as u64, sha256: params::sha256(&bytes) }
    };
    content.params.iter().map(|(name, values)| (name.clone(), array(values))).collect()
}
