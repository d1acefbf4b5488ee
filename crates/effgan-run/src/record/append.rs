//! Files that are only appended to, and cut back to where a checkpoint found them.

use std::fs::File;
use std::io;

/// Length in bytes of a file that is only appended to, after all of it has reached the disk.
///
/// # Errors
/// What the system says.
pub(crate) fn synced_len(file: &File) -> io::Result<u64> {
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

/// Removes what was appended after the first `len` bytes.
///
/// # Errors
/// What the system says.
pub(crate) fn rewind(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() > len { file.set_len(len) } else { Ok(()) }
}
