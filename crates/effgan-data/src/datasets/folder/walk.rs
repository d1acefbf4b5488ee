//! Everything below a folder: pictures, and what is not one.

use crate::{DataError, datasets::picture};
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
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
        for (_, path) in entries.list {
            if path.is_dir() {
                self.walk(&path, seen)?;
            } else {
                self.add_file(path);
            }
        }
        Ok(())
    }

    /// Whether there is nothing in the folder.
    pub(super) fn is_empty(&self) -> bool {
        self.pictures.is_empty() && self.others.is_empty() && self.skipped.is_empty()
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

/// The entries of one folder.
pub(super) struct Entries {
    /// Names and paths, sorted by name, without hidden ones.
    pub(super) list: Vec<(OsString, PathBuf)>,
    /// Folders of [`LEFT_BEHIND`].
    pub(super) skipped: Vec<PathBuf>,
}

impl Entries {
    pub(super) fn of(dir: &Path) -> Result<Self, DataError> {
        let list = || -> io::Result<Vec<(OsString, PathBuf)>> {
            fs::read_dir(dir)?.map(|entry| entry.map(|entry| (entry.file_name(), entry.path()))).collect()
        };
        let mut list = list().map_err(|reason| unreadable(dir, reason))?;
        list.sort();
        let skipped =
            list.extract_if(.., |(name, path)| is_left_behind(name) && path.is_dir()).map(|(_, path)| path).collect();
        list.retain(|(name, _)| !name.to_string_lossy().starts_with('.'));
        // A picture that is missing is one that cannot be read; anything else may have been the folder of a class.
        let is_gone = |path: &PathBuf| path.is_symlink() && !path.exists() && !picture::is_picture(path);
        if let Some((_, link)) = list.iter().find(|(_, path)| is_gone(path)) {
            let target = fs::read_link(link).unwrap_or_default();
            return Err(DataError::BrokenLink { link: link.clone(), target });
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
