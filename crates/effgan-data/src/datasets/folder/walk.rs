//! A walk through the folders of a data set, which reads each real folder once.
//!
//! A folder that can be reached in several ways would give its pictures several labels, or put test images among the training images.
//! So the folders themselves are walked first, and links are followed after that: first those that were found there, then those that were
//! found behind these. Of a folder that has been read, a link is only noted.

use super::{
    entries::{Entries, Found, unreadable},
    tree::{Again, Tree},
};
use crate::DataError;
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
};

/// Maximum number of folders below one class; links may lead anywhere.
const MAX_FOLDERS: usize = 100_000;

/// The real path of each folder that was read, and the path by which it was.
pub(super) type FoldersRead = BTreeMap<PathBuf, PathBuf>;

/// Everything below `folder`, which is within the data set `dir`, or is it.
pub(super) fn tree_of(dir: &Path, folder: &Path) -> Result<Tree, DataError> {
    let mut walk = Walk::of(dir)?;
    let tree = walk.begin(&Found::folder(folder))?;
    Ok(walk.finish()?.0.swap_remove(tree))
}

/// A walk that is not finished.
pub(super) struct Walk {
    /// The folder of the data set, and its real path.
    dir: PathBuf,
    top: PathBuf,
    read: FoldersRead,
    trees: Vec<Tree>,
    /// Links to folders that are still to be followed, with the numbers of their trees.
    links: VecDeque<(usize, PathBuf)>,
}

impl Walk {
    /// A walk through the data set in `dir`, which has read nothing yet.
    pub(super) fn of(dir: &Path) -> Result<Self, DataError> {
        let top = real(dir)?;
        Ok(Self { dir: dir.to_owned(), top, read: FoldersRead::new(), trees: Vec::new(), links: VecDeque::new() })
    }

    /// Takes note that `folder` is read now, unless it has been, or is a link to a folder above: then returns what was read before.
    pub(super) fn enter(&mut self, folder: &Path) -> Result<Option<PathBuf>, DataError> {
        let real = real(folder)?;
        if let Some(first) = self.read.get(&real) {
            return Ok(Some(first.clone()));
        }
        if folder != self.dir && folder.is_symlink() && self.is_above(&real, folder)? {
            return Ok(Some(self.dir.clone()));
        }
        self.read.insert(real, folder.to_owned());
        Ok(None)
    }

    /// Whether `real` is above the link, or above the data set: it holds other classes, and perhaps the other split.
    fn is_above(&self, real_target: &Path, link: &Path) -> Result<bool, DataError> {
        Ok(self.top.starts_with(real_target) || real(link.parent().unwrap_or(link))?.starts_with(real_target))
    }

    /// Begins a tree with `folder`; returns its number among those of [`finish`](Self::finish).
    pub(super) fn begin(&mut self, folder: &Found) -> Result<usize, DataError> {
        self.trees.push(Tree::default());
        let tree = self.trees.len() - 1;
        self.come_to(tree, folder)?;
        Ok(tree)
    }

    /// Follows all links. Returns the trees, and the folders that were read.
    pub(super) fn finish(mut self) -> Result<(Vec<Tree>, FoldersRead), DataError> {
        while let Some((tree, link)) = self.links.pop_front() {
            if self.go_into(tree, &link)? {
                self.trees[tree].links.push(link);
            }
        }
        self.trees.iter_mut().for_each(Tree::sort);
        Ok((self.trees, self.read))
    }

    fn come_to(&mut self, tree: usize, folder: &Found) -> Result<(), DataError> {
        if folder.is_link {
            self.links.push_back((tree, folder.path.clone()));
            return Ok(());
        }
        self.go_into(tree, &folder.path).map(drop)
    }

    /// Adds what lies in `folder` to a tree, unless it has been read; returns whether it is read now.
    fn go_into(&mut self, tree: usize, folder: &Path) -> Result<bool, DataError> {
        if let Some(first) = self.enter(folder)? {
            self.trees[tree].again.push(Again { link: folder.to_owned(), first });
            return Ok(false);
        }
        self.trees[tree].num_folders += 1;
        if self.trees[tree].num_folders > MAX_FOLDERS {
            return Err(DataError::TooManyFolders { dir: folder.to_owned(), max: MAX_FOLDERS });
        }
        let Entries { list, skipped } = Entries::of(folder)?;
        self.trees[tree].skipped.extend(skipped);
        for found in list {
            if found.is_dir { self.come_to(tree, &found)? } else { self.trees[tree].add_file(found) }
        }
        Ok(true)
    }
}

fn real(path: &Path) -> Result<PathBuf, DataError> {
    path.canonicalize().map_err(|reason| unreadable(path, reason))
}
