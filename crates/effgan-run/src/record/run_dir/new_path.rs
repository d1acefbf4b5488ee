//! Paths where something new is made: nothing is overwritten, and nobody sees half of it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::failure::{Failure, Result};

/// A path beside `path` at which a folder is made before it is renamed to `path`.
pub fn beside(path: &Path) -> PathBuf {
    // The number is random, so that nobody can put a link there in advance.
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}.new", RandomState::new().build_hasher().finish()));
    path.with_file_name(name)
}

/// Creates the new folder `path` with `mode`, less the umask, and its missing parents.
///
/// # Errors
/// When `path` exists or cannot be created.
pub(crate) fn make_new_folder(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(mode).create(path)
}

/// Checks that a file can be created at `path`: nothing exists there and its folder does. For before the work that makes the file.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when not.
pub fn check_new_file(path: &Path) -> Result<()> {
    check_new(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let line = format!("{} is not a folder, so {} cannot be created there", folder.display(), path.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    Ok(())
}

/// Checks that nothing exists at `path` yet.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when something does.
pub fn check_new(path: &Path) -> Result<()> {
    if path.exists() {
        let is_run = path.join("run.json").is_file();
        let path = path.display();
        let way_on = if is_run { format!("resume it with effgan resume {path}") } else { "remove it".into() };
        let line = format!("{path} exists and nothing is overwritten; {way_on}, or choose another --out");
        return Err(Failure::usage(anyhow!(line)));
    }
    Ok(())
}
