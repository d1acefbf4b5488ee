//! The run folder: made once, never overwritten, readable at any moment.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use effgan_nn::checkpoint::write_file;
use image::RgbImage;
use serde::Serialize;

use crate::config::Config;
use crate::events::{Event, RunInfo, Status};
use crate::failure::{Failure, Result};
use crate::pictures::to_png;
use crate::tensorboard::EventFile;

/// An open run folder.
pub struct RunDir {
    path: PathBuf,
    metrics: File,
    tensorboard: EventFile,
    info: RunInfo,
}

impl RunDir {
    /// Makes `path` with `config.toml` and `run.json`.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::failure::Kind::Usage) when it exists: nothing is overwritten.
    pub fn create(path: &Path, config: &Config, info: RunInfo) -> Result<Self> {
        let make = || -> anyhow::Result<(File, EventFile)> {
            fs::create_dir_all(path.join("samples"))?;
            write_file(&path.join("config.toml"), config.to_toml().as_bytes())?;
            Ok((File::create(path.join("metrics.jsonl"))?, EventFile::create(path, info.started)?))
        };
        let made = make().with_context(|| format!("cannot make the run folder {}", path.display()));
        let (metrics, tensorboard) = made.map_err(Failure::usage)?;
        let run = Self { path: path.into(), metrics, tensorboard, info };
        run.write_info()?;
        Ok(run)
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
        let line = serde_json::to_string(event)?;
        writeln!(self.metrics, "{line}").with_context(|| self.join("metrics.jsonl").display().to_string())?;
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

    /// Notes the hash of what was learned.
    pub fn set_model_hash(&mut self, hash: String) {
        self.info.model_hash = Some(hash);
    }

    fn write_info(&self) -> anyhow::Result<()> {
        self.write_json("run.json", &self.info)
    }
}

/// Checks that a file can be made at `path`: nothing is there yet, and its folder is. Better told before the work than after it.
///
/// # Errors
/// [`Kind::Usage`](crate::failure::Kind::Usage).
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
/// [`Kind::Usage`](crate::failure::Kind::Usage) when something is.
pub fn check_new(path: &Path) -> Result<()> {
    if path.exists() {
        let line = format!("{} exists and nothing is overwritten; remove it or choose another --out", path.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    Ok(())
}
