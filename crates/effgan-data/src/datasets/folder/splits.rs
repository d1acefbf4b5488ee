//! Both splits of a folder, walked together so that nothing is read for both.

use super::{
    classes::{Classes, class_of},
    entries::Entries,
    layout::Layout,
    linked_pictures, only_links,
    tree::{Again, Tree},
    walk::Walk,
};
use crate::DataError;
use std::{
    collections::BTreeMap,
    mem,
    path::{Path, PathBuf},
};

/// The classes of each split of `dir`, where each folder and each picture is in one of them only.
pub(super) fn classes(dir: &Path, layout: &Layout) -> Result<Vec<Classes>, DataError> {
    let mut walk = Walk::of(dir)?;
    let mut splits: Vec<(usize, &PathBuf)> = layout.dirs().enumerate().collect();
    // A split that is a link may lead to the other one, which is the one to be read.
    splits.sort_by_key(|(_, root)| *root != dir && root.is_symlink());
    let begun = splits.into_iter().map(|(i, root)| Ok((i, Split::begin(root, &mut walk)?)));
    let mut splits = begun.collect::<Result<Vec<_>, DataError>>()?;
    splits.sort_by_key(|(i, _)| *i);
    let (mut trees, folders) = walk.finish()?;
    let mut parts =
        splits.into_iter().map(|(_, split)| split.finish(&mut trees)).collect::<Result<Vec<_>, DataError>>()?;
    linked_pictures::leave_out(&mut parts, &folders);
    only_links::check(layout, &parts)?;
    Ok(parts)
}

/// A split whose folders are being walked.
struct Split<'a> {
    root: &'a Path,
    /// What lies beside its folders.
    flat: Tree,
    /// Its folders, each with its class and the number of its tree.
    folders: Vec<(String, PathBuf, usize)>,
}

impl<'a> Split<'a> {
    fn begin(root: &'a Path, walk: &mut Walk) -> Result<Self, DataError> {
        if let Some(first) = walk.enter(root)? {
            return Err(only_links::of_split(root, &Again { link: root.to_owned(), first }));
        }
        let entries = Entries::of(root)?;
        let mut flat = Tree { skipped: entries.skipped, ..Tree::default() };
        let mut folders = Vec::new();
        for found in entries.list {
            if found.is_dir {
                folders.push((class_of(&found.name, &found.path)?, found.path.clone(), walk.begin(&found)?));
            } else {
                flat.add_file(found);
            }
        }
        Ok(Self { root, flat, folders })
    }

    /// The classes, whose `trees` are complete now.
    fn finish(self, trees: &mut [Tree]) -> Result<Classes, DataError> {
        let Self { root, mut flat, folders } = self;
        let (mut of_classes, mut empty) = (BTreeMap::<String, Tree>::new(), Vec::new());
        for (class, path, tree) in folders {
            let tree = mem::take(&mut trees[tree]);
            if tree.is_empty() {
                empty.push((class.clone(), path));
            }
            of_classes.entry(class).or_default().append(tree);
        }
        let has_classes = of_classes.values().any(|tree| !tree.pictures.is_empty());
        match (flat.pictures.first(), has_classes) {
            (Some(stray), true) => Err(DataError::StrayImage { dir: root.to_owned(), file: stray.clone() }),
            (Some(_), false) => {
                for tree in of_classes.into_values() {
                    flat.append(tree);
                }
                Ok(Classes { trees: BTreeMap::from([("all".into(), flat)]), beside: Tree::default(), empty })
            }
            (None, _) => Ok(Classes { trees: of_classes, beside: flat, empty }),
        }
    }
}
