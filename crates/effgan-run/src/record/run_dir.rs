//! The run folder: made once, never overwritten, readable at any moment.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use effgan_nn::file::{check_no_links, open_to_append, read_file, remove_leftovers, write_file};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::append::{rewind, synced_len};
use super::tensorboard::EventFile;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::record::events::{Event, RunInfo, Status};
use crate::record::pictures::to_png;
use crate::units;

/// An open run folder, which no other program runs in.
pub struct RunDir {
    path: PathBuf,
    metrics: File,
    tensorboard: EventFile,
    info: RunInfo,
    /// Locked for as long as it is open; a program that is killed holds no lock.
    _lock: File,
}

/// How long the files are that grow with the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    metrics: u64,
    events: u64,
}

impl RunDir {
    /// Makes `path` with `config.toml` and `run.json`, all at once: there is no moment at which a part of it is there. The folder of a
    /// federation is its owner's alone: there the networks are those of others.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) when it exists: nothing is overwritten.
    pub fn create(path: &Path, config: &Config, info: RunInfo) -> Result<Self> {
        let beside = beside(path);
        let made = Self::create_beside(&beside, path, config, info);
        if made.is_err() {
            // Nobody has seen it. The first error is the one to tell.
            let _ = fs::remove_dir_all(&beside);
        }
        made.with_context(|| format!("cannot make the run folder {}", path.display())).map_err(Failure::usage)
    }

    fn create_beside(beside: &Path, path: &Path, config: &Config, info: RunInfo) -> anyhow::Result<Self> {
        let is_federation = info.dataset.num_test.is_none();
        make_new_folder(beside, if is_federation { 0o700 } else { 0o777 })?;
        fs::create_dir(beside.join("samples"))?;
        let lock = lock(beside)?;
        write_file(&beside.join("config.toml"), config.to_toml().as_bytes())?;
        let metrics = open_to_append(&beside.join(METRICS))?;
        let tensorboard = EventFile::create(beside, info.started)?;
        let mut run = Self { path: beside.into(), metrics, tensorboard, info, _lock: lock };
        run.write_info()?;
        // Fails when something that is not an empty folder has come to be there.
        fs::rename(beside, path)?;
        run.path = path.into();
        Ok(run)
    }

    /// Opens the folder of a run that was begun.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) when another program runs in it, or a folder inside is a link; when a file cannot be
    /// written.
    pub fn open(path: &Path, info: RunInfo) -> Result<Self> {
        FOLDERS.iter().try_for_each(|folder| check_no_links(path, folder)).map_err(Failure::usage)?;
        let lock = lock(path).map_err(Failure::usage)?;
        remove_leftovers(path);
        let open = || -> anyhow::Result<(File, EventFile)> {
            fs::create_dir_all(path.join("samples"))?;
            let metrics = open_to_append(&path.join(METRICS))?;
            Ok((metrics, EventFile::open(path, info.started)?))
        };
        let (metrics, tensorboard) = open().with_context(|| format!("opening the run folder {}", path.display()))?;
        Ok(Self { path: path.into(), metrics, tensorboard, info, _lock: lock })
    }

