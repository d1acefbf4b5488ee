//! The wheel that a kit brings: effgan's own, of this version, known by its SHA-256, with the hashes of all that it needs.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use effgan_nn::params;
use serde::{Deserialize, Serialize};
use zip::ZipArchive;

use super::{OPEN, write};

/// Most bytes of a wheel; effgan's has about 20 MB.
const MOST: u64 = 1 << 29;
/// Most bytes of its `METADATA`.
const MOST_METADATA: u64 = 1 << 20;

/// What pip is given besides the wheel. `scripts/lock_requirements.sh` makes it.
const LOCK: &str = include_str!("requirements.lock");

/// All that an image is built from (docker/): keys, ledger and state, which come to lie beside it, are no business of a builder's cache.
const IMAGE: &str = "*\n!*.whl\n!requirements.txt\n";

/// Of a kit with a wheel.
pub(super) const REQUIREMENTS: &str = "requirements.txt";

/// Which wheel, as `site.toml` and `server.toml` name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wheel {
    /// Its name, by which pip knows for which machines it is. It lies in the same folder.
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
    /// In one line: a file that is no wheel, or one of something else.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let read = || {
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            check_name(&file)?;
            let about = fs::metadata(path)?;
            ensure!(about.is_file() && about.len() <= MOST, "it is no file of at most {MOST} bytes");
            let bytes = fs::read(path)?;
            check_metadata(&bytes)?;
            Ok(Self { wheel: Wheel { file, sha256: params::sha256(&bytes) }, bytes })
        };
        read().with_context(|| format!("{} is not the wheel of effgan {}", path.display(), env!("CARGO_PKG_VERSION")))
    }

    /// Puts the wheel and its `requirements.txt` into `folder`, and what keeps all else in it out of container images.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.wheel.file);
        fs::write(&path, &self.bytes).with_context(|| format!("writing {}", path.display()))?;
        write(&folder.join(REQUIREMENTS), &self.wheel.requirements(), OPEN)?;
        write(&folder.join(".dockerignore"), IMAGE, OPEN)
    }
}

impl Wheel {
    /// `requirements.txt`: pip takes nothing but files with these hashes.
    fn requirements(&self) -> String {
        let Self { file, sha256 } = self;
        let how = "# In this folder: pip install --require-hashes -r requirements.txt";
        format!("{how}\n{LOCK}./{file} --hash=sha256:{sha256}\n")
    }

    /// Holds the file in `folder`, if it is there, to the hash.
    ///
    /// # Errors
    /// When it is another one.
    pub(super) fn check(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.file);
        let Ok(bytes) = fs::read(&path) else { return Ok(()) };
        let found = params::sha256(&bytes);
        ensure!(found == self.sha256, "{} has sha256 {found}, expected {}", path.display(), self.sha256);
        Ok(())
    }
}

/// `effgan-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`, without a character that a requirements file would take for something else.
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
    let mut archive = ZipArchive::new(Cursor::new(bytes)).context("it is no zip archive")?;
    let name = format!("effgan-{}.dist-info/METADATA", env!("CARGO_PKG_VERSION"));
    let mut text = String::new();
    let member = archive.by_name(&name).with_context(|| format!("it has no {name}"))?;
    member.take(MOST_METADATA).read_to_string(&mut text).with_context(|| format!("reading {name}"))?;
    for line in ["Name: effgan", concat!("Version: ", env!("CARGO_PKG_VERSION"))] {
        ensure!(text.lines().any(|found| found == line), "{name} has no line {line:?}");
    }
    let mut names = archive.file_names().filter_map(std::result::Result::ok);
    ensure!(names.any(|name| name.starts_with("effgan/_effgan.")), "it has no module effgan._effgan");
    Ok(())
}
