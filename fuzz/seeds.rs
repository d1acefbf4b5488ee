//! The files that fuzzing starts from, for the crates' tests.

use std::fs;
use std::path::{Path, PathBuf};

/// The contents of the seeds of `target`, in the order of their names.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let entries = fs::read_dir(folder).expect("fuzz/seeds lies beside the crates");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a seed").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a seed")).collect()
}
