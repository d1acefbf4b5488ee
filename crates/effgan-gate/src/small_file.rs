//! Small files of the server folder: read with a size limit, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::GateError;

/// Tells a file that was rewritten from the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stamp {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

/// The stamp of the file at `path`; `None` when there is none.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some(Stamp { inode: about.ino(), modified: (about.mtime(), about.mtime_nsec()), length: about.len() })
}

/// Reads a text file of at most `max_bytes` bytes.
///
/// # Errors
/// [`GateError::File`], also when it is longer, not a file, or not UTF-8.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<String, GateError> {
    let read = || {
        let refuse = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        // Opening a pipe would block.
        if !fs::metadata(path)?.is_file() {
            return refuse("not a file".into());
        }
        let mut text = String::new();
        File::open(path)?.take(max_bytes + 1).read_to_string(&mut text)?;
        if text.len() as u64 > max_bytes { refuse(format!("more than {max_bytes} bytes")) } else { Ok(text) }
    };
    read().map_err(GateError::file(path))
}

/// Writes a file of mode 0600, replacing what is at `path`.
///
/// # Errors
/// [`GateError::File`]; `path` is then unchanged.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), GateError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut beside = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
        beside.write_all(bytes)?;
        beside.as_file().sync_all()?;
        beside.persist(path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(GateError::file(path))
}
