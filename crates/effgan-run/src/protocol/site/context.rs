//! A site's folder: its policy, its ledger and its hold-out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use effgan_data::control_chars::without_control;
use effgan_data::datasets::{FileList, MaxMemory};
use effgan_data::partition::CommonKeys;
use effgan_data::{ClientShare, Dataset};
use effgan_fl::policy::{Approve, Policy};
use effgan_fl::{Refusal, one_line};
use effgan_nn::{DeviceName, params};

use super::ledger_entry::RequestRecord;
use super::site_error::SiteError;
use super::{config_request, hold_out};
use crate::config::Config;
use crate::privacy::Counts;
use crate::protocol::ledger::{Asked, History, Ledger, lock_site};
use crate::protocol::{Content, retention};

/// The policy's name in a site's folder.
pub const POLICY: &str = "policy.toml";
/// How long a process waits for another one that works for the same site.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A site's folder: `policy.toml`, `ledger.jsonl`, `hold-out.secret`.
pub(super) struct SiteContext {
    pub(super) folder: PathBuf,
    pub(super) policy: Policy,
    pub(super) ledger: Ledger,
    /// The lock on the folder, held as long as the site works; `None` where it is only read.
    lock: Option<File>,
}

impl SiteContext {
    /// Opens the folder of this `policy.toml`, once no other process works for the site.
    ///
    /// # Errors
    /// A policy that cannot be read; another process that does not end.
    pub(super) fn open(policy: &Path, stop: &AtomicBool) -> Result<Self, SiteError> {
        let folder = folder_of(policy).to_owned();
        let (started, failed) = (Instant::now(), |why: String| SiteError::new(Refusal::WorkFailed, why));
        let lock = loop {
            let lock = lock_site(&folder).map_err(|error| failed(format!("{}: {error}", folder.display())))?;
            if let Some(lock) = lock {
                break lock;
            }
            if started.elapsed() >= MAX_WAIT || stop.load(Ordering::Relaxed) {
                let why = format!("another process is working for the site in {}; stop it", folder.display());
                return Err(failed(why));
            }
            thread::sleep(Duration::from_millis(50));
        };
        let policy = Policy::read(policy)?;
        Ok(Self { ledger: Ledger::of(&folder), folder, policy, lock: Some(lock) })
    }

    /// The folder as an approved run would find it. Nothing is written or locked, so a process that works for the site is not disturbed.
    ///
    /// # Errors
    /// A policy that cannot be read.
    pub(super) fn read_only(policy: &Path) -> Result<Self, SiteError> {
        let folder = folder_of(policy).to_owned();
        let policy = Policy { approve: Approve::Any, ..Policy::read(policy)? };
        Ok(Self { ledger: Ledger::of(&folder), folder, policy, lock: None })
    }

    /// What the ledger says about the run that sends the request `asked`.
    ///
    /// # Errors
    /// A ledger that is broken or cannot be read.
    pub(super) fn history(&self, asked: &Asked) -> Result<History, SiteError> {
        Ok(History::of(&self.ledger, asked)?)
    }

    /// Moves images from training to the hold-out: those that the site's secret picks, as many of each class as the config says.
    ///
    /// # Errors
    /// A secret that is malformed; a file that is gone; fewer training images than the config's `min_examples`.
    pub(super) fn hold_out(
        &self,
        config: &Config,
        dataset: &Dataset,
        listed: Option<&FileList>,
        share: &mut ClientShare,
    ) -> Result<(), SiteError> {
        let CommonKeys { held_out, min_examples, .. } = config_request::shares(config);
        let secret = self.secret()?;
        let images = [&share.train[..], &share.held_out].concat();
        let labels = dataset.train.labels();
        let units = if let Some(persons) = dataset.train.persons() {
            hold_out::persons(&images, labels, persons)
        } else {
            let fingerprints = hold_out::fingerprints(dataset, listed)?;
            if fingerprints.len() != labels.len() {
                return Err(SiteError::new(Refusal::DataUnusable, "the data folder changed while it was being read"));
            }
            hold_out::single_images(&images, labels, &fingerprints)
        };
        [share.train, share.held_out] = hold_out::split(units, &secret, held_out);
        let counts = Counts::of(&share.train, dataset.train.persons());
        if counts.num_hidden() < min_examples as u64 {
            let why = format!("{counts} train, fewer than min_examples = {min_examples} of the config");
            return Err(SiteError::new(Refusal::TooFewImages, why));
        }
        Ok(())
    }

