//! Pictures in a folder, one picture a split.

use effgan_data::{DatasetConfig, DatasetName};

use crate::idx::{link, load};
use crate::scratch;

/// Reads `bytes` as the picture of both splits: as it is, then brought to 4 × 4 pixels of three colours.
pub fn check(bytes: &[u8]) {
    let path = scratch::file("pictures/train/class/a.png", bytes);
    link(&path, "pictures/test/class/a.png");
    let folder = scratch::folder("pictures");
    let as_it_is = load(DatasetName::Folder, &folder);
    let fitted =
        DatasetConfig { size: Some(4), channels: Some(3), dir: Some(folder), ..DatasetConfig::of(DatasetName::Folder) }
            .load();
    assert_eq!(as_it_is.is_some(), fitted.is_ok(), "what can be read can be resized");
    if let Some(dataset) = as_it_is {
        assert_eq!(
            (dataset.train.len(), dataset.train.pixels()),
            (1, dataset.test.pixels()),
            "equal files are equal pictures"
        );
    }
}
