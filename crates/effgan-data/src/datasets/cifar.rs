//! CIFAR-10 (Krizhevsky 2009) in the binary or the Python version: six files of images `[3, 32, 32]`, red first, with a label each.
//!
//! A file of the binary version has records of a label byte and 3,072 bytes; [`pickled_batch`] reads one of the Python version.

mod pickled_batch;

use super::{
    Splits,
    budget::Budget,
    lfs_pointer::{self, Opened},
};
use crate::{DataError, ImageSet};
use pickled_batch::Batch;
use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

/// Name of the folder in the archive of the binary version.
pub(crate) const FOLDER: &str = "cifar-10-batches-bin";
/// Name of the folder in the archive of the Python version.
const PYTHON_FOLDER: &str = "cifar-10-batches-py";
/// The six files of the binary version: five of the training split, then the test split.
pub(crate) const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];
/// The classes in the order of their labels.
pub(super) const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SHAPE: [usize; 3] = [3, 32, 32];
/// Bytes of an image.
pub(super) const IMAGE_LEN: usize = 3 * 32 * 32;
const RECORD: u64 = 1 + IMAGE_LEN as u64;
/// Records per file.
pub(super) const MAX_RECORDS: u64 = 10_000;
/// Bytes of a complete file of the binary version.
pub(crate) const FILE_LEN: u64 = MAX_RECORDS * RECORD;
/// Maximum number of bytes of a pickle: two for each byte of pixels, as Python 3 writes them in protocol 2, and names of files.
const MAX_PICKLE: u64 = 2 * FILE_LEN + (4 << 20);

/// The training and the test split.
pub(super) fn read(dir: &Path, budget: &mut Budget) -> Result<Splits, DataError> {
    let found = Files::all(dir);
    let (files, others) = found.split_first().ok_or_else(|| DataError::Missing { file: dir.join(FILES[0]) })?;
    let (train, test) = (files.read_split(0..5, budget)?, files.read_split(5..6, budget)?);
    let notes = others.iter().map(|other| other.is_not_read(files, dir)).collect();
    Ok(Splits { notes, ..Splits::of((train, test)) })
}

/// Whether `dir` holds the data set.
pub(super) fn is_in(dir: &Path) -> bool {
    !Files::all(dir).is_empty()
}

/// The six files of one version.
struct Files {
    dir: PathBuf,
    is_binary: bool,
}

impl Files {
    /// All that lie in `dir`, or in the folder that an archive makes in it. The first one is read.
    fn all(dir: &Path) -> Vec<Self> {
        let places = [
            (dir.join(FOLDER), true),
            (dir.to_owned(), true),
            (dir.join(PYTHON_FOLDER), false),
            (dir.to_owned(), false),
        ];
        let files = places.into_iter().map(|(dir, is_binary)| Self { dir, is_binary });
        files.filter(|files| (0..6).any(|i| files.path(i).is_file())).collect()
    }

    fn path(&self, i: usize) -> PathBuf {
        let name = FILES[i];
        self.dir.join(if self.is_binary { name } else { name.trim_end_matches(".bin") })
    }

    fn read_split(&self, files: Range<usize>, budget: &mut Budget) -> Result<ImageSet, DataError> {
        let mut records = Records::default();
        for path in files.map(|i| self.path(i)) {
            let read = if self.is_binary { Records::append_binary } else { Records::append_pickle };
            read(&mut records, &path, budget)?;
        }
        ImageSet::new(SHAPE, records.pixels, records.labels, CLASSES.len())
    }

    /// A line about these files below `dir`, beside `others`, which are read.
    fn is_not_read(&self, others: &Self, dir: &Path) -> String {
        let [this, other] = [self, others].map(|files| files.path(0).strip_prefix(dir).map(PathBuf::from));
        let [this, other] = [this, other].map(|path| path.unwrap_or_default().display().to_string());
        format!("{this} and what belongs to it are not read, since {other} is there")
    }
}

/// Images of one split, in the order of their files.
#[derive(Default)]
struct Records {
    labels: Vec<u8>,
    pixels: Vec<u8>,
}

impl Records {
    /// Appends a whole number of records, at most as many as the real files have.
    fn append_binary(&mut self, path: &Path, budget: &mut Budget) -> Result<(), DataError> {
        let (file, len) = open(path)?;
        if len == 0 || !len.is_multiple_of(RECORD) || len > FILE_LEN {
            let line =
                format!("has {len} bytes, expected 1 to {MAX_RECORDS} records of {RECORD} bytes; get the file again");
            return Err(malformed(path, line));
        }
        budget.reserve((len / RECORD) as usize, SHAPE)?;
        let bytes = contents(file, len, path)?;
        self.pixels.reserve_exact(bytes.len() / RECORD as usize * IMAGE_LEN);
        for record in bytes.chunks_exact(RECORD as usize) {
            self.labels.push(checked(record[0], path)?);
            self.pixels.extend_from_slice(&record[1..]);
        }
        Ok(())
    }

