//! Runs the checks of this crate's fuzz targets, which are in `fuzz/`, on their seeds.

#![allow(unreachable_pub, reason = "these modules are the library of the fuzz targets too")]

#[path = "../../../fuzz/src/cifar_batch.rs"]
mod cifar_batch;
#[path = "../../../fuzz/src/cifar_tar.rs"]
mod cifar_tar;
#[path = "../../../fuzz/src/idx.rs"]
mod idx;
#[path = "../../../fuzz/src/numpy.rs"]
mod numpy;
#[path = "../../../fuzz/src/partition.rs"]
mod partition;
#[path = "../../../fuzz/src/picture.rs"]
mod picture;
#[path = "../../../fuzz/src/scratch.rs"]
mod scratch;
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

/// Calls `check` with each seed of `target`.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let seeds = seeds::of(target);
    assert!(seeds.len() > 3, "{target} has seeds");
    for seed in &seeds {
        check(seed);
    }
}

#[test]
fn seeds_of_idx_files_are_read_or_refused() {
    replay("idx", |bytes| {
        let (images, labels) = idx::parts(bytes);
        idx::check(images, labels, "");
    });
    replay("gzip_idx", idx::check_gzip);
}

#[test]
fn seeds_of_arrays_are_read_or_refused() {
    replay("npy", |bytes| numpy::check(bytes, "npy"));
    replay("npz", |bytes| numpy::check(bytes, "npz"));
}

#[test]
fn seeds_of_pictures_are_read_or_refused() {
    replay("picture", picture::check);
}

#[test]
fn seeds_of_archives_are_unpacked_or_refused() {
    replay("cifar_tar", cifar_tar::check);
}

#[test]
fn seeds_of_batches_are_read_or_refused() {
    replay("cifar_batch", cifar_batch::check);
}

#[test]
fn seeds_of_partitions_are_read_or_refused() {
    replay("partition_json", partition::check);
}
