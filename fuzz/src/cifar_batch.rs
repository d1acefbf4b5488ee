//! A batch of CIFAR-10's Python version, a pickle: all six files of a data set are the same one.

use effgan_data::DatasetName;

use crate::idx::{link, load};
use crate::scratch;

/// Reads `batch` as each of the six files.
pub fn check(batch: &[u8]) {
    let first = scratch::file("cifar-py/data_batch_1", batch);
    for file in ["data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        link(&first, &format!("cifar-py/{file}"));
    }
    if let Some(dataset) = load(DatasetName::Cifar10, first.parent().expect("a file in a folder")) {
        assert_eq!(dataset.train.len(), 5 * dataset.test.len(), "equal files are equal batches");
        assert!(dataset.test.pixels().len() <= batch.len(), "pixels are in the file");
    }
}
