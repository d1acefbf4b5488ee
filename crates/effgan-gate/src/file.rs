//! Small files of the server's folder: read whole within bounds, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::GateError;

/// By which a file that was written anew is told from the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stamp {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

/// `None` where there is no file.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some(Stamp { inode: about.ino(), modified: (about.mtime(), about.mtime_nsec()), length: about.len() })
}

/// The text of a file of `most` bytes or fewer.
///
/// # Errors
/// [`GateError::File`], and for what is longer, no file or no text.
pub(crate) fn read(path: &Path, most: u64) -> Result<String, GateError> {
    let read = || {
        let refuse = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        // Nobody is to wait for a pipe.
        if !fs::metadata(path)?.is_file() {
            return refuse("it is no file".into());
        }
        let mut text = String::new();
        File::open(path)?.take(most + 1).read_to_string(&mut text)?;
        if text.len() as u64 > most { refuse(format!("it has more than {most} bytes")) } else { Ok(text) }
    };
    read().map_err(GateError::file(path))
}

/// Puts a file of mode 0600 in the place of whatever lies there.
///
/// # Errors
/// [`GateError::File`]; then `path` is as it was.
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
