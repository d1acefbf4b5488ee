//! Images of a folder that could not be read.

use crate::control_chars;
use std::{fmt, path::PathBuf};

/// An image that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path within the folder.
    pub file: PathBuf,
    /// Why it could not be read.
    pub reason: String,
}

impl LeftOut {
    /// Number of files that a message names; it only counts the others.
    const NAMED: usize = 10;

    /// One line about the `files` that were left out, beside `num_read` that were not; `None` when there are none.
    pub(super) fn line(files: &[Self], num_read: usize) -> Option<String> {
        let (num, list) = (files.len(), Self::list(files));
        (num > 0).then(|| format!("left out {num} of {} images, which cannot be read: {list}", num + num_read))
    }

    /// The first files with their reasons, and how many more there are.
    pub(crate) fn list(files: &[Self]) -> String {
        let named = files.iter().take(Self::NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match files.len().saturating_sub(Self::NAMED) {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file name may hold control characters.
        write!(f, "{} ({})", control_chars::without_control(&self.file.display().to_string()), self.reason)
    }
}