    /// Appends a batch of the Python version.
    fn append_pickle(&mut self, path: &Path, budget: &mut Budget) -> Result<(), DataError> {
        let (file, len) = open(path)?;
        if len > MAX_PICKLE {
            let line = format!("has {len} bytes, more than the {MAX_PICKLE} that are read; get the file again");
            return Err(malformed(path, line));
        }
        // The file stays in memory until its pixels have been copied.
        let mut while_open = budget.clone();
        while_open.reserve_in_place(len.div_ceil(IMAGE_LEN as u64) as usize, SHAPE)?;
        let bytes = contents(file, len, path)?;
        let Batch { pixels, labels } = Batch::read(&bytes).map_err(|reason| malformed(path, reason))?;
        while_open.reserve(labels.len(), SHAPE)?;
        budget.reserve(labels.len(), SHAPE)?;
        self.pixels.reserve_exact(labels.len() * IMAGE_LEN);
        for label in labels {
            self.labels.push(checked(label, path)?);
        }
        pixels.append_to(&mut self.pixels).map_err(|reason| malformed(path, reason))
    }
}

/// The label of a record of the file at `path`.
fn checked(label: u8, path: &Path) -> Result<u8, DataError> {
    if usize::from(label) >= CLASSES.len() {
        return Err(malformed(path, format!("a record has label {label}, expected 0..=9")));
    }
    Ok(label)
}

/// Opens a regular file; returns its length, too.
fn open(path: &Path) -> Result<(File, u64), DataError> {
    if !path.is_file() {
        return Err(DataError::Missing { file: path.to_owned() });
    }
    lfs_pointer::open(path).map(|Opened { file, len, .. }| (file, len))
}

/// The first `len` bytes of a file, or all if there are fewer.
fn contents(file: File, len: u64, path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(len).read_to_end(&mut bytes).map_err(|reason| unreadable(path, reason))?;
    Ok(bytes)
}

fn malformed(path: &Path, reason: String) -> DataError {
    DataError::Malformed { file: path.display().to_string(), reason }
}

