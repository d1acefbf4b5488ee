//! Inspecting a path before a config is written for it.

use super::{
    ContentsKind, DatasetConfig, DatasetName, LeftOut, Numbers, Reading, Splits,
    folder::{DeepValues, Listing},
    idx_files::IdxSet,
    picture::{Facts, Mode},
};
use crate::DataError;
use std::{collections::BTreeMap, path::Path};

/// The data at a path: everything that a user must know before writing a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The kind of data, which determines `dataset.name`.
    pub kind: ContentsKind,
    /// Name of each class with its numbers of training and test images, in the order of the labels.
    pub classes: Vec<(String, [usize; 2])>,
    /// Whether the test split is every tenth image of each class, because the files define none.
    pub every_tenth: bool,
    /// Each size as `[width, height]` with its number of images, most frequent first.
    pub sizes: Vec<([usize; 2], usize)>,
    /// Number of images of each mode, most frequent first.
    pub modes: Vec<(Mode, usize)>,
    /// Images that cannot be read, sorted by path.
    pub broken: Vec<LeftOut>,
    /// The values to set `dataset.black` and `dataset.white` to, where images of 16 bits fill less than a quarter of their range.
    pub levels: Option<[u16; 2]>,
    /// As [`Dataset::notes`](super::Dataset::notes).
    pub notes: Vec<String>,
}

impl Contents {
    /// Inspects `path`: reads every image once, without keeping it.
    ///
    /// # Errors
    /// An error that names the file; images of a folder that cannot be read are listed in `broken` instead.
    pub fn of(path: &Path) -> Result<Self, DataError> {
        Self::read(path, &Reading::quiet())
    }

    /// As [`of`](Self::of), reported to `reading`. Every picture is decoded, whatever is kept of an earlier time.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn read(path: &Path, reading: &Reading<'_>) -> Result<Self, DataError> {
        if !path.exists() && IdxSet::all(path).is_empty() {
            return Err(DataError::Missing { file: path.to_owned() });
        }
        let kind = ContentsKind::of(path);
        if kind == ContentsKind::Folder {
            return Self::of_folder(path, reading);
        }
        // Reads what a run reads, so that both say the same.
        let read = |name: DatasetName| {
            let config = DatasetConfig { dir: Some(path.to_owned()), ..DatasetConfig::of(name) };
            config.read_splits(None, None, Numbers::OfImages, reading)
        };
        match read(kind.names()[0]) {
            Err(DataError::OtherClasses { .. }) => Ok(Self::of_splits(ContentsKind::Idx, read(DatasetName::Idx)?)),
            splits => Ok(Self::of_splits(kind, splits?)),
        }
    }

    /// Number of images that can be read.
    pub fn num_images(&self) -> usize {
        self.modes.iter().map(|(_, count)| count).sum()
    }

    fn of_splits(kind: ContentsKind, splits: Splits) -> Self {
        let Splits { train, test, class_names, notes, every_tenth, .. } = splits;
        let mut classes: Vec<_> = class_names.into_iter().map(|name| (name, [0; 2])).collect();
        for (split, set) in [&train, &test].into_iter().enumerate() {
            set.labels().iter().for_each(|&label| classes[usize::from(label)].1[split] += 1);
        }
        let (mut sizes, mut modes) = (BTreeMap::new(), BTreeMap::new());
        for set in [&train, &test] {
            let [c, h, w] = set.shape();
            *sizes.entry([w, h]).or_default() += set.len();
            *modes.entry(Mode { colour: c == 3, alpha: false, deep: false }).or_default() += set.len();
        }
        Self {
            kind,
            classes,
            every_tenth,
            sizes: by_count(sizes),
            modes: by_count(modes),
            broken: Vec::new(),
            levels: None,
            notes,
        }
    }

    fn of_folder(path: &Path, reading: &Reading<'_>) -> Result<Self, DataError> {
        let listing = Listing::of(path, None, None)?;
        let mut classes: Vec<_> = listing.classes.iter().map(|name| (name.clone(), [0; 2])).collect();
        let (mut sizes, mut modes) = (BTreeMap::new(), BTreeMap::new());
        let (mut broken, deep_values) = (Vec::new(), DeepValues::default());
        for (split, looked) in listing.look(reading).into_iter().enumerate() {
            for (entry, facts) in listing.splits[split].iter().zip(looked) {
                match facts {
                    Ok(Facts { header, range }) => {
                        classes[usize::from(entry.label)].1[split] += 1;
                        *sizes.entry([header.width, header.height]).or_default() += 1;
                        *modes.entry(header.mode).or_default() += 1;
                        deep_values.see(range);
                    }
                    Err(reason) => broken.push(LeftOut { file: listing.name(&entry.path), reason }),
                }
            }
        }
        broken.sort_by(|a, b| a.file.cmp(&b.file));
        // Errors of files are reported before the lack of a test split.
        if broken.is_empty() {
            listing.check_test_images()?;
        }
        let notes = listing.notes.into_iter().chain(deep_values.note(None)?).chain(without_training_images(&classes));
        Ok(Self {
            kind: ContentsKind::Folder,
            every_tenth: listing.every_tenth,
            sizes: by_count(sizes),
            modes: by_count(modes),
            broken,
            levels: deep_values.levels(),
            notes: notes.collect(),
            classes,
        })
    }
}

/// A line about classes whose training images are all broken, which a run refuses whatever `skip_broken` says.
fn without_training_images(classes: &[(String, [usize; 2])]) -> Option<String> {
    let names: Vec<&str> =
        classes.iter().filter(|(_, [train, _])| *train == 0).map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "no training image can be read, which skip_broken does not pass over, of: {}; repair their images, or move their folders \
             elsewhere",
            names.join(", ")
        )
    })
}

/// The counts, most frequent first, then in the order of the keys.
fn by_count<T: Ord>(counts: BTreeMap<T, usize>) -> Vec<(T, usize)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}
