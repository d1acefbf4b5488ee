//! Everything below a folder: pictures, and what is not one.

use super::entries::Found;
use crate::datasets::picture;
use std::path::PathBuf;

/// What lies below a folder, at any depth; each list is in the order of paths.
#[derive(Default)]
pub(super) struct Tree {
    /// Files that are pictures by their names or, where the names say nothing, by their first bytes.
    pub(super) pictures: Vec<PathBuf>,
    /// Those of the pictures that are links.
    pub(super) linked: Vec<PathBuf>,
    /// All other files that are not hidden.
    pub(super) others: Vec<PathBuf>,
    /// Folders that programs leave behind, which were not looked into.
    pub(super) skipped: Vec<PathBuf>,
    /// Links to folders, which were followed.
    pub(super) links: Vec<PathBuf>,
    /// What was not read because it is read elsewhere.
    pub(super) again: Vec<Again>,
    /// Number of folders that were looked into.
    pub(super) num_folders: usize,
}

/// A link to a folder or a picture that is read already, or to a folder above it.
pub(super) struct Again {
    pub(super) link: PathBuf,
    /// The path by which it is read; of a folder above, that of the data set.
    pub(super) first: PathBuf,
}

impl Tree {
    /// Whether there is nothing in the folder.
    pub(super) fn is_empty(&self) -> bool {
        self.pictures.is_empty() && self.others.is_empty() && self.skipped.is_empty() && self.again.is_empty()
    }

    /// Adds what lies below another folder.
    pub(super) fn append(&mut self, other: Self) {
        self.pictures.extend(other.pictures);
        self.linked.extend(other.linked);
        self.others.extend(other.others);
        self.skipped.extend(other.skipped);
        self.links.extend(other.links);
        self.again.extend(other.again);
        self.num_folders += other.num_folders;
    }

    /// Adds a file to the pictures or to the others.
    pub(super) fn add_file(&mut self, Found { path, is_link, .. }: Found) {
        if !picture::is_picture(&path) {
            self.others.push(path);
            return;
        }
        if is_link {
            self.linked.push(path.clone());
        }
        self.pictures.push(path);
    }

    /// Puts all lists in the order of paths.
    pub(super) fn sort(&mut self) {
        for paths in [&mut self.pictures, &mut self.linked, &mut self.others, &mut self.skipped, &mut self.links] {
            paths.sort();
        }
        self.again.sort_by(|a, b| a.link.cmp(&b.link));
    }
}
