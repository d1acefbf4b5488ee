//! The same work on every item, on all cores.

use std::panic::resume_unwind;
use std::thread;

/// Calls `work` with each item; returns the results in the order of the items.
///
/// # Panics
/// With the panic of `work`.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_parallel_into(items, &mut vec![(); items.len()], |item, _| work(item))
}

/// Calls `work` with each item and its own part of `outputs`, which is cut into equal consecutive parts; returns the results in
/// the order of the items.
///
/// # Panics
/// With the panic of `work`, and when `outputs` cannot be cut into equal parts that are not empty.
pub(crate) fn in_parallel_into<T: Sync, P: Send, R: Send>(
    items: &[T],
    outputs: &mut [P],
    work: impl Fn(&T, &mut [P]) -> R + Sync,
) -> Vec<R> {
    let Some(each) = outputs.len().checked_div(items.len()) else { return Vec::new() };
    assert!(each > 0 && each * items.len() == outputs.len(), "the outputs are cut into equal parts");
    // One item needs no thread.
    if items.len() == 1 {
        return vec![work(&items[0], outputs)];
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = items.len().div_ceil(threads);
    thread::scope(|scope| {
        let work_on = |items: &[T], outputs: &mut [P]| {
            items
                .iter()
                .zip(outputs.chunks_exact_mut(each))
                .map(|(item, output)| work(item, output))
                .collect::<Vec<R>>()
        };
        let parts = items.chunks(part).zip(outputs.chunks_mut(part * each));
        let parts: Vec<_> = parts.map(|(items, outputs)| scope.spawn(move || work_on(items, outputs))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}
