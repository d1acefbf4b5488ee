//! Files that are only appended to, and cut back to their length at a checkpoint when a run is resumed.

use std::fs::File;
use std::io;

/// The length of `file` in bytes, after all of them have reached the disk.
///
/// # Errors
/// When the file cannot be synced.
pub(crate) fn synced_len(file: &File) -> io::Result<u64> {
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

/// Cuts `file` back to its first `len` bytes.
///
/// # Errors
/// When the file cannot be cut.
pub(crate) fn rewind(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() > len { file.set_len(len) } else { Ok(()) }
}