    /// The number of training images and of their persons in the list of a folder that names persons, once the site's secret has held out a share of
    /// these; `None` where it names none.
    ///
    /// # Errors
    /// A secret that is malformed.
    pub(super) fn count_persons(&self, listed: &FileList, held_out: f64) -> Result<Option<Counts>, SiteError> {
        let Some(persons) = &listed.persons else { return Ok(None) };
        let labels: Vec<u8> = listed.train.iter().map(|(_, label)| *label).collect();
        let images: Vec<u32> = (0..labels.len() as u32).collect();
        let [train, _] = hold_out::split(hold_out::persons(&images, &labels, persons), &self.secret()?, held_out);
        Ok(Some(Counts::of(&train, Some(persons))))
    }

    /// The secret that decides which images are held out.
    fn secret(&self) -> Result<String, SiteError> {
        if self.lock.is_none() && !self.has_secret() {
            let why = "hold-out.secret is missing; effgan federation join creates it";
            return Err(SiteError::new(Refusal::WorkFailed, why));
        }
        hold_out::secret(&self.folder).map_err(|error| {
            let why = format!("{}: {error}", self.folder.join(hold_out::SECRET).display());
            SiteError::new(Refusal::WorkFailed, why)
        })
    }

    /// The seed of the samples by which generators are audited: the site's secret, so that no server can prepare a generator for these samples.
    ///
    /// # Errors
    /// A secret that is malformed.
    pub(super) fn audit_seed(&self) -> Result<u64, SiteError> {
        let hash = params::sha256(format!("audit {}", self.secret()?).as_bytes());
        Ok(u64::from_str_radix(&hash[..16], 16).expect("a hash is hex"))
    }

    pub(super) fn has_secret(&self) -> bool {
        self.folder.join(hold_out::SECRET).exists()
    }

    /// How much memory the images may take: the smaller of the policy's and the config's limit.
    pub(super) fn max_memory(&self, of_config: MaxMemory) -> MaxMemory {
        of_config.min(self.policy.max_memory)
    }

    /// The folder in which decoded images may be kept; `None` where no second copy of them may be made.
    pub(super) fn image_cache(&self) -> Option<&Path> {
        Some(&*self.policy.image_cache).filter(|folder| !folder.as_os_str().is_empty())
    }

    /// What trains at this site.
    pub(super) fn device(&self) -> DeviceName {
        self.policy.device
    }

    /// Removes what `state_dir` holds of runs that have not asked for the policy's `keep_days`. A site that cannot remove it still answers.
    pub(super) fn remove_old_runs(&self, state_dir: &Path) {
        let keep = Duration::from_hours(24 * self.policy.keep_days);
        if let Err(error) = retention::remove_old_runs(state_dir, keep) {
            log::warn!("{}", without_control(&one_line(&format!("{error:#}"))));
        }
    }

    /// Appends to the ledger what leaves, or why nothing does, and returns the ledger's head.
    ///
    /// # Errors
    /// When the line could not be written to the disk: then nothing may leave.
    pub(super) fn record(
        &self,
        record: RequestRecord,
        reply: Result<&Content, &SiteError>,
    ) -> Result<String, SiteError> {
        let entry = match reply {
            Ok(content) => record.answered(content),
            Err(error) => record.refused(error),
        };
        Ok(self.ledger.append(entry)?)
    }

    /// Appends a refusal to the ledger beside this `policy.toml`, where the folder itself could not be opened, and returns the ledger's head.
    ///
    /// # Errors
    /// When the line could not be written to the disk.
    pub(super) fn record_refusal(policy: &Path, record: RequestRecord, error: &SiteError) -> Result<String, SiteError> {
        Ok(Ledger::of(folder_of(policy)).append(record.refused(error))?)
    }
}

/// The folder of a `policy.toml`, in which the site's other files lie, too.
fn folder_of(policy: &Path) -> &Path {
    policy.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
