//! The classes of one split: its sub-folders, or the folder itself.

use super::tree::Tree;
use crate::{DataError, control_chars};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
};
use unicode_normalization::UnicodeNormalization;

/// What lies below one split, by class. A class is called by the name of its folder in Unicode's composed form (NFC), since the same name
/// is decomposed where a Mac wrote it.
pub(super) struct Classes {
    pub(super) trees: BTreeMap<String, Tree>,
    /// What lies beside the classes and is not a picture.
    pub(super) beside: Tree,
    /// The folders that hold no file, each with the class that it would be.
    pub(super) empty: Vec<(String, PathBuf)>,
}

impl Classes {
    /// Names of the classes that have pictures.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.trees.iter().filter(|(_, tree)| !tree.pictures.is_empty()).map(|(name, _)| name)
    }
}

/// The name of the class whose folder is called `name`.
pub(super) fn class_of(name: &OsStr, path: &Path) -> Result<String, DataError> {
    name.to_str().map(class_name).ok_or_else(|| DataError::NotUtf8 { dir: path.to_owned() })
}

/// A class name in Unicode's composed form.
pub(super) fn class_name(name: &str) -> String {
    name.nfc().collect()
}

/// A class name for people; the folder's name may hold control characters.
pub(super) fn shown(name: &str) -> String {
    control_chars::without_control(name)
}
