//! The classes of one split: its sub-folders, or the folder itself.

use super::walk::{Entries, Found, Tree};
use crate::{DataError, control_chars};
use std::{collections::BTreeMap, ffi::OsStr, path::Path};
use unicode_normalization::UnicodeNormalization;

/// What lies below one split, by class. A class is called by the name of its folder in Unicode's composed form (NFC), since the same name
/// is decomposed where a Mac wrote it.
pub(super) struct Classes {
    pub(super) trees: BTreeMap<String, Tree>,
    /// What lies beside the classes and is not a picture.
    pub(super) beside: Tree,
}

impl Classes {
    pub(super) fn of(dir: &Path) -> Result<Self, DataError> {
        let entries = Entries::of(dir)?;
        let mut flat = Tree { skipped: entries.skipped, ..Tree::default() };
        let mut trees: BTreeMap<String, Tree> = BTreeMap::new();
        for Found { name, path, is_dir, .. } in entries.list {
            if is_dir {
                trees.entry(class_of(&name, &path)?).or_default().append(Tree::of(&path)?);
            } else {
                flat.add_file(path);
            }
        }
        let has_classes = trees.values().any(|tree| !tree.pictures.is_empty());
        match (flat.pictures.first(), has_classes) {
            (None, false) => Err(DataError::NoImages { dir: dir.to_owned() }),
            (Some(stray), true) => Err(DataError::StrayImage { dir: dir.to_owned(), file: stray.clone() }),
            (None, true) => Ok(Self { trees, beside: flat }),
            (Some(_), false) => {
                for tree in trees.into_values() {
                    flat.append(tree);
                }
                Ok(Self { trees: BTreeMap::from([("all".into(), flat)]), beside: Tree::default() })
            }
        }
    }

    /// Names of the classes that have pictures.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.trees.iter().filter(|(_, tree)| !tree.pictures.is_empty()).map(|(name, _)| name)
    }
}

/// The name of the class whose folder is called `name`.
fn class_of(name: &OsStr, path: &Path) -> Result<String, DataError> {
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
