//! Files of one thread, as the readers take paths.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("the folder of temporary files can be written to");
}

/// The path of `name` in this thread's folder, with the folders that lead there.
pub fn path(name: &str) -> PathBuf {
    let (inside, file) = name.rsplit_once('/').unwrap_or(("", name));
    folder(inside).join(file)
}

/// The path of the folder `name`, which is there.
pub fn folder(name: &str) -> PathBuf {
    let folder = FOLDER.with(|folder| folder.path().join(name));
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// The path of the file `name` once it holds `bytes`.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::write(&path, bytes).expect("a temporary file can be written");
    path
}
