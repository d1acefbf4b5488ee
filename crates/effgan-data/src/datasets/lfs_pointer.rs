//! Pointers of Git LFS: the few lines of text that lie in a file's place where a repository was cloned without its large files.
//! Their format is `docs/spec.md` of the repository git-lfs/git-lfs.

use crate::DataError;
use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

/// The first bytes of every pointer.
const VERSION: &[u8] = b"version https://git-lfs.github.com/spec/";
/// How many of a file's first bytes tell whether it is a pointer.
pub(super) const LEN: u64 = VERSION.len() as u64;

/// A file that is not a pointer, at its beginning.
pub(super) struct Opened {
    pub(super) file: File,
    /// Its length in bytes.
    pub(super) len: u64,
    /// Its first [`LEN`] bytes, or all of a shorter one.
    pub(super) start: Vec<u8>,
}

/// Opens the file of a data set.
///
/// # Errors
/// [`DataError::Unreadable`], and [`DataError::Malformed`] for a pointer.
pub(super) fn open(path: &Path) -> Result<Opened, DataError> {
    let name = || path.display().to_string();
    let open = || {
        let (mut file, mut start) = (File::open(path)?, Vec::new());
        file.by_ref().take(LEN).read_to_end(&mut start)?;
        file.rewind()?;
        let len = file.metadata()?.len();
        io::Result::Ok(Opened { file, len, start })
    };
    let opened = open().map_err(|reason| DataError::Unreadable { file: name(), reason })?;
    match reason(&opened.start) {
        Some(reason) => Err(DataError::Malformed { file: name(), reason: reason.into() }),
        None => Ok(opened),
    }
}

/// Why a file that begins with `start`, at least [`LEN`] bytes where it has as many, cannot be read; `None` if it is not a pointer.
pub(super) fn reason(start: &[u8]) -> Option<&'static str> {
    start.starts_with(VERSION).then_some("is a Git LFS pointer, not the file itself; run `git lfs pull`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_told_by_its_first_bytes() {
        // The example of the specification.
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
        assert!(reason(pointer).unwrap().starts_with("is a Git LFS pointer"));
        assert!(reason(&pointer[..LEN as usize]).is_some());
        assert!(reason(&pointer[..LEN as usize - 1]).is_none() && reason(b"").is_none());
    }
}
