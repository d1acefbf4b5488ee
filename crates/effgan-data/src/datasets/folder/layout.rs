//! Which sub-folders of a folder are its splits, by the names that other tools give them.

use super::{entries::Entries, walk::tree_of};
use crate::DataError;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Where the splits of a folder are.
pub(super) struct Layout {
    /// The folder of the training images: the folder itself where it has no splits.
    pub(super) train: PathBuf,
    /// The folder of the test images; where it is absent, every tenth training image is one.
    pub(super) test: Option<PathBuf>,
    /// What lies beside the splits, and is not read.
    pub(super) unread: Vec<PathBuf>,
}

/// What a sub-folder is by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Test,
    Validation,
}

impl Role {
    /// The role of a folder of this name, in upper or lower case; `None` for the folder of a class.
    fn of(name: &OsStr) -> Option<Self> {
        match name.to_str()?.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "test" | "testing" => Some(Self::Test),
            "val" | "valid" | "validation" => Some(Self::Validation),
            _ => None,
        }
    }
}

/// Whether a sub-folder of this name may be a split.
pub(super) fn is_split(name: &str) -> bool {
    Role::of(name.as_ref()).is_some()
}

impl Layout {
    /// The layout of `dir`. It has splits where it has a training split and another one, or no other sub-folder with pictures than splits.
    pub(super) fn of(dir: &Path) -> Result<Self, DataError> {
        let list = Entries::of(dir)?.list;
        let folders = list.iter().filter(|entry| entry.is_dir);
        let (splits, others): (Vec<_>, Vec<_>) = folders.partition(|folder| Role::of(&folder.name).is_some());
        let of = |role| {
            let of_role = splits.iter().filter(move |folder| Role::of(&folder.name) == Some(role));
            of_role.map(|folder| &folder.path)
        };
        let (train, test, validation) = (one(of(Role::Train))?, one(of(Role::Test))?, of(Role::Validation));
        let is_pair = train.is_some() && (test.is_some() || validation.clone().next().is_some());
        if splits.is_empty() || (!is_pair && has_pictures(dir, others.iter().map(|folder| &folder.path))?) {
            return Ok(Self { train: dir.to_owned(), test: None, unread: Vec::new() });
        }
        let Some(train) = train else {
            return Err(DataError::NoTrainSplit { dir: dir.to_owned(), found: splits[0].path.clone() });
        };
        let test = if test.is_some() { test } else { one(validation)? };
        let is_read = |path: &PathBuf| *path == train || Some(path) == test.as_ref();
        let unread = list.into_iter().map(|entry| entry.path).filter(|path| !is_read(path)).collect();
        Ok(Self { train, test, unread })
    }

    /// The folders of the training images and, where they have one, of the test images.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.train), self.test.as_ref()].into_iter().flatten()
    }

    /// Whether the test images have a folder of their own.
    pub(super) fn has_splits(&self) -> bool {
        self.test.is_some()
    }

    /// The splits that are links to folders.
    pub(super) fn links(&self) -> impl Iterator<Item = PathBuf> {
        self.dirs().filter(|path| path.is_symlink()).cloned()
    }
}

/// The one folder of a role, if there is one.
fn one<'a>(mut folders: impl Iterator<Item = &'a PathBuf>) -> Result<Option<PathBuf>, DataError> {
    match (folders.next(), folders.next()) {
        (Some(first), Some(second)) => Err(DataError::SplitTwice { first: first.clone(), second: second.clone() }),
        (one, _) => Ok(one.cloned()),
    }
}

fn has_pictures<'a>(dir: &Path, mut folders: impl Iterator<Item = &'a PathBuf>) -> Result<bool, DataError> {
    folders.try_fold(false, |found, folder| Ok(found || !tree_of(dir, folder)?.pictures.is_empty()))
}
