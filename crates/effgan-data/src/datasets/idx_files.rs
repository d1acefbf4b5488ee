//! Which files are a data set in IDX files, by the names that archives and loaders give them.
//!
//! A data set has four files, `<prefix><split>-images-idx3-ubyte` and `<prefix><split>-labels-idx1-ubyte`. MNIST has no prefix and calls its
//! splits `train` and `t10k`; EMNIST has six data sets with prefixes such as `emnist-letters-` and calls the second split `test`. There may
//! be a dot before `idx`, as some archives have it, and `.gz` at the end. Where a file is there under several of these names, a dash comes
//! before a dot, and then the name without `.gz` first.

use super::DatasetName;
use crate::DataError;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Where the files may be in the given folder: in itself, in the `raw` of torchvision, or in the `gzip` of EMNIST's archive.
const SUBFOLDERS: [&str; 3] = ["", "raw", "gzip"];
/// Folders that torchvision makes, each with a folder `raw`, and the name of the data set in it.
const TORCHVISION: [(&str, DatasetName); 5] = [
    ("MNIST", DatasetName::Mnist),
    ("FashionMNIST", DatasetName::FashionMnist),
    ("KMNIST", DatasetName::Idx),
    ("EMNIST", DatasetName::Idx),
    ("QMNIST", DatasetName::Idx),
];
/// What may be at the end of a prefix.
const SEPARATORS: [char; 3] = ['-', '_', '.'];
/// Ends of a file's name, in the order in which they are looked for.
const IMAGES: [&str; 4] = ["images-idx3-ubyte", "images-idx3-ubyte.gz", "images.idx3-ubyte", "images.idx3-ubyte.gz"];
const LABELS: [&str; 4] = ["labels-idx1-ubyte", "labels-idx1-ubyte.gz", "labels.idx1-ubyte", "labels.idx1-ubyte.gz"];

/// A data set whose training images are there.
pub(super) struct IdxSet {
    dir: PathBuf,
    /// The beginning of its files' names, empty or with a separator at its end.
    pub(super) prefix: String,
    /// What it is, where the folder of torchvision says so that it was found in.
    pub(super) named: Option<DatasetName>,
    /// As [`Dataset::notes`](super::Dataset::notes): what lies beside it and is not read.
    pub(super) notes: Vec<String>,
}

/// The files of one split.
pub(super) struct SplitFiles {
    pub(super) images: PathBuf,
    pub(super) labels: PathBuf,
}

impl IdxSet {
    /// The data set `name` at `path`, a folder or, for `idx`, a folder with the beginning of the files' names. Files without a prefix may be
    /// of any data set, unless a folder of torchvision says of which; those with one are of `idx`.
    ///
    /// # Errors
    /// [`DataError::MissingFile`] when there is none, and [`DataError::SeveralDataSets`] when it is not clear which one is meant.
    pub(super) fn find(name: DatasetName, path: &Path) -> Result<Self, DataError> {
        let mut sets = Self::all(path);
        if name != DatasetName::Idx {
            sets.retain(|set| set.prefix.is_empty() && set.named.is_none_or(|named| named == name));
        }
        if sets.is_empty() {
            return Err(DataError::MissingFile { plain: path.join(format!("train-{}", IMAGES[0])) });
        }
        let mut set = sets.remove(0);
        // Of several in one folder, the files without a prefix are those of the folder.
        if !sets.is_empty() && (!set.prefix.is_empty() || sets.iter().any(|other| other.dir != set.dir)) {
            let found = [set].iter().chain(&sets).map(Self::place).collect();
            return Err(DataError::SeveralDataSets { dir: path.to_owned(), found });
        }
        let others: Vec<&str> = sets.iter().map(Self::name).collect();
        set.note("data sets", &others);
        Ok(set)
    }

