//! The files that fuzzing starts from, for the crates' tests.

use std::fs;
use std::path::{Path, PathBuf};

/// The contents of the seeds of `target`, in the order of their paths.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut files = files(&folder);
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a seed")).collect()
}

/// All files below `folder`, as a fuzzer takes them.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}; fuzz/seeds.py makes it", folder.display()));
    let paths = entries.map(|entry| entry.expect("a seed").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
