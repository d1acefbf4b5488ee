//! The archive of CIFAR-10.

use std::fs;

use effgan_data::{DatasetName, download};

use crate::{idx::load, scratch};

/// Unpacks `archive` (`.tar.gz`) into an empty folder and reads what came out.
pub fn check(archive: &[u8]) {
    let archive = scratch::file("tar/a.tar.gz", archive);
    let folder = scratch::folder("tar/cifar");
    for file in fs::read_dir(&folder).expect("a folder of ours").flatten() {
        fs::remove_file(file.path()).expect("a file of ours");
    }
    let unpacked = download::unpack_cifar10(&archive, &folder);
    let outside = fs::read_dir(scratch::folder("tar")).expect("a folder of ours").count();
    assert_eq!(outside, 2, "the archive and the folder, nothing else");
    assert!(unpacked.is_err() || download::is_fetched(DatasetName::Cifar10, &folder), "all six files or an error");
    load(DatasetName::Cifar10, &folder);
}