fn unreadable(path: &Path, reason: io::Error) -> DataError {
    DataError::Unreadable { file: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::MaxMemory;
    use std::fs;
    use tempfile::TempDir;

    /// Six files of `records` records each; pixel i of record r has the value r + i / 1024.
    fn folder_of(records: u8) -> TempDir {
        let dir = TempDir::new().unwrap();
        for file in FILES {
            fs::write(dir.path().join(file), batch(records)).unwrap();
        }
        dir
    }

    fn batch(records: u8) -> Vec<u8> {
        let record = |r: u8| [vec![r % 10], vec![r; 1024], vec![r + 1; 1024], vec![r + 2; 1024]].concat();
        (0..records).flat_map(record).collect()
    }

    fn error_with(file: &str, bytes: &[u8]) -> String {
        let dir = folder_of(3);
        fs::write(dir.path().join(file), bytes).unwrap();
        let error = read(dir.path(), &mut Budget::as_they_are()).err().unwrap().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn five_files_are_the_training_split_and_one_the_test_split() {
        let dir = folder_of(3);
        let Splits { train, test, .. } = read(dir.path(), &mut Budget::as_they_are()).unwrap();
        assert_eq!((train.len(), test.len(), train.shape(), train.num_classes()), (15, 3, [3, 32, 32], 10));
        assert_eq!(train.labels()[..4], [0, 1, 2, 0]);
        assert_eq!(train.image(4)[..1024], [1; 1024]);
        assert_eq!(train.image(4)[2048..], [3; 1024]);
    }

    #[test]
    fn the_folder_of_the_archive_is_found() {
        let dir = TempDir::new().unwrap();
        fs::rename(folder_of(3).keep(), dir.path().join(FOLDER)).unwrap();
        assert_eq!(read(dir.path(), &mut Budget::as_they_are()).unwrap().train.len(), 15);
    }

    /// Six pickles of two images: byte i of image n is (7 i + 31 n) % 256, and the labels are 3 and 8.
    fn python_folder() -> TempDir {
        let dir = TempDir::new().unwrap();
        for file in FILES {
            fs::write(dir.path().join(file.trim_end_matches(".bin")), PICKLE).unwrap();
        }
        dir
    }

    const PICKLE: &[u8] = include_bytes!("../../tests/fixtures/cifar_batch_python2.pickle");

    #[test]
    fn both_versions_hold_the_same_images() {
        let python = python_folder();
        let binary = TempDir::new().unwrap();
        let image = |n: usize| (0..IMAGE_LEN).map(move |i| ((7 * i + 31 * n) % 256) as u8);
        for file in FILES {
            let records = [3_u8, 8].iter().enumerate().flat_map(|(n, &label)| [label].into_iter().chain(image(n)));
            fs::write(binary.path().join(file), records.collect::<Vec<u8>>()).unwrap();
        }
        let [python, binary] = [python, binary].map(|dir| read(dir.path(), &mut Budget::as_they_are()).unwrap());
        assert_eq!(
            (python.train.len(), python.test.len(), python.train.labels()[..3].to_vec()),
            (10, 2, vec![3, 8, 3])
        );
        assert_eq!((&python.train, &python.test), (&binary.train, &binary.test));
    }

    #[test]
    fn the_binary_version_comes_first_and_the_other_is_noted() {
        let dir = folder_of(3);
        fs::rename(python_folder().keep(), dir.path().join(PYTHON_FOLDER)).unwrap();
        let Splits { train, notes, .. } = read(dir.path(), &mut Budget::as_they_are()).unwrap();
        assert_eq!(train.len(), 15);
        assert_eq!(
            notes,
            ["cifar-10-batches-py/data_batch_1 and what belongs to it are not read, since data_batch_1.bin is there"]
        );
        fs::remove_dir_all(dir.path().join(PYTHON_FOLDER)).unwrap();
        assert!(read(dir.path(), &mut Budget::as_they_are()).unwrap().notes.is_empty());
    }

    #[test]
    fn a_damaged_pickle_is_named() {
        let error_with = |file: &str, bytes: &[u8]| {
            let dir = python_folder();
            fs::write(dir.path().join(file), bytes).unwrap();
            let error = read(dir.path(), &mut Budget::as_they_are()).err().unwrap().to_string();
            error.replace(&format!("{}/", dir.path().display()), "")
        };
        assert_eq!(error_with("data_batch_3", &PICKLE[..99]), "data_batch_3: ends early; get the file again");
        let at = PICKLE.windows(4).position(|four| four == b"K\x03K\x08").unwrap();
        let mut bytes = PICKLE.to_vec();
        bytes[at + 3] = 10;
        assert_eq!(error_with("test_batch", &bytes), "test_batch: a record has label 10, expected 0..=9");
        let dir = python_folder();
        fs::remove_file(dir.path().join("data_batch_1")).unwrap();
        let error = read(dir.path(), &mut Budget::as_they_are()).err().unwrap().to_string();
        assert!(error.contains("data_batch_1 is missing; get it again"), "{error}");
        // A sparse file of no bytes.
        let huge = File::create(dir.path().join("data_batch_1")).unwrap();
        huge.set_len(1 << 40).unwrap();
        let error = read(dir.path(), &mut Budget::as_they_are()).err().unwrap().to_string();
        assert!(
            error.ends_with("has 1099511627776 bytes, more than the 65654304 that are read; get the file again"),
            "{error}"
        );
    }

    #[test]
    fn a_pickle_is_read_within_the_budget() {
        let mib = |mib| Budget::new(None, None, MaxMemory::from_mib(mib).unwrap());
        let dir = python_folder();
        assert!(read(dir.path(), &mut mib(1)).is_ok());
        let huge = File::create(dir.path().join("data_batch_1")).unwrap();
        huge.set_len(2 << 20).unwrap();
        let error = read(dir.path(), &mut mib(1)).err().unwrap();
        assert!(matches!(error, DataError::TooMuchMemory { .. }), "{error}");
    }

    #[test]
    fn a_pointer_of_git_lfs_is_called_one() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 30730000\n";
        assert_eq!(
            error_with("data_batch_2.bin", pointer),
            "data_batch_2.bin: is a Git LFS pointer, not the file itself; run `git lfs pull`"
        );
        let dir = python_folder();
        fs::write(dir.path().join("test_batch"), pointer).unwrap();
        let error = read(dir.path(), &mut Budget::as_they_are()).err().unwrap().to_string();
        assert!(error.contains("test_batch: is a Git LFS pointer"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = folder_of(3);
        fs::remove_file(dir.path().join("data_batch_4.bin")).unwrap();
        let error = read(dir.path(), &mut Budget::as_they_are()).err().unwrap().to_string();
        assert!(error.contains("data_batch_4.bin is missing"), "{error}");
    }

    #[test]
    fn a_file_of_another_length_is_an_error() {
        for len in [0, 1, 3072, 3074, 2 * 3073 - 1] {
            assert_eq!(
                error_with("test_batch.bin", &vec![0; len]),
                format!(
                    "test_batch.bin: has {len} bytes, expected 1 to 10000 records of 3073 bytes; get the file again"
                )
            );
        }
        assert!(error_with("test_batch.bin", &vec![0; 10_001 * 3073]).contains("has 30733073 bytes, expected 1 to"));
    }

    #[test]
    fn a_label_out_of_range_is_an_error() {
        let mut bytes = batch(2);
        bytes[3073] = 10;
        assert_eq!(error_with("data_batch_2.bin", &bytes), "data_batch_2.bin: a record has label 10, expected 0..=9");
    }
}
