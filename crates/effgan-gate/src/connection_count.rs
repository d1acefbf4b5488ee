//! A count of what exists now, such as open connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Adds 1 to a counter for as long as it lives.
pub(crate) struct Counted<T> {
    owner: Arc<T>,
    counter: fn(&T) -> &AtomicUsize,
    /// The count when this was added, this one included.
    pub(crate) number: usize,
}

impl<T> Counted<T> {
    /// Adds 1 to the `counter` of `owner`.
    pub(crate) fn new(owner: Arc<T>, counter: fn(&T) -> &AtomicUsize) -> Self {
        let number = counter(&owner).fetch_add(1, Ordering::Relaxed) + 1;
        Self { owner, counter, number }
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        (self.counter)(&self.owner).fetch_sub(1, Ordering::Relaxed);
    }
}
