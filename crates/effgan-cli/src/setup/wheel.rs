//! The wheel in a kit: effgan's own, of this version, identified by its SHA-256, with the hashes of all its dependencies.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use effgan_nn::params;
use serde::{Deserialize, Serialize};
use zip::ZipArchive;

use super::{OPEN, write};

/// Maximum number of bytes of a wheel; effgan's has about 20 MB.
const MAX_WHEEL: u64 = 1 << 29;
/// Maximum number of bytes of a wheel's `METADATA`.
const MAX_METADATA: u64 = 1 << 20;

/// The dependencies in pip's format, with hashes; `scripts/lock_requirements.sh` writes the file.
const LOCK: &str = include_str!("requirements.lock");

/// `.dockerignore`: a container image (docker/) is built from the wheel and requirements.txt alone. Keys, ledger and state, which are
/// added to the folder later, must not get into a builder's cache.
const DOCKERIGNORE: &str = "*\n!*.whl\n!requirements.txt\n";

/// File in a kit that has a wheel.
pub(super) const REQUIREMENTS: &str = "requirements.txt";

/// A wheel as `site.toml` and `server.toml` name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wheel {
    /// File name in the same folder; it tells pip the platforms that the wheel is for.
    pub(super) file: String,
    /// 64 hexadecimal digits.
    pub(super) sha256: String,
}

/// A wheel whose name and metadata say that it is effgan's, of this version.
pub(super) struct Checked {
    pub(super) wheel: Wheel,
    bytes: Vec<u8>,
}

impl Checked {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When the file is not a wheel, or not the wheel of this version of effgan.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let read = || {
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            check_name(&file)?;
            let about = fs::metadata(path)?;
            ensure!(about.is_file() && about.len() <= MAX_WHEEL, "it is not a file of at most {MAX_WHEEL} bytes");
            let bytes = fs::read(path)?;
            check_metadata(&bytes)?;
            Ok(Self { wheel: Wheel { file, sha256: params::sha256(&bytes) }, bytes })
        };
        read().with_context(|| format!("{} is not the wheel of effgan {}", path.display(), env!("CARGO_PKG_VERSION")))
    }

    /// Writes the wheel, its `requirements.txt` and a `.dockerignore` into `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.wheel.file);
        fs::write(&path, &self.bytes).with_context(|| format!("writing {}", path.display()))?;
        write(&folder.join(REQUIREMENTS), &self.wheel.requirements(), OPEN)?;
        write(&folder.join(".dockerignore"), DOCKERIGNORE, OPEN)
    }
}

impl Wheel {
    /// `requirements.txt`, with which pip accepts only files that have these hashes.
    fn requirements(&self) -> String {
        let Self { file, sha256 } = self;
        let usage = "# In this folder: pip install --require-hashes -r requirements.txt";
        format!("{usage}\n{LOCK}./{file} --hash=sha256:{sha256}\n")
    }

    /// Checks the hash of the file in `folder`, if there is one.
    ///
    /// # Errors
    /// When the hash differs.
    pub(super) fn check(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.file);
        let Ok(bytes) = fs::read(&path) else { return Ok(()) };
        let found = params::sha256(&bytes);
        ensure!(found == self.sha256, "{} has sha256 {found}, expected {}", path.display(), self.sha256);
        Ok(())
    }
}

/// `effgan-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`, without characters that have a meaning in a requirements file.
fn check_name(file: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let parts: Vec<&str> = file.strip_suffix(".whl").unwrap_or_default().split('-').collect();
    let is_ours = file.chars().all(is_plain)
        && matches!(parts.len(), 5 | 6)
        && parts[..2] == ["effgan", env!("CARGO_PKG_VERSION")]
        && parts.iter().all(|part| !part.is_empty());
    if !is_ours {
        bail!("its name is not effgan-{}-….whl, as `make wheel` writes it", env!("CARGO_PKG_VERSION"));
    }
    Ok(())
}

fn check_metadata(bytes: &[u8]) -> Result<()> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).context("it is not a zip archive")?;
    let name = format!("effgan-{}.dist-info/METADATA", env!("CARGO_PKG_VERSION"));
    let mut text = String::new();
    let member = archive.by_name(&name).with_context(|| format!("it has no {name}"))?;
    member.take(MAX_METADATA).read_to_string(&mut text).with_context(|| format!("reading {name}"))?;
    for line in ["Name: effgan", concat!("Version: ", env!("CARGO_PKG_VERSION"))] {
        ensure!(text.lines().any(|found| found == line), "{name} has no line {line:?}");
    }
    let mut names = archive.file_names().filter_map(std::result::Result::ok);
    ensure!(names.any(|name| name.starts_with("effgan/_effgan.")), "it has no module effgan._effgan");
    Ok(())
}
