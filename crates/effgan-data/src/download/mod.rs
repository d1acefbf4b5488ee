//! Getting files of data sets and weights of Inception from mirrors, once, and only when asked.
//!
//! A file is written beside as `<name>.part`, continued where it broke off (HTTP ranges), held against its published
//! SHA-256 and only then renamed. What is there is never overwritten. Mirrors are tried in turn.

mod http;
mod sources;
mod tar;

pub use sources::{Item, RemoteFile, Source};
pub use tar::unpack as unpack_cifar10;

use crate::{DataError, DatasetName, datasets::cifar};
use sha2::{Digest, Sha256};
use std::{
    env,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Its name.
    pub file: &'a str,
    /// Bytes that are here.
    pub have: u64,
    /// Bytes that it has.
    pub len: u64,
}

/// How a file came to be here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was here, and is the right one.
    AlreadyHere,
    /// It came from this mirror.
    From(String),
}

/// The folder of what is fetched, one sub-folder each: `$EFFGAN_DATA`, else `$XDG_CACHE_HOME/effgan`, else
/// `~/.cache/effgan`.
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

/// The weights of FID's network where `fetch` puts them, if they lie there.
pub fn inception_weights() -> Option<PathBuf> {
    let dir = cache_dir().ok()?.join(Item::Inception.as_str());
    is_fetched(Item::Inception, &dir).then(|| dir.join(sources::INCEPTION.files[0].name))
}

/// Whether all files of `item` lie in `dir`, whatever is in them; never for a data set that is not fetched.
pub fn is_fetched(item: impl Into<Item>, dir: &Path) -> bool {
    let item = item.into();
    let plain = |file: &RemoteFile| dir.join(file.name.trim_end_matches(".gz"));
    match Source::of(item) {
        _ if unpacks(item) => cifar::FILES.iter().all(|file| dir.join(file).is_file()),
        Some(source) => source.files.iter().all(|file| dir.join(file.name).is_file() || plain(file).is_file()),
        None => false,
    }
}

/// Whether its file is an archive of those that are wanted.
fn unpacks(item: Item) -> bool {
    item == Item::Dataset(DatasetName::Cifar10)
}

/// Fetches what is missing of `item` into `dir`, which is made where it is not there.
///
/// `mirrors` stand in for those of [`Source`] unless there are none; a file's name is appended to each. `watch` is told
/// after each piece, and `done` after each file.
///
/// # Errors
/// [`DataError::NotFetched`] for a data set without mirrors, [`DataError::NoMirror`] when no mirror has a file,
/// [`DataError::WrongHash`] when another file is in the way, [`DataError::Unwritable`] when the disk refuses.
pub fn fetch(
    item: impl Into<Item>,
    dir: &Path,
    mirrors: &[String],
    watch: &mut dyn FnMut(Progress),
    done: &mut dyn FnMut(&str, &Outcome),
) -> Result<(), DataError> {
    let item = item.into();
    let source = Source::of(item).ok_or(DataError::NotFetched { name: item.as_str() })?;
    if unpacks(item) && is_fetched(item, dir) {
        for file in cifar::FILES {
            done(file, &Outcome::AlreadyHere);
        }
        return Ok(());
    }
    let listed: Vec<String> = source.mirrors.iter().map(ToString::to_string).collect();
    fs::create_dir_all(dir).map_err(|reason| unwritable(dir, reason))?;
    for file in source.files {
        let outcome = fetch_file(file, if mirrors.is_empty() { &listed } else { mirrors }, dir, watch)?;
        done(file.name, &outcome);
    }
    if unpacks(item) {
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
    watch: &mut dyn FnMut(Progress),
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
        match from_mirror(&url, file, &part, watch) {
            Ok(()) => {
                fs::rename(&part, &path).map_err(|reason| unwritable(&path, reason))?;
                return Ok(Outcome::From(mirror.clone()));
            }
            Err(Trouble::Mirror(reason)) => reasons.push(format!("{url} {reason}")),
            Err(Trouble::Disk(reason)) => return Err(unwritable(&part, reason)),
        }
    }
    Err(DataError::NoMirror { file: file.name.into(), reasons })
}

/// Why a file did not come from a mirror.
enum Trouble {
    /// The mirror's fault: another may do better.
    Mirror(String),
    /// Ours.
    Disk(io::Error),
}

/// Makes `part` the right file. One that has the wrong hash in the end is removed, as nobody knows which of its bytes
/// are wrong.
fn from_mirror(url: &str, file: &RemoteFile, part: &Path, watch: &mut dyn FnMut(Progress)) -> Result<(), Trouble> {
    loop {
        let was_begun = part.exists();
        http::download(url, file, part, watch)?;
        let Some(got) = hash_if_wrong(part, file).map_err(Trouble::Disk)? else { return Ok(()) };
        fs::remove_file(part).map_err(Trouble::Disk)?;
        // The beginning may have come from another mirror: this one is asked for the whole before it is blamed.
        if !was_begun {
            return Err(Trouble::Mirror(format!("has a file of sha256 {got}, expected {}", file.sha256)));
        }
    }
}

/// The hash of the file at `path` where it is not the one that was published.
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