    /// How much is written of the files that grow, all of it on the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn lengths(&self) -> anyhow::Result<Lengths> {
        let lengths = || Ok(Lengths { metrics: synced_len(&self.metrics)?, events: self.tensorboard.synced_len()? });
        lengths().map_err(|error: io::Error| anyhow!("{}: {error}", self.path.display()))
    }

    /// Takes back what was written after `lengths`; `None` is everything.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn rewind(&self, lengths: Option<Lengths>) -> anyhow::Result<()> {
        let Lengths { metrics, events } = lengths.unwrap_or_default();
        let rewound = rewind(&self.metrics, metrics).and_then(|()| self.tensorboard.rewind(events));
        rewound.with_context(|| format!("{}: going back to the checkpoint", self.path.display()))
    }

    /// What `metrics.jsonl` says. Lines that are no events are told, and left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn events(&self) -> anyhow::Result<Vec<Event>> {
        let path = self.join(METRICS);
        let bytes = read_file(&path, MOST_BYTES).with_context(|| path.display().to_string())?;
        let (events, unreadable) = Event::all(&String::from_utf8_lossy(&bytes));
        if !unreadable.is_empty() {
            let lines = units::lines(&unreadable);
            log::warn!("{} has lines that are no events, and is read without them: {lines}", path.display());
        }
        Ok(events)
    }

    /// Writes the config and `run.json` of a run that goes on.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn begin_again(&mut self, config: &Config) -> anyhow::Result<()> {
        let path = self.join("config.toml");
        write_file(&path, config.to_toml().as_bytes()).with_context(|| path.display().to_string())?;
        self.write_info()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// What `run.json` says.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Appends a line to `metrics.jsonl`, and its numbers to TensorBoard's event file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&mut self, event: &Event) -> anyhow::Result<()> {
        let line = event.line()? + "\n";
        // In one call, so that a reader meets whole lines.
        self.metrics.write_all(line.as_bytes()).with_context(|| self.join(METRICS).display().to_string())?;
        self.tensorboard.record(event).with_context(|| format!("{}: TensorBoard's events", self.path.display()))
    }

    /// Writes a grid of samples as `samples/<name>.png`, and shows it in TensorBoard.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_samples(&self, name: &str, picture: &RgbImage) -> anyhow::Result<()> {
        let (path, png) = (self.join(format!("samples/{name}.png")), to_png(picture)?);
        write_file(&path, &png).with_context(|| format!("writing {}", path.display()))?;
        let shown = self.tensorboard.picture(name, picture, &png);
        shown.with_context(|| format!("{}: TensorBoard's events", self.path.display()))
    }

    /// Writes `value` as readable JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let path = self.join(name);
        write_file(&path, &serde_json::to_vec_pretty(value)?).with_context(|| path.display().to_string())
    }

    /// Writes how the run ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&mut self, status: Status, reason: Option<String>, seconds: f64) -> anyhow::Result<()> {
        self.info.status = status;
        self.info.reason = reason;
        self.info.seconds = seconds;
        self.write_info()
    }

    /// Whether the files that grow have come as far as `lengths`.
    ///
    /// # Errors
    /// The one that has lost something, with what it has and what it is to have.
    pub fn reaches(&self, lengths: &Lengths) -> std::result::Result<(), String> {
        let have = [synced_len(&self.metrics), self.tensorboard.synced_len()].map(io::Result::unwrap_or_default);
        let [metrics, events] = have;
        for (name, have, wanted) in
            [(METRICS, metrics, lengths.metrics), ("TensorBoard's events", events, lengths.events)]
        {
            if have < wanted {
                return Err(format!("is newer than {name}, which has {have} bytes and had {wanted}"));
            }
        }
        Ok(())
    }

    /// Notes the hash of what was learned.
    pub fn set_model_hash(&mut self, hash: String) {
        self.info.model_hash = Some(hash);
    }

    fn write_info(&self) -> anyhow::Result<()> {
        self.write_json("run.json", &self.info)
    }
}

/// Most bytes of a file of the folder that is read, 1 GiB.
pub const MOST_BYTES: u64 = 1 << 30;
/// The file that grows by a line an event.
const METRICS: &str = "metrics.jsonl";

/// The folders of a run folder: none of them may be a link that somebody has put there.
const FOLDERS: [&str; 4] = ["samples", "checkpoints", "join", "model"];

/// Where a run folder is made before it gets its name, which nobody can guess.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}.new", RandomState::new().build_hasher().finish()));
    path.with_file_name(name)
}

/// Makes a folder that is not there yet, and those that lead to it; the umask takes from `mode`.
pub(crate) fn make_new_folder(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(mode).create(path)
}

/// Locks a run folder against other programs.
fn lock(path: &Path) -> anyhow::Result<File> {
    let open = open_to_append(&path.join(".lock"));
    let file = open.with_context(|| format!("locking {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(anyhow!("{} is in use: another effgan runs in it; wait for its end, or stop it", path.display()))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// Whether another program runs in the folder `path`, as far as can be told.
pub(crate) fn is_in_use(path: &Path) -> bool {
    let lock = File::open(path.join(".lock"));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Checks that a file can be made at `path`: nothing is there yet, and its folder is. Better told before the work than after it.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage).
pub fn check_new_file(path: &Path) -> Result<()> {
    check_new(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let line = format!("{} is no folder, so {} cannot be made there", folder.display(), path.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    Ok(())
}

/// Checks that nothing is there yet.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when something is.
pub fn check_new(path: &Path) -> Result<()> {
    if path.exists() {
        let is_run = path.join("run.json").is_file();
        let path = path.display();
        let way_on = if is_run { format!("effgan resume {path} goes on with it") } else { "remove it".into() };
        let line = format!("{path} exists and nothing is overwritten; {way_on}, or choose another --out");
        return Err(Failure::usage(anyhow!(line)));
    }
    Ok(())
}
