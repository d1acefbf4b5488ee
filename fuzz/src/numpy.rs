//! `NumPy`'s arrays, alone or zipped.

use effgan_data::datasets::ValueRange;
use effgan_data::{DatasetConfig, DatasetName, ImageFiles};

use crate::{idx::check_splits, scratch};

/// Reads `bytes` as a file `a.npy` or `a.npz`: images that are bytes, images of other numbers, and images alone.
pub fn check(bytes: &[u8], extension: &str) {
    let path = scratch::file(&format!("numpy/a.{extension}"), bytes);
    for range in [None, ValueRange::new(0.0, 1.0)] {
        let config = DatasetConfig { dir: Some(path.clone()), range, ..DatasetConfig::of(DatasetName::Npz) };
        let Ok(dataset) = config.load() else { continue };
        check_splits(&dataset);
        assert_eq!(dataset.train.num_classes(), dataset.test.num_classes(), "both splits have the same classes");
        assert!(dataset.limit == dataset.train.len() && !dataset.test.is_empty(), "both splits have images");
    }
    if let Ok(files) = ImageFiles::open(&path) {
        let len = files.shape(0).iter().product::<usize>() * files.len();
        let pixels = files.read(0..files.len()).expect("an array is in memory");
        assert_eq!(pixels.iter().map(|(image, _)| image.len()).sum::<usize>(), len, "as many pixels as the shape says");
    }
}
