//! The lock of a run folder: one program at a time writes to it.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, anyhow};
use effgan_nn::file::open_to_append;

/// Locks the run folder at `path` against other programs, for as long as the file is open.
///
/// # Errors
/// When another program holds the lock, or the file cannot be opened.
pub(super) fn lock(path: &Path) -> anyhow::Result<File> {
    let open = open_to_append(&path.join(".lock"));
    let file = open.with_context(|| format!("locking {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(anyhow!("{} is in use by another effgan process; wait until it ends, or stop it", path.display()))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// Whether another program holds the lock of the run folder at `path`; `false` where that cannot be found out.
pub(crate) fn is_in_use(path: &Path) -> bool {
    let lock = File::open(path.join(".lock"));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
