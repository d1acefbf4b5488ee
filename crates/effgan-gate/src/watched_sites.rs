//! The list of sites in a running gate, which reads it again whenever the file has changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::GateError;
use crate::sites::Sites;
use crate::small_file;

/// The list as the file has it.
#[derive(Debug)]
pub(crate) struct WatchedSites {
    path: PathBuf,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    sites: Arc<Sites>,
    stamp: Option<small_file::Stamp>,
    /// Changes that have not been logged yet, a line each.
    changes: Vec<String>,
}

impl WatchedSites {
    /// Reads the list at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, GateError> {
        let stamp = small_file::stamp(path);
        let sites = Sites::read(path)?.into();
        Ok(Self { path: path.to_owned(), last: Last { sites, stamp, changes: Vec::new() }.into() })
    }

    /// The current list. While the file cannot be read, it stays as it was.
    pub(crate) fn current(&self) -> Arc<Sites> {
        let mut last = self.last.lock().expect("no thread panics while it holds the list");
        let stamp = small_file::stamp(&self.path);
        if stamp != last.stamp {
            last.stamp = stamp;
            match Sites::read(&self.path) {
                Ok(sites) => {
                    let changes = sites.changes_from(&last.sites);
                    last.changes.extend(changes);
                    last.sites = sites.into();
                }
                Err(error) => last.changes.push(format!("{error}; the list stays as it was")),
            }
        }
        Arc::clone(&last.sites)
    }

    /// Takes the changes since the last call, and what was wrong with the file: a line each.
    pub(crate) fn take_changes(&self) -> Vec<String> {
        std::mem::take(&mut self.last.lock().expect("no thread panics while it holds the list").changes)
    }
}
