//! `NumPy`'s arrays, alone or zipped.

use effgan_data::DatasetName;

use crate::{idx::load, scratch};

/// Reads `bytes` as a file `a.npy` or `a.npz`.
pub fn check(bytes: &[u8], extension: &str) {
    let path = scratch::file(&format!("numpy/a.{extension}"), bytes);
    if let Some(dataset) = load(DatasetName::Npz, &path) {
        assert_eq!(dataset.train.num_classes(), dataset.test.num_classes(), "both splits have the same classes");
        assert!(dataset.limit == dataset.train.len() && !dataset.test.is_empty(), "both splits have images");
    }
}