    /// All data sets at `path`: those in the first of the [`SUBFOLDERS`] that has any, or else in all folders of torchvision. If `path` is
    /// not a folder, its last part is the name of a data set in the folder above.
    pub(super) fn all(path: &Path) -> Vec<Self> {
        if !path.is_dir() {
            let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
            return Self::in_dir(dir, None).into_iter().filter(|set| name == set.name()).collect();
        }
        let named = |folder: &str| {
            let known = TORCHVISION.iter().find(|(known, _)| folder == "raw" && path.ends_with(known));
            known.map(|(_, name)| *name)
        };
        let mut here = SUBFOLDERS.iter().map(|folder| Self::in_dir(&path.join(folder), named(folder)));
        let below =
            || TORCHVISION.iter().flat_map(|(folder, name)| Self::in_dir(&path.join(folder).join("raw"), Some(*name)));
        here.find(|sets| !sets.is_empty()).unwrap_or_else(|| below().collect())
    }

    /// The data sets in `dir`, sorted by prefix.
    fn in_dir(dir: &Path, named: Option<DatasetName>) -> Vec<Self> {
        let place = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let prefix_of = |name: OsString| {
            let prefix = prefix(name.to_str()?)?.to_owned();
            dir.join(&name).is_file().then_some(prefix)
        };
        let prefixes: BTreeSet<String> = entries.filter_map(|entry| prefix_of(entry.file_name())).collect();
        prefixes.into_iter().map(|prefix| Self { dir: dir.to_owned(), prefix, named, notes: Vec::new() }).collect()
    }

    /// The prefix without its separator.
    fn name(&self) -> &str {
        self.prefix.trim_end_matches(SEPARATORS)
    }

    /// The `dataset.dir` that means this data set alone, if no other lies in its folder without a prefix.
    fn place(&self) -> PathBuf {
        if self.prefix.is_empty() { self.dir.clone() } else { self.dir.join(self.name()) }
    }

    /// Whether the images are EMNIST's, whose pixels are in the order of columns.
    pub(super) fn is_transposed(&self) -> bool {
        self.prefix.starts_with("emnist-")
    }

    /// The files of the training split.
    ///
    /// # Errors
    /// [`DataError::MissingFile`].
    pub(super) fn train(&mut self) -> Result<SplitFiles, DataError> {
        self.split("train", &[])
    }

    /// The files of the test split.
    ///
    /// # Errors
    /// [`DataError::MissingFile`].
    pub(super) fn test(&mut self) -> Result<SplitFiles, DataError> {
        let has = |split| !self.existing(split, IMAGES).is_empty();
        let is_t10k = has("t10k") || (self.prefix.is_empty() && !has("test"));
        let [split, other] = if is_t10k { ["t10k", "test"] } else { ["test", "t10k"] };
        let others = [IMAGES, LABELS].map(|ends| self.existing(other, ends)).concat();
        self.split(split, &others)
    }

    /// The files of one split; `others` and those that are there under a further name are noted.
    fn split(&mut self, split: &str, others: &[PathBuf]) -> Result<SplitFiles, DataError> {
        let [images, labels] = [IMAGES, LABELS].map(|ends| (self.existing(split, ends), self.path(split, ends[0])));
        let first = |(found, plain): &(Vec<PathBuf>, PathBuf)| {
            found.first().cloned().ok_or_else(|| DataError::MissingFile { plain: plain.clone() })
        };
        let files = SplitFiles { images: first(&images)?, labels: first(&labels)? };
        let others = [&images.0[1..], &labels.0[1..], others].concat();
        let names: Vec<&str> = others.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        self.note("files", &names);
        Ok(files)
    }

    fn note(&mut self, what: &str, not_read: &[&str]) {
        if !not_read.is_empty() {
            self.notes.push(format!("{what} that are not read: {}", not_read.join(", ")));
        }
    }

    /// The files of one part of the data set, in the order in which they are looked for.
    fn existing(&self, split: &str, ends: [&str; 4]) -> Vec<PathBuf> {
        ends.map(|end| self.path(split, end)).into_iter().filter(|file| file.is_file()).collect()
    }

