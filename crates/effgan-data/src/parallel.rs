//! The same work on every item, on all cores.

use std::thread;

/// `work` of each item, in the order of the items.
///
/// # Panics
/// When `work` panics.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // One item needs no thread.
    if items.len() <= 1 {
        return items.iter().map(work).collect();
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = items.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let work_on = |items: &[T]| items.iter().map(&work).collect::<Vec<R>>();
        let parts: Vec<_> = items.chunks(part).map(|items| scope.spawn(move || work_on(items))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("the work on an item panicked")).collect()
    })
}
