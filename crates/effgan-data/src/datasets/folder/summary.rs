//! A summary of a folder of pictures from their headers alone, without decoding any.

use super::{Listing, layout::is_split};
use crate::{
    DataError, DatasetName,
    control_chars::without_control,
    datasets::{LeftOut, budget::Budget, contents_kind::or_other_name, picture::Mode},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A summary of a folder of pictures. A picture that is damaged after its header is not detected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderSummary {
    /// Name of each class with its numbers of training and test images, in the order of the labels; images that cannot be read
    /// are not counted.
    pub classes: Vec<(String, [usize; 2])>,
    /// Each size as `[width, height]`, the number of images that have it, and the first of them; most frequent first.
    pub sizes: Vec<([usize; 2], usize, PathBuf)>,
    /// Number of images of each mode, most frequent first.
    pub modes: Vec<(Mode, usize)>,
    /// Images whose headers cannot be read, sorted by path.
    pub broken: Vec<LeftOut>,
    /// Sub-folders that look like data sets of their own, although each is read as one class: they hold only folders, which are
    /// named like splits, or like the folders in another sub-folder.
    pub data_sets: Vec<String>,
    /// Classes that hold only folders, such as one per patient, whose pictures all count for the class.
    pub nested: Vec<String>,
}

impl FolderSummary {
    /// Reads the header of every picture in `dir`, a folder for [`DatasetName::Folder`](crate::DatasetName::Folder), whose
    /// `classes` may be given.
    ///
    /// # Errors
    /// When the folder does not exist, has no pictures, has pictures beside its classes, has too many classes, or one that is not
    /// among `classes`.
    pub fn of(dir: &Path, classes: Option<&[String]>) -> Result<Self, DataError> {
        let listing = Listing::of(dir, classes, None);
        let listing = listing.map_err(|error| or_other_name(error, DatasetName::Folder, dir))?;
        let classes_are_named = classes.is_some();
        let mut classes: Vec<_> = listing.classes.iter().map(|name| (name.clone(), [0; 2])).collect();
        let (mut sizes, mut modes) = (BTreeMap::<_, (usize, PathBuf)>::new(), BTreeMap::<_, usize>::new());
        let mut broken = Vec::new();
        for (split, headers) in listing.headers(&Budget::as_they_are().decoders(), None).into_iter().enumerate() {
            for (entry, header) in listing.splits[split].iter().zip(headers) {
                let file = listing.name(&entry.path);
                match header {
                    Ok(header) => {
                        classes[usize::from(entry.label)].1[split] += 1;
                        sizes.entry([header.width, header.height]).or_insert_with(|| (0, file)).0 += 1;
                        *modes.entry(header.mode).or_default() += 1;
                    }
                    Err(reason) => broken.push(LeftOut { file, reason }),
                }
            }
        }
        broken.sort_by(|a, b| a.file.cmp(&b.file));
        let mut sizes: Vec<_> = sizes.into_iter().map(|(size, (count, file))| (size, count, file)).collect();
        sizes.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        let mut modes: Vec<_> = modes.into_iter().collect();
        modes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        // When the classes are named in the config, sub-folders are known to be classes.
        let inside = folders_inside(&listing);
        let data_sets = if classes_are_named { Vec::new() } else { data_sets(&inside) };
        let nested = inside.into_keys().collect();
        Ok(Self { classes, sizes, modes, broken, data_sets, nested })
    }

    /// Number of files, including those that cannot be read.
    pub fn num_images(&self) -> usize {
        self.modes.iter().map(|(_, count)| count).sum::<usize>() + self.broken.len()
    }
}

/// A line about classes that look like data sets of their own.
pub(super) fn data_sets_line(listing: &Listing) -> Option<String> {
    let data_sets = data_sets(&folders_inside(listing));
    let names: Vec<String> = data_sets.iter().map(|name| without_control(name)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "read as one class each, though they look like data sets: {}; set dataset.dir to one of them",
            names.join(", ")
        )
    })
}

/// The classes that look like data sets of their own.
fn data_sets(inside: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let looks_like_one = |(class, folders): &(&String, &BTreeSet<String>)| {
        let is_shared =
            |folder| inside.iter().any(|(other, folders)| other != *class && folders.contains::<String>(folder));
        folders.iter().all(|folder| is_split(folder)) || folders.iter().any(is_shared)
    };
    inside.iter().filter(looks_like_one).map(|(class, _)| class.clone()).collect()
}

/// The folders within each class that holds only folders.
fn folders_inside(listing: &Listing) -> BTreeMap<String, BTreeSet<String>> {
    let mut inside = BTreeMap::<String, Option<BTreeSet<String>>>::new();
    for entry in listing.splits.iter().flatten() {
        let path = listing.name(&entry.path);
        let mut parts = path.iter().map(|part| part.to_string_lossy().into_owned());
        if listing.has_splits {
            parts.next();
        }
        let (Some(class), Some(next)) = (parts.next(), parts.next()) else { continue };
        let is_folder = parts.next().is_some();
        let folders = inside.entry(class).or_insert_with(|| Some(BTreeSet::new()));
        match folders {
            Some(folders) if is_folder => drop(folders.insert(next)),
            _ => *folders = None,
        }
    }
    inside.into_iter().filter_map(|(class, folders)| Some((class, folders?))).collect()
}
