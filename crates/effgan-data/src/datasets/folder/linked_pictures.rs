//! Pictures that are links to pictures which are read anyway.

use super::{
    classes::Classes,
    entries::is_hidden,
    tree::{Again, Tree},
    walk::FoldersRead,
};
use crate::datasets::picture;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::{Path, PathBuf},
};

/// Takes links out of the pictures of both splits where the file itself is among the pictures, or an earlier link to it is.
pub(super) fn leave_out(parts: &mut [Classes], folders: &FoldersRead) {
    let mut read = BTreeMap::<PathBuf, PathBuf>::new();
    for tree in parts.iter_mut().flat_map(|part| part.trees.values_mut()) {
        let mut left_out = BTreeSet::new();
        for link in mem::take(&mut tree.linked) {
            // A link to nothing is a picture that cannot be read.
            let Ok(real) = link.canonicalize() else { continue };
            match file_itself(&real, folders).or_else(|| read.get(&real).cloned()) {
                Some(first) => note(tree, &mut left_out, link, first),
                None => drop(read.insert(real, link)),
            }
        }
        tree.pictures.retain(|picture| !left_out.contains(picture));
    }
}

fn note(tree: &mut Tree, left_out: &mut BTreeSet<PathBuf>, link: PathBuf, first: PathBuf) {
    left_out.insert(link.clone());
    tree.again.push(Again { link, first });
}

/// The path by which the file `real` is read by itself; `None` where it is not.
fn file_itself(real: &Path, folders: &FoldersRead) -> Option<PathBuf> {
    let (folder, name) = (folders.get(real.parent()?)?, real.file_name()?);
    let path = folder.join(name);
    (!is_hidden(name) && picture::is_picture(&path)).then_some(path)
}
