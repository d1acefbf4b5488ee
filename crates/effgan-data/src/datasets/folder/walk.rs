//! Everything below a folder: pictures, and what is not one.

use crate::{DataError, datasets::picture};
use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

/// Folders that operating systems, network drives and notebooks leave beside pictures, with copies or thumbnails of them.
const LEFT_BEHIND: [&str; 7] =
    ["@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "__MACOSX", ".ipynb_checkpoints", "System Volume Information"];

/// What lies below a folder, at any depth; each list is in the order of the walk, which sorts every folder by name.
#[derive(Default)]
pub(super) struct Tree {
    /// Files that are pictures by their names or, where the names say nothing, by their first bytes.
    pub(super) pictures: Vec<PathBuf>,
    /// All other files that are not hidden.
    pub(super) others: Vec<PathBuf>,
    /// Folders that were not looked into: those of [`LEFT_BEHIND`], and links to a folder above.
    pub(super) skipped: Vec<PathBuf>,
    /// Links to folders, which were followed.
    pub(super) links: Vec<PathBuf>,
}

impl Tree {
    /// Walks `dir`.
    pub(super) fn of(dir: &Path) -> Result<Self, DataError> {
        let mut tree = Self::default();
        tree.walk(dir, &mut Vec::new())?;
        Ok(tree)
    }

    /// Adds what lies below `dir`. `above` are the real paths of the folders around it, by which a loop of links is noticed.
    fn walk(&mut self, dir: &Path, above: &mut Vec<PathBuf>) -> Result<(), DataError> {
        let real = dir.canonicalize().map_err(|reason| unreadable(dir, reason))?;
        if above.contains(&real) {
            self.skipped.push(dir.to_owned());
            return Ok(());
        }
        if dir.is_symlink() {
            self.links.push(dir.to_owned());
        }
        above.push(real);
        let entries = Entries::of(dir)?;
        self.skipped.extend(entries.skipped);
        for (_, path) in entries.list {
            if path.is_dir() {
                self.walk(&path, above)?;
            } else {
                self.add_file(path);
            }
        }
        above.pop();
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
        Ok(Self { list, skipped })
    }
}

fn is_left_behind(name: &OsStr) -> bool {
    LEFT_BEHIND.iter().any(|known| name == *known)
}

fn unreadable(dir: &Path, reason: io::Error) -> DataError {
    DataError::Unreadable { file: dir.display().to_string(), reason }
}
