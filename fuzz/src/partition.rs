//! A `partition.json`.

use std::cell::LazyCell;

use effgan_data::partition::PartitionFile;
use effgan_data::{ImageSet, PartitionConfig};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::scratch;

/// Number of images that are assigned to clients.
const NUM_IMAGES: usize = 100;

thread_local! {
    static IMAGES: LazyCell<ImageSet> = const {
        LazyCell::new(|| ImageSet::new([1; 3], vec![0; NUM_IMAGES], vec![0; NUM_IMAGES], 1).expect("a hundred images"))
    };
}

/// Assigns images to clients by the file `json`; a partition that is written and read again is the same.
pub fn check(json: &[u8]) {
    let assign = |json: &[u8]| {
        let config = PartitionConfig::File(PartitionFile { path: scratch::file("partition.json", json) });
        IMAGES.with(|images| config.assign(images, NUM_IMAGES, &mut ChaCha8Rng::seed_from_u64(1))).ok()
    };
    let Some(partition) = assign(json) else { return };
    let mut images: Vec<u32> =
        partition.clients.iter().flat_map(|client| client.train.iter().chain(&client.held_out)).copied().collect();
    images.sort_unstable();
    assert!(
        images.is_sorted_by(|a, b| a < b) && images.iter().all(|&image| (image as usize) < NUM_IMAGES),
        "each image is on one list"
    );
    assert!(partition.clients.is_sorted_by(|a, b| a.name < b.name), "clients are sorted");
    let written = serde_json::to_vec(&partition).expect("a partition is plain data");
    assert_eq!(assign(&written), Some(partition), "a partition that is written is read");
}