    fn path(&self, split: &str, end: &str) -> PathBuf {
        self.dir.join(format!("{}{split}-{end}", self.prefix))
    }
}

/// The prefix of the data set whose training images are called `name`, with the separator at its end.
fn prefix(name: &str) -> Option<&str> {
    let prefix = IMAGES.iter().find_map(|end| name.strip_suffix(end))?.strip_suffix("train-")?;
    (prefix.is_empty() || prefix.ends_with(SEPARATORS)).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// The four files of a data set, all empty.
    fn make(dir: &Path, prefix: &str, splits: [&str; 2], ends: [&str; 2]) {
        fs::create_dir_all(dir).unwrap();
        for (split, end) in splits.iter().flat_map(|split| ends.map(|end| (split, end))) {
            fs::write(dir.join(format!("{prefix}{split}-{end}")), b"").unwrap();
        }
    }

    const DASHES: [&str; 2] = [IMAGES[0], LABELS[0]];
    const MNIST: [&str; 2] = ["train", "t10k"];
    const EMNIST: [&str; 2] = ["train", "test"];

    /// What is found, as paths below `dir`, or the error without the path of `dir`.
    fn find(name: DatasetName, dir: &TempDir, path: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let short = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
        let mut set = IdxSet::find(name, &dir.path().join(path)).map_err(|error| short(error.to_string()))?;
        let mut files = Vec::new();
        for split in [IdxSet::train, IdxSet::test] {
            let SplitFiles { images, labels } = split(&mut set).map_err(|error| short(error.to_string()))?;
            files.extend([images, labels].map(|file| short(file.display().to_string())));
        }
        Ok((files, set.notes))
    }

    #[test]
    fn every_name_of_a_file_is_found_and_the_first_is_read() {
        let dir = TempDir::new().unwrap();
        for i in (0..4).rev() {
            make(dir.path(), "", MNIST, [IMAGES[i], LABELS[i]]);
            let (files, notes) = find(DatasetName::Mnist, &dir, ".").unwrap();
            let expected = ["train", "t10k"].map(|split| [IMAGES, LABELS].map(|ends| format!("./{split}-{}", ends[i])));
            assert_eq!(files, expected.concat());
            assert_eq!(notes.len(), if i < 3 { 2 } else { 0 }, "the other names are noted by split");
        }
        let (_, notes) = find(DatasetName::Mnist, &dir, ".").unwrap();
        let [images, labels] = [IMAGES, LABELS].map(|ends| ends[1..].join(", t10k-"));
        assert_eq!(notes[1], format!("files that are not read: t10k-{images}, t10k-{labels}"));
    }

    #[test]
    fn a_folder_that_is_called_like_a_file_is_not_one() {
        // An archive of MNIST that is in use has train-images.idx3-ubyte beside a folder train-images-idx3-ubyte with the same file.
        let dir = TempDir::new().unwrap();
        make(dir.path(), "", MNIST, [IMAGES[2], LABELS[2]]);
        fs::create_dir(dir.path().join("train-images-idx3-ubyte")).unwrap();
        assert_eq!(find(DatasetName::Mnist, &dir, "").unwrap().0[0], "train-images.idx3-ubyte");
    }

    #[test]
    fn folders_of_torchvision_say_which_data_set_is_in_them() {
        let dir = TempDir::new().unwrap();
        for name in ["MNIST", "FashionMNIST"] {
            make(&dir.path().join(name).join("raw"), "", MNIST, DASHES);
        }
        let first = |name, path| find(name, &dir, path).map(|(files, _)| files[0].clone());
        let [mnist, fashion] = ["MNIST", "FashionMNIST"].map(|name| format!("{name}/raw/train-images-idx3-ubyte"));
        assert_eq!(first(DatasetName::Mnist, "").unwrap(), mnist);
        assert_eq!(first(DatasetName::FashionMnist, "").unwrap(), fashion);
        assert_eq!(first(DatasetName::Mnist, "MNIST").unwrap(), mnist);
        // The folder of the files themselves is of any name, as it always was.
        assert_eq!(first(DatasetName::Mnist, "FashionMNIST/raw").unwrap(), fashion);
        assert!(
            first(DatasetName::Mnist, "FashionMNIST").unwrap_err().starts_with("found no FashionMNIST/train-images")
        );
        assert_eq!(
            first(DatasetName::Idx, "").unwrap_err(),
            " holds several data sets; set dataset.dir to one of them: MNIST/raw, FashionMNIST/raw"
        );
        assert_eq!(first(DatasetName::Idx, "MNIST").unwrap(), mnist);
    }

    #[test]
    fn one_of_several_data_sets_is_named_by_the_beginning_of_its_files() {
        let dir = TempDir::new().unwrap();
        let gzip = dir.path().join("gzip");
        for prefix in ["emnist-letters-", "emnist-digits-"] {
            make(&gzip, prefix, EMNIST, [IMAGES[1], LABELS[1]]);
        }
        let error = find(DatasetName::Idx, &dir, "").unwrap_err();
        assert!(error.ends_with("set dataset.dir to one of them: gzip/emnist-digits, gzip/emnist-letters"), "{error}");
        let (files, notes) = find(DatasetName::Idx, &dir, "gzip/emnist-letters").unwrap();
        assert_eq!(files[3], "gzip/emnist-letters-test-labels-idx1-ubyte.gz");
        assert_eq!(notes, [""; 0], "the others are not meant");
        assert!(find(DatasetName::Mnist, &dir, "").is_err() && find(DatasetName::Idx, &dir, "gzip/emnist").is_err());
        // A folder stands for the files without a prefix.
        make(&gzip, "", MNIST, DASHES);
        let (files, notes) = find(DatasetName::Idx, &dir, "").unwrap();
        assert_eq!(
            (&*files[0], &*notes[0]),
            ("gzip/train-images-idx3-ubyte", "data sets that are not read: emnist-digits, emnist-letters")
        );
        assert_eq!(find(DatasetName::Mnist, &dir, "").unwrap().0, files);
    }

    #[test]
    fn the_words_of_the_test_split_are_not_mixed() {
        let dir = TempDir::new().unwrap();
        make(dir.path(), "", ["train", "test"], DASHES);
        assert_eq!(find(DatasetName::Mnist, &dir, "").unwrap().0[2], "test-images-idx3-ubyte");
        fs::write(dir.path().join("t10k-images-idx3-ubyte"), b"").unwrap();
        assert!(find(DatasetName::Mnist, &dir, "").unwrap_err().starts_with("found no t10k-labels-idx1-ubyte, "));
        fs::write(dir.path().join("t10k-labels-idx1-ubyte"), b"").unwrap();
        let (_, notes) = find(DatasetName::Mnist, &dir, "").unwrap();
        assert_eq!(notes, ["files that are not read: test-images-idx3-ubyte, test-labels-idx1-ubyte"]);
    }

    #[test]
    fn other_names_are_no_data_sets() {
        let named = ["train-images-idx3-ubyte", "a_train-images.idx3-ubyte.gz", "x.train-images-idx3-ubyte"];
        assert_eq!(named.map(prefix), [Some(""), Some("a_"), Some("x.")]);
        for name in [
            "constrain-images-idx3-ubyte",
            "train-images-idx3-ubyte.zip",
            "t10k-images-idx3-ubyte",
            "train-images-idx1-ubyte",
            "",
        ] {
            assert_eq!(prefix(name), None);
        }
        let dir = TempDir::new().unwrap();
        assert!(
            IdxSet::all(dir.path()).is_empty()
                && IdxSet::all(Path::new("/")).is_empty()
                && IdxSet::all(Path::new("")).is_empty()
        );
    }
}
