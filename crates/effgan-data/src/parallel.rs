//! The same work on every item, on all cores.

use std::{
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread,
};

/// Calls `work` with each item; returns the results in the order of the items.
///
/// # Panics
/// With the panic of `work`.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_parallel_into(items, &mut vec![(); items.len()], |item, _| work(item))
}

/// Calls `work` with each item and its own part of `outputs`, which is cut into equal consecutive parts; returns the results in
/// the order of the items. A thread that is done with an item takes the next one, so that no core waits for those with costly items.
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
    let queue = Mutex::new(items.iter().zip(outputs.chunks_exact_mut(each)).enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work_on = || {
        let mut results = Vec::new();
        while let Some((i, (item, output))) = next() {
            results.push((i, work(item, output)));
        }
        results
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work_on)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    results.sort_unstable_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn results_and_outputs_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        let mut outputs = vec![0; 2000];
        let results = in_parallel_into(&items, &mut outputs, |&item, output| {
            output.fill(item);
            3 * item
        });
        assert_eq!(results, items.iter().map(|item| 3 * item).collect::<Vec<_>>());
        assert_eq!(outputs, items.iter().flat_map(|&item| [item; 2]).collect::<Vec<_>>());
        assert!(in_parallel(&[0; 0], |item| *item).is_empty());
    }

    #[test]
    fn no_item_waits_for_a_costly_one_before_it() {
        if thread::available_parallelism().map_or(1, usize::from) < 2 {
            return;
        }
        // The first item ends once all others are done, which with equal consecutive parts would be never.
        let done = AtomicUsize::new(0);
        let results = in_parallel(&(0..64).collect::<Vec<usize>>(), |&item| {
            let is_last = || done.load(Ordering::SeqCst) == 63;
            let waited = (0..5000).any(|_| {
                item > 0 || is_last() || {
                    thread::sleep(Duration::from_millis(1));
                    false
                }
            });
            done.fetch_add(1, Ordering::SeqCst);
            waited
        });
        assert!(results.into_iter().all(|waited| waited));
    }
}
