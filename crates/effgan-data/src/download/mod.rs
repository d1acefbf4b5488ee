//! Downloading the files of data sets and the weights of Inception, once, and only when asked to.
//!
//! A file is written as `<name>.part`, resumed after interruptions (HTTP ranges), verified against its published SHA-256, and
//! only then renamed. Existing files are never overwritten. Mirrors are tried in order.

mod http;
mod sources;
mod tar;

pub use sources::{Item, Origin, RemoteFile, Source};
pub use tar::unpack as unpack_cifar10;

use crate::{DataError, DatasetName, datasets::cifar};
use sha2::{Digest, Sha256};
use std::{
    env,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// Bytes that have arrived.
    pub have: u64,
    /// Bytes of the whole file.
    pub len: u64,
}

/// Where a file came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It existed already, and is the right one.
    AlreadyHere,
    /// It was downloaded from this mirror.
    From(String),
}

/// The cache folder of downloads, with one sub-folder per item: `$EFFGAN_DATA`, else `$XDG_CACHE_HOME/effgan`, else `~/.cache/effgan`.
///
/// # Errors
/// [`DataError::NoCache`] when none of the variables is set.
pub fn cache_dir() -> Result<PathBuf, DataError> {
    let of = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("EFFGAN_DATA")
        .or_else(|| of("XDG_CACHE_HOME").map(|cache| cache.join("effgan")))
        .or_else(|| of("HOME").map(|home| home.join(".cache/effgan")))
        .ok_or(DataError::NoCache)
}

/// Path of the weights of FID's network in the cache, if they have been fetched.
pub fn inception_weights() -> Option<PathBuf> {
    let dir = cache_dir().ok()?.join(Item::Inception.as_str());
    is_fetched(Item::Inception, &dir).then(|| dir.join(sources::INCEPTION.files[0].name))
}

/// Whether all files of `item` exist in `dir`, whatever they contain; false for a data set that cannot be fetched.
pub fn is_fetched(item: impl Into<Item>, dir: &Path) -> bool {
    let item = item.into();
    let plain = |file: &RemoteFile| dir.join(file.name.trim_end_matches(".gz"));
    match Source::of(item) {
        _ if is_archive(item) => cifar::FILES.iter().all(|file| dir.join(file).is_file()),
        Some(source) => source.files.iter().all(|file| dir.join(file.name).is_file() || plain(file).is_file()),
        None => false,
    }
}

/// Whether the item's file is an archive that must be unpacked.
fn is_archive(item: Item) -> bool {
    item == Item::Dataset(DatasetName::Cifar10)
}

/// Fetches the missing files of `item` into `dir`, which is created if necessary.
///
/// `mirrors`, to which file names are appended, replace those of [`Source`] unless the list is empty. `on_progress` is called
/// after each chunk, and `done` after each file.
///
/// # Errors
/// [`DataError::NotFetched`] for a data set without mirrors, [`DataError::NoMirror`] when no mirror has a file,
/// [`DataError::WrongHash`] when an existing file differs from the published one, [`DataError::Unwritable`] when a file cannot be written.
pub fn fetch(
    item: impl Into<Item>,
    dir: &Path,
    mirrors: &[String],
    on_progress: &mut dyn FnMut(Progress),
    done: &mut dyn FnMut(&str, &Outcome),
) -> Result<(), DataError> {
    let item = item.into();
    let source = Source::find(item)?;
    if is_archive(item) && is_fetched(item, dir) {
        for file in cifar::FILES {
            done(file, &Outcome::AlreadyHere);
        }
        return Ok(());
    }
    let listed: Vec<String> = source.mirrors.iter().map(ToString::to_string).collect();
    fs::create_dir_all(dir).map_err(|reason| unwritable(dir, reason))?;
    for file in source.files {
        let outcome = fetch_file(file, if mirrors.is_empty() { &listed } else { mirrors }, dir, on_progress)?;
        done(file.name, &outcome);
    }
    if is_archive(item) {
        let archive = dir.join(source.files[0].name);
        tar::unpack(&archive, dir)?;
        fs::remove_file(&archive).map_err(|reason| unwritable(&archive, reason))?;
    }
    Ok(())
}

/// Fetches one file into `dir` from the first of `mirrors` that has it.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_file(
    file: &RemoteFile,
    mirrors: &[String],
    dir: &Path,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, DataError> {
    let path = dir.join(file.name);
    if path.exists() {
        let expected = file.sha256.to_owned();
        let wrong = hash_if_wrong(&path, file).map_err(|reason| unreadable(&path, reason))?;
        return wrong.map_or(Ok(Outcome::AlreadyHere), |got| Err(DataError::WrongHash { file: path, got, expected }));
    }
    let part = dir.join(format!("{}.part", file.name));
    let mut reasons = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}", mirror.trim_end_matches('/'), file.name);
        match from_mirror(&url, file, &part, on_progress) {
            Ok(()) => {
                fs::rename(&part, &path).map_err(|reason| unwritable(&path, reason))?;
                return Ok(Outcome::From(mirror.clone()));
            }
            Err(DownloadError::Mirror(reason)) => reasons.push(format!("{url} {reason}")),
            Err(DownloadError::Disk(reason)) => return Err(unwritable(&part, reason)),
        }
    }
    Err(DataError::NoMirror { file: file.name.into(), reasons })
}

/// Why a file did not come from a mirror.
enum DownloadError {
    /// A problem of the mirror; another one may work.
    Mirror(String),
    /// A problem of the local disk.
    Disk(io::Error),
}

/// Downloads `part` until it is the right file. A file with a wrong hash is removed, because it is not known which of its bytes are wrong.
fn from_mirror(
    url: &str,
    file: &RemoteFile,
    part: &Path,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<(), DownloadError> {
    loop {
        let was_begun = part.exists();
        http::download(url, file, part, on_progress)?;
        let Some(got) = hash_if_wrong(part, file).map_err(DownloadError::Disk)? else { return Ok(()) };
        fs::remove_file(part).map_err(DownloadError::Disk)?;
        // The beginning may have come from another mirror, so this one is first asked for the whole file.
        if !was_begun {
            return Err(DownloadError::Mirror(format!("has a file of sha256 {got}, expected {}", file.sha256)));
        }
    }
}

/// The hash of the file at `path` if it differs from the published one.
fn hash_if_wrong(path: &Path, file: &RemoteFile) -> io::Result<Option<String>> {
    let got = sha256(File::open(path)?)?;
    Ok((got != file.sha256).then_some(got))
}

fn sha256(mut reader: impl Read) -> io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&piece[..n]),
        }
    }
}

fn unwritable(file: &Path, reason: io::Error) -> DataError {
    DataError::Unwritable { file: file.to_owned(), reason }
}

fn unreadable(file: &Path, reason: io::Error) -> DataError {
    DataError::Unreadable { file: file.display().to_string(), reason }
}
