//! Inspecting a path before a config is written for it.

use super::{DatasetConfig, DatasetName, LeftOut, Splits, budget::Budget, cifar, folder::Listing, picture::Mode};
use crate::DataError;
use std::{collections::BTreeMap, path::Path};

/// The kind of data at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentsKind {
    /// The four files of MNIST or Fashion-MNIST: `name = "mnist"` or `"fashion-mnist"`.
    Idx,
    /// The batches of CIFAR-10: `name = "cifar10"`.
    Cifar10,
    /// Pictures: `name = "folder"`.
    Folder,
    /// `NumPy` arrays: `name = "npz"`.
    Npz,
}

impl ContentsKind {
    fn of(path: &Path) -> Self {
        let has = |names: &[&str]| names.iter().any(|name| path.join(name).exists());
        if path.is_file() {
            Self::Npz
        } else if has(&["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"]) {
            Self::Idx
        } else if has(&[cifar::FOLDER, cifar::FILES[0]]) {
            Self::Cifar10
        } else {
            Self::Folder
        }
    }

    /// A data set that is read from such data.
    const fn dataset(self) -> DatasetName {
        match self {
            Self::Idx => DatasetName::Mnist,
            Self::Cifar10 => DatasetName::Cifar10,
            Self::Folder => DatasetName::Folder,
            Self::Npz => DatasetName::Npz,
        }
    }
}

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
    /// The largest value of images of 16 bits, where it is so small that `dataset.white` should be set to it.
    pub white: Option<u16>,
    /// As [`Dataset::notes`](super::Dataset::notes).
    pub notes: Vec<String>,
}

impl Contents {
    /// Inspects `path`: reads every image once, without keeping it.
    ///
    /// # Errors
    /// An error that names the file; images of a folder that cannot be read are listed in `broken` instead.
    pub fn of(path: &Path) -> Result<Self, DataError> {
        if !path.exists() {
            return Err(DataError::Missing { file: path.to_owned() });
        }
        let kind = ContentsKind::of(path);
        match kind {
            ContentsKind::Folder => Self::of_folder(path),
            // Reads what a run reads, so that both say the same.
            kind => {
                let config = DatasetConfig { dir: Some(path.to_owned()), ..DatasetConfig::of(kind.dataset()) };
                Ok(Self::of_splits(kind, config.read_splits(None, None)?))
            }
        }
    }

    /// Number of images that can be read.
    pub fn num_images(&self) -> usize {
        self.modes.iter().map(|(_, count)| count).sum()
    }

    fn of_splits(kind: ContentsKind, splits: Splits) -> Self {
        let Splits { train, test, class_names, notes, every_tenth, .. } = splits;
        let [c, h, w] = train.shape();
        let num_images = train.len() + test.len();
        let mut classes: Vec<_> = class_names.into_iter().map(|name| (name, [0; 2])).collect();
        for (split, set) in [&train, &test].into_iter().enumerate() {
            set.labels().iter().for_each(|&label| classes[usize::from(label)].1[split] += 1);
        }
        let mode = Mode { colour: c == 3, alpha: false, deep: false };
        Self {
            kind,
            classes,
            every_tenth,
            sizes: vec![([w, h], num_images)],
            modes: vec![(mode, num_images)],
            broken: Vec::new(),
            white: None,
            notes,
        }
    }

    fn of_folder(path: &Path) -> Result<Self, DataError> {
        let listing = Listing::of(path, None)?;
        let (broken, deepest) = listing.broken();
        // Errors of files are reported before the lack of a test split.
        if broken.is_empty() {
            listing.check_test_images()?;
        }
        let mut classes: Vec<_> = listing.classes.iter().map(|name| (name.clone(), [0; 2])).collect();
        let (mut sizes, mut modes) = (BTreeMap::new(), BTreeMap::new());
        for (split, headers) in listing.headers(&Budget::as_they_are().decoders()).into_iter().enumerate() {
            for (entry, header) in listing.splits[split].iter().zip(headers) {
                let is_broken =
                    broken.binary_search_by_key(&listing.name(&entry.path), |file| file.file.clone()).is_ok();
                let Some(header) = header.ok().filter(|_| !is_broken) else { continue };
                classes[usize::from(entry.label)].1[split] += 1;
                *sizes.entry([header.width, header.height]).or_default() += 1;
                *modes.entry(header.mode).or_default() += 1;
            }
        }
        Ok(Self {
            kind: ContentsKind::Folder,
            classes,
            every_tenth: listing.every_tenth,
            sizes: by_count(sizes),
            modes: by_count(modes),
            broken,
            white: deepest.too_dark(),
            notes: listing.notes.into_iter().chain(deepest.note(None)?).collect(),
        })
    }
}

/// The counts, most frequent first, then in the order of the keys.
fn by_count<T: Ord>(counts: BTreeMap<T, usize>) -> Vec<(T, usize)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}
