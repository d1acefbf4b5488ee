//! The entries of one folder.

use crate::{DataError, datasets::picture};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirEntry},
    io,
    path::{Path, PathBuf},
};

/// Folders that operating systems, network drives and notebooks leave beside pictures, with copies or thumbnails of them, in lower case.
const LEFT_BEHIND: [&str; 11] = [
    "@eadir",
    "@recycle",
    "@recently-snapshot",
    "@tmp",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "lost+found",
    "__macosx",
    ".ipynb_checkpoints",
    "system volume information",
];

/// An entry of a folder.
pub(super) struct Found {
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    /// Whether it is a folder, or a link to one.
    pub(super) is_dir: bool,
    pub(super) is_link: bool,
}

impl Found {
    /// A folder that is walked by itself. Its own path is followed even where it is a link.
    pub(super) fn folder(path: &Path) -> Self {
        Self { name: OsString::new(), path: path.to_owned(), is_dir: true, is_link: false }
    }

    // The folder itself says what most entries are, so that a folder of many pictures needs no call of the system for each.
    fn of(entry: &DirEntry) -> io::Result<Self> {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let (is_link, is_dir) = (kind.is_symlink(), if kind.is_symlink() { path.is_dir() } else { kind.is_dir() });
        Ok(Self { name: entry.file_name(), path, is_dir, is_link })
    }

    /// Whether it is a link to nothing, and may have been the folder of a class. A picture that is missing is one that cannot be read.
    fn is_gone(&self) -> bool {
        self.is_link && !self.path.exists() && !picture::is_picture(&self.path)
    }
}

/// The entries of one folder.
pub(super) struct Entries {
    /// Those that are not hidden, sorted by name.
    pub(super) list: Vec<Found>,
    /// Folders of [`LEFT_BEHIND`].
    pub(super) skipped: Vec<PathBuf>,
}

impl Entries {
    pub(super) fn of(dir: &Path) -> Result<Self, DataError> {
        let list = || fs::read_dir(dir)?.map(|entry| Found::of(&entry?)).collect::<io::Result<Vec<Found>>>();
        let mut list = list().map_err(|reason| unreadable(dir, reason))?;
        list.sort_by(|a, b| a.name.cmp(&b.name));
        let skipped =
            list.extract_if(.., |entry| entry.is_dir && is_left_behind(&entry.name)).map(|entry| entry.path).collect();
        list.retain(|entry| !is_hidden(&entry.name));
        if let Some(Found { path, .. }) = list.iter().find(|entry| entry.is_gone()) {
            let target = fs::read_link(path).unwrap_or_default();
            return Err(DataError::BrokenLink { link: path.clone(), target });
        }
        Ok(Self { list, skipped })
    }
}

fn is_left_behind(name: &OsStr) -> bool {
    LEFT_BEHIND.contains(&name.to_string_lossy().to_lowercase().as_str())
}

/// Whether an entry of this name is ignored.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

pub(super) fn unreadable(dir: &Path, reason: io::Error) -> DataError {
    if reason.kind() == io::ErrorKind::NotFound {
        return DataError::Missing { file: dir.to_owned() };
    }
    DataError::Unreadable { file: dir.display().to_string(), reason }
}
