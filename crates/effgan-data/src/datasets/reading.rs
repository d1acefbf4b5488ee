//! How images are read, beside what they are: who is told of it, and where decoded pictures are kept.

use crate::download;
use std::{
    fmt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// What reading reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report<'a> {
    /// So many of so many pictures have been read. `done` grows by one from report to report, which come from several threads, up to `of`.
    Pictures {
        /// Pictures that have been read, at least 1.
        done: usize,
        /// Pictures in all.
        of: usize,
    },
    /// A line for people.
    Line(&'a str),
}

/// How images are read. No image depends on it.
#[derive(Clone)]
pub struct Reading<'a> {
    pub(super) cache: Option<PathBuf>,
    report: &'a (dyn Fn(Report<'_>) + Sync),
}

impl Reading<'static> {
    /// Tells nobody, and keeps nothing.
    pub fn quiet() -> Self {
        Self { cache: None, report: &|_| {} }
    }
}

impl<'a> Reading<'a> {
    /// Calls `report` with how far reading has come, and keeps nothing.
    pub fn reported_to(report: &'a (dyn Fn(Report<'_>) + Sync)) -> Self {
        Self { cache: None, report }
    }

    /// The same, which keeps decoded pictures below `folder`, in a folder of mode 0700 that is created once there is something to
    /// keep, where `dataset.cache` allows it.
    #[must_use]
    pub fn with_cache(self, folder: PathBuf) -> Self {
        Self { cache: Some(folder), ..self }
    }

    /// As [`with_cache`](Self::with_cache), in the [cache folder of the user](download::cache_dir), if there is one.
    #[must_use]
    pub fn with_cache_of_user(self) -> Self {
        Self { cache: download::cache_dir().ok(), ..self }
    }

    /// The same, which keeps nothing.
    pub(super) fn without_cache(&self) -> Self {
        Self { cache: None, ..self.clone() }
    }

    pub(super) fn line(&self, line: &str) {
        (self.report)(Report::Line(line));
    }

    /// A count of pictures that are read, `of` in all.
    pub(super) fn count(&self, of: usize) -> Count<'_> {
        Count { done: Mutex::new(0), of, report: self.report }
    }
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// Counts pictures that are read by several threads.
pub(super) struct Count<'a> {
    done: Mutex<usize>,
    of: usize,
    report: &'a (dyn Fn(Report<'_>) + Sync),
}

impl Count<'_> {
    /// Reports one more.
    pub(super) fn one(&self) {
        // Reports are made one at a time, or the last one might not be the last to come.
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += 1;
        (self.report)(Report::Pictures { done: *done, of: self.of });
    }
}
