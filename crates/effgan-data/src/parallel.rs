//! The same work on every item, on all cores.

use std::thread;

/// `work` of each item, in the order of the items.
///
/// # Panics
/// When `work` panics.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_places(items, &mut vec![(); items.len()], |item, _| work(item))
}

/// `work` of each item, which is given the item's place: as many of `places`, one after the other, for each item.
///
/// # Panics
/// When `work` panics, and when the items do not have as many places each.
pub(crate) fn in_places<T: Sync, P: Send, R: Send>(
    items: &[T],
    places: &mut [P],
    work: impl Fn(&T, &mut [P]) -> R + Sync,
) -> Vec<R> {
    let Some(each) = places.len().checked_div(items.len()) else { return Vec::new() };
    assert!(each > 0 && each * items.len() == places.len(), "each item has as many places");
    // One item needs no thread.
    if items.len() == 1 {
        return vec![work(&items[0], places)];
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = items.len().div_ceil(threads);
    thread::scope(|scope| {
        let work_on = |items: &[T], places: &mut [P]| {
            items.iter().zip(places.chunks_exact_mut(each)).map(|(item, place)| work(item, place)).collect::<Vec<R>>()
        };
        let parts = items.chunks(part).zip(places.chunks_mut(part * each));
        let parts: Vec<_> = parts.map(|(items, places)| scope.spawn(move || work_on(items, places))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("the work on an item panicked")).collect()
    })
}
