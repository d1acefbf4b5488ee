//! Splits and classes of nothing but links to what is read elsewhere.

use super::{
    classes::{Classes, class_name, shown},
    layout::Layout,
    tree::Again,
};
use crate::DataError;
use std::path::Path;

/// Refuses a split whose pictures are all those of the other, since test images must not be training images, and a class whose pictures
/// are all those of another class, or of the test split.
pub(super) fn check(layout: &Layout, parts: &[Classes]) -> Result<(), DataError> {
    for (root, part) in layout.dirs().zip(parts) {
        if part.names().next().is_none() {
            let again = part.trees.values().find_map(|tree| tree.again.first());
            return Err(again
                .filter(|_| layout.has_splits())
                .map_or_else(|| DataError::NoImages { dir: root.clone() }, |again| of_split(root, again)));
        }
        for (class, tree) in part.trees.iter().filter(|(_, tree)| tree.pictures.is_empty()) {
            let is_other = |again: &&Again| {
                let other = class_of(&again.first, layout);
                other.is_some_and(|other| other != *class || *root == layout.train)
            };
            if let Some(Again { link, first }) = tree.again.iter().find(is_other) {
                let (link, first) = (link.clone(), first.clone());
                return Err(DataError::OnlyLinks { what: format!("class {}", shown(class)), link, first });
            }
        }
    }
    Ok(())
}

/// The error of a split without a picture of its own, `again` being one of its links or the split itself.
pub(super) fn of_split(split: &Path, again: &Again) -> DataError {
    let (link, first) = (again.link.clone(), again.first.clone());
    DataError::OnlyLinks { what: format!("split {}", split.display()), link, first }
}

/// The class that a path belongs to, in either split.
fn class_of(path: &Path, layout: &Layout) -> Option<String> {
    let inside = layout.dirs().find_map(|root| path.strip_prefix(root).ok())?;
    Some(class_name(inside.iter().next()?.to_str()?))
}
