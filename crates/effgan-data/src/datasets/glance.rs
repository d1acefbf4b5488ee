//! What the headers of a folder's pictures say, before any of them is decoded.

use super::{LeftOut, folder::Listing, memory::Budget, picture::Mode};
use crate::DataError;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A folder at a glance. A picture that is torn behind its header is not noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// Names of the classes and numbers of their training and test images, by label; those that cannot be read are not counted.
    pub classes: Vec<(String, [usize; 2])>,
    /// Each width and height, how many images have it, and the first of them; most frequent first.
    pub sizes: Vec<([usize; 2], usize, PathBuf)>,
    /// Images of each mode, most frequent first.
    pub modes: Vec<(Mode, usize)>,
    /// Images whose headers cannot be read, by path.
    pub broken: Vec<LeftOut>,
    /// Sub-folders that look like data sets of their own, although each is read as a class: they hold folders alone, which have the names of
    /// splits, or names that are in another one too.
    pub data_sets: Vec<String>,
    /// Classes that hold folders alone, whose pictures all count as the class's: folders of patients, say, or classes of a site's one.
    pub nested: Vec<String>,
}

impl Glance {
    /// Reads the header of every picture of a folder that [`DatasetName::Folder`](super::DatasetName::Folder) reads, whose `classes` may be
    /// known.
    ///
    /// # Errors
    /// A folder that is not there, has no pictures, has pictures beside its classes, has too many classes, or one that is not among the known.
    pub fn of(dir: &Path, classes: Option<&[String]>) -> Result<Self, DataError> {
        let listing = Listing::of(dir, classes)?;
        let classes_are_named = classes.is_some();
        let mut classes: Vec<_> = listing.classes.iter().map(|name| (name.clone(), [0; 2])).collect();
        let (mut sizes, mut modes) = (BTreeMap::<_, (usize, PathBuf)>::new(), BTreeMap::<_, usize>::new());
        let mut broken = Vec::new();
        for (split, headers) in listing.headers(&Budget::as_they_are().decoders()).into_iter().enumerate() {
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
        // Whoever names the classes knows that they are some.
        let inside = folders_inside(&listing);
        let data_sets = if classes_are_named { Vec::new() } else { data_sets(&inside) };
        let nested = inside.into_keys().collect();
        Ok(Self { classes, sizes, modes, broken, data_sets, nested })
    }

    /// Number of files, those that cannot be read among them.
    pub fn num_images(&self) -> usize {
        self.modes.iter().map(|(_, count)| count).sum::<usize>() + self.broken.len()
    }
}

fn data_sets(inside: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let looks_like_one = |(class, folders): &(&String, &BTreeSet<String>)| {
        let is_shared =
            |folder| inside.iter().any(|(other, folders)| other != *class && folders.contains::<String>(folder));
        folders.contains("train") && folders.contains("test") || folders.iter().any(is_shared)
    };
    inside.iter().filter(looks_like_one).map(|(class, _)| class.clone()).collect()
}

/// Folders of pictures inside of each class that has no pictures beside them.
fn folders_inside(listing: &Listing) -> BTreeMap<String, BTreeSet<String>> {
    let mut inside = BTreeMap::<String, Option<BTreeSet<String>>>::new();
    for entry in listing.splits.iter().flatten() {
        let path = listing.name(&entry.path);
        let mut parts = path.iter().map(|part| part.to_string_lossy().into_owned());
        if !listing.every_tenth {
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
