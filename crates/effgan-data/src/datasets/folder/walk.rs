//! Everything below a folder: pictures, and what is not one.

use crate::{DataError, datasets::picture};
use std::{
    collections::BTreeSet,
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
/// Maximum number of folders below one class; links may lead anywhere.
const MAX_FOLDERS: usize = 100_000;

/// What lies below a folder, at any depth; each list is in the order of the walk, which sorts every folder by name.
#[derive(Default)]
pub(super) struct Tree {
    /// Files that are pictures by their names or, where the names say nothing, by their first bytes.
    pub(super) pictures: Vec<PathBuf>,
    /// All other files that are not hidden.
    pub(super) others: Vec<PathBuf>,
    /// Folders that were not looked into: those of [`LEFT_BEHIND`], and links to a folder above or one that was seen before.
    pub(super) skipped: Vec<PathBuf>,
    /// Links to folders, which were followed.
    pub(super) links: Vec<PathBuf>,
}

impl Tree {
    /// Walks `dir`.
    pub(super) fn of(dir: &Path) -> Result<Self, DataError> {
        let mut tree = Self::default();
        tree.walk(dir, &mut BTreeSet::new())?;
        Ok(tree)
    }

    /// Adds what lies below `dir`. `seen` are the real paths of all folders before it, each of which is read once.
    fn walk(&mut self, dir: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<(), DataError> {
        let real = dir.canonicalize().map_err(|reason| unreadable(dir, reason))?;
        if dir.is_symlink() {
            // A folder above holds other classes, and perhaps the other split.
            let place = dir.parent().unwrap_or(dir).canonicalize().map_err(|reason| unreadable(dir, reason))?;
            if place.starts_with(&real) || seen.contains(&real) {
                self.skipped.push(dir.to_owned());
                return Ok(());
            }
            self.links.push(dir.to_owned());
        }
        if !seen.insert(real) {
            self.skipped.push(dir.to_owned());
            return Ok(());
        }
        if seen.len() > MAX_FOLDERS {
            return Err(DataError::TooManyFolders { dir: dir.to_owned(), max: MAX_FOLDERS });
        }
        let entries = Entries::of(dir)?;
        self.skipped.extend(entries.skipped);
        for Found { path, is_dir, .. } in entries.list {
            if is_dir {
                self.walk(&path, seen)?;
            } else {
                self.add_file(path);
            }
        }
        Ok(())
    }

    /// Adds what lies below another folder.
    pub(super) fn append(&mut self, other: Self) {
        self.pictures.extend(other.pictures);
        self.others.extend(other.others);
        self.skipped.extend(other.skipped);
        self.links.extend(other.links);
    }

    /// Adds a file to the pictures or to the others.
    pub(super) fn add_file(&mut self, path: PathBuf) {
        if picture::is_picture(&path) { self.pictures.push(path) } else { self.others.push(path) }
    }
}

/// An entry of a folder.
pub(super) struct Found {
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    /// Whether it is a folder, or a link to one.
    pub(super) is_dir: bool,
    is_link: bool,
}

impl Found {
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
        list.retain(|entry| !entry.name.as_encoded_bytes().starts_with(b"."));
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

fn unreadable(dir: &Path, reason: io::Error) -> DataError {
    if reason.kind() == io::ErrorKind::NotFound {
        return DataError::Missing { file: dir.to_owned() };
    }
    DataError::Unreadable { file: dir.display().to_string(), reason }
}
