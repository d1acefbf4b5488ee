//! CIFAR-10 in its binary version (Krizhevsky 2009): records of a label byte and 3,072 bytes `[3, 32, 32]`, red first.

use super::budget::Budget;
use crate::{DataError, ImageSet};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Name of the folder in the archive.
pub(crate) const FOLDER: &str = "cifar-10-batches-bin";
/// The six files: five of the training split, then the test split.
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
const RECORD: u64 = 1 + 3 * 32 * 32;
/// Records per file.
const MAX_RECORDS: u64 = 10_000;
/// Bytes of a complete file.
pub(crate) const FILE_LEN: u64 = MAX_RECORDS * RECORD;

/// The folder of the files: the sub-folder `cifar-10-batches-bin` of `dir` when it exists, or `dir` itself.
pub(super) fn folder(dir: &Path) -> PathBuf {
    let inner = dir.join(FOLDER);
    if inner.is_dir() { inner } else { dir.to_owned() }
}

/// The training and the test split.
pub(super) fn read(dir: &Path, budget: &mut Budget) -> Result<(ImageSet, ImageSet), DataError> {
    let dir = folder(dir);
    Ok((read_split(&dir, &FILES[..5], budget)?, read_split(&dir, &FILES[5..], budget)?))
}

fn read_split(dir: &Path, files: &[&str], budget: &mut Budget) -> Result<ImageSet, DataError> {
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for file in files {
        let path = dir.join(file);
        for record in read_file(&path, budget)?.chunks_exact(RECORD as usize) {
            if usize::from(record[0]) >= CLASSES.len() {
                return Err(malformed(&path, format!("a record has label {}, expected 0..=9", record[0])));
            }
            labels.push(record[0]);
            pixels.extend_from_slice(&record[1..]);
        }
    }
    ImageSet::new(SHAPE, pixels, labels, CLASSES.len())
}

/// Reads a whole number of records, at most as many as the real files have.
fn read_file(path: &Path, budget: &mut Budget) -> Result<Vec<u8>, DataError> {
    let unreadable = |reason| DataError::Unreadable { file: path.display().to_string(), reason };
    if !path.is_file() {
        return Err(DataError::Missing { file: path.to_owned() });
    }
    let file = File::open(path).map_err(unreadable)?;
    let len = file.metadata().map_err(unreadable)?.len();
    if len == 0 || !len.is_multiple_of(RECORD) || len > FILE_LEN {
        let line =
            format!("has {len} bytes, expected 1 to {MAX_RECORDS} records of {RECORD} bytes; get the file again");
        return Err(malformed(path, line));
    }
    budget.reserve((len / RECORD) as usize, SHAPE)?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn malformed(path: &Path, reason: String) -> DataError {
    DataError::Malformed { file: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let error = read(dir.path(), &mut Budget::as_they_are()).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn five_files_are_the_training_split_and_one_the_test_split() {
        let dir = folder_of(3);
        let (train, test) = read(dir.path(), &mut Budget::as_they_are()).unwrap();
        assert_eq!((train.len(), test.len(), train.shape(), train.num_classes()), (15, 3, [3, 32, 32], 10));
        assert_eq!(train.labels()[..4], [0, 1, 2, 0]);
        assert_eq!(train.image(4)[..1024], [1; 1024]);
        assert_eq!(train.image(4)[2048..], [3; 1024]);
    }

    #[test]
    fn the_folder_of_the_archive_is_found() {
        let dir = TempDir::new().unwrap();
        fs::rename(folder_of(3).keep(), dir.path().join(FOLDER)).unwrap();
        assert_eq!(read(dir.path(), &mut Budget::as_they_are()).unwrap().0.len(), 15);
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = folder_of(3);
        fs::remove_file(dir.path().join("data_batch_4.bin")).unwrap();
        let error = read(dir.path(), &mut Budget::as_they_are()).unwrap_err().to_string();
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
