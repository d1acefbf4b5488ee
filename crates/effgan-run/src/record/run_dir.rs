//! The run folder: created once, never overwritten, readable at any moment.

mod lock;
mod new_path;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use effgan_nn::file::{check_no_links, open_to_append, read_file, remove_leftovers, write_file};
use image::RgbImage;
use serde::{Deserialize, Serialize};

pub(crate) use self::lock::is_in_use;
use self::lock::lock;
pub(crate) use self::new_path::make_new_folder;
pub use self::new_path::{beside, check_new, check_new_file};
use super::append::{rewind, synced_len};
use super::events::Event;
use super::pictures::to_png;
use super::run_info::{RunInfo, Status};
use super::tensorboard::EventFile;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::units;

/// An open run folder, locked against other programs.
pub struct RunDir {
    path: PathBuf,
    metrics: File,
    tensorboard: EventFile,
    info: RunInfo,
    /// Locked while it is open; the system releases the lock of a program that is killed.
    _lock: File,
}

/// Lengths of the files that grow with the run, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    metrics: u64,
    events: u64,
}

impl RunDir {
    /// Creates `path` with `config.toml` and `run.json` in one step: nobody ever sees a part of it.
    ///
    /// The folder of a federation is readable by its owner alone, since it holds networks that were trained on others' images.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) when `path` exists or cannot be created.
    pub fn create(path: &Path, config: &Config, info: RunInfo) -> Result<Self> {
        let beside = beside(path);
        let made = Self::create_beside(&beside, path, config, info);
        if made.is_err() {
            // Nobody has seen the folder. The first error is the one to report.
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
        // Fails when anything but an empty folder has appeared at `path` meanwhile.
        fs::rename(beside, path)?;
        run.path = path.into();
        Ok(run)
    }

    /// Opens the folder of a run that was begun earlier.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) when another program holds its lock or a folder inside is a link; when a file
    /// cannot be written.
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

    /// Lengths of the files that grow, after all of their bytes have reached the disk.
    ///
    /// # Errors
    /// When the files cannot be synced.
    pub fn lengths(&self) -> anyhow::Result<Lengths> {
        let lengths = || Ok(Lengths { metrics: synced_len(&self.metrics)?, events: self.tensorboard.synced_len()? });
        lengths().map_err(|error: io::Error| anyhow!("{}: {error}", self.path.display()))
    }

    /// Cuts the files that grow back to `lengths`; `None` empties them.
    ///
    /// # Errors
    /// When they cannot be cut.
    pub fn rewind(&self, lengths: Option<Lengths>) -> anyhow::Result<()> {
        let Lengths { metrics, events } = lengths.unwrap_or_default();
        let rewound = rewind(&self.metrics, metrics).and_then(|()| self.tensorboard.rewind(events));
        rewound.with_context(|| format!("{}: cutting files back to the checkpoint", self.path.display()))
    }

    /// Reads the events of `metrics.jsonl`. Lines that are not events are skipped with a warning.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(&self) -> anyhow::Result<Vec<Event>> {
        let (events, unreadable) = read_events(&self.path)?;
        if !unreadable.is_empty() {
            let lines = units::lines(&unreadable);
            log::warn!("{}: skipped unreadable {lines}", self.join(METRICS).display());
        }
        Ok(events)
    }

    /// Writes the config and `run.json` of a run that is resumed.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn begin_again(&mut self, config: &Config) -> anyhow::Result<()> {
        let path = self.join("config.toml");
        write_file(&path, config.to_toml().as_bytes()).with_context(|| path.display().to_string())?;
        self.write_info()
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file or folder inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The content of `run.json`.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Appends `event` to `metrics.jsonl` and its numbers to TensorBoard's event file. Returns what `metrics.jsonl` has now: the event, or
    /// a note in place of one with a number that is not finite.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn record<'e>(&mut self, event: &'e Event) -> anyhow::Result<Cow<'e, Event>> {
        let (recorded, line) = event.recorded()?;
        // In one call, so that a concurrent reader sees whole lines.
        let written = self.metrics.write_all((line + "\n").as_bytes());
        written.with_context(|| self.join(METRICS).display().to_string())?;
        let shown = self.tensorboard.record(event);
        shown.with_context(|| format!("{}: TensorBoard's events", self.path.display()))?;
        Ok(recorded)
    }

    /// Writes a grid of samples as `samples/<name>.png` and adds it to TensorBoard's event file.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save_samples(&self, name: &str, picture: &RgbImage) -> anyhow::Result<()> {
        let (path, png) = (self.join(format!("samples/{name}.png")), to_png(picture)?);
        write_file(&path, &png).with_context(|| format!("writing {}", path.display()))?;
        let shown = self.tensorboard.picture(name, picture, &png);
        shown.with_context(|| format!("{}: TensorBoard's events", self.path.display()))
    }

    /// Writes `value` as indented JSON into the file `name`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let path = self.join(name);
        write_file(&path, &serde_json::to_vec_pretty(value)?).with_context(|| path.display().to_string())
    }

    /// Writes into `run.json` how the run ended and how long it took.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&mut self, status: Status, reason: Option<String>, seconds: f64) -> anyhow::Result<()> {
        self.info.status = status;
        self.info.reason = reason;
        self.info.seconds = seconds;
        self.write_info()
    }

    /// Checks that the files that grow are at least as long as `lengths`.
    ///
    /// # Errors
    /// The file that is shorter, with its length and the expected one.
    pub fn reaches(&self, lengths: &Lengths) -> std::result::Result<(), String> {
        let have = [synced_len(&self.metrics), self.tensorboard.synced_len()].map(io::Result::unwrap_or_default);
        let [metrics, events] = have;
        for (name, have, wanted) in
            [(METRICS, metrics, lengths.metrics), ("TensorBoard's events", events, lengths.events)]
        {
            if have < wanted {
                return Err(format!("is newer than {name}, which has {have} bytes instead of {wanted}"));
            }
        }
        Ok(())
    }

    /// Sets the model hash, for `run.json`.
    pub fn set_model_hash(&mut self, hash: String) {
        self.info.model_hash = Some(hash);
    }

    fn write_info(&self) -> anyhow::Result<()> {
        self.write_json("run.json", &self.info)
    }
}

/// Reads the events of the run folder `path`, of a run under way too: those that are recorded so far, and the numbers (from 1) of the lines
/// that are not events, as [`Event::all`] does. There are none while there is no `metrics.jsonl`.
///
/// # Errors
/// When the file cannot be read.
pub fn read_events(path: &Path) -> anyhow::Result<(Vec<Event>, Vec<usize>)> {
    let path = path.join(METRICS);
    match read_file(&path, MAX_BYTES) {
        Ok(bytes) => Ok(Event::all(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((Vec::new(), Vec::new())),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Maximum number of bytes of a file of a run folder that is read: 1 GiB.
pub const MAX_BYTES: u64 = 1 << 30;
/// The file that grows by one line per event.
const METRICS: &str = "metrics.jsonl";

/// The folders inside a run folder; none may be a link, which would lead writes elsewhere.
const FOLDERS: [&str; 4] = ["samples", "checkpoints", "join", "model"];
