//! Parallel loops on the threads of the current pool.

use std::cell::Cell;

use rayon::prelude::*;

thread_local! {
    /// Whether this thread is inside a loop of several threads.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Calls `work(i)` for each `i < n`, in any order and on any thread of the pool. Loops inside `work` run on its thread.
pub(crate) fn parallel_for(n: usize, work: impl Fn(usize) + Send + Sync) {
    if n <= 1 || rayon::current_num_threads() == 1 || INSIDE.get() {
        (0..n).for_each(work);
    } else {
        (0..n).into_par_iter().for_each(|i| {
            // It stays set after a panic, which makes later loops slower, not wrong.
            INSIDE.set(true);
            work(i);
            INSIDE.set(false);
        });
    }
}

/// As [`parallel_for`], for large pieces of work with loops of their own: side by side where there are enough for all
/// threads, which spares their waiting for each other in each loop, and else one after the other.
pub(crate) fn parallel_for_large(n: usize, work: impl Fn(usize) + Send + Sync) {
    if n >= 2 * rayon::current_num_threads() { parallel_for(n, work) } else { (0..n).for_each(work) }
}

/// A `&mut [T]` that several threads write, each its own parts.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T: Copy = f32> {
    start: *mut T,
    len: usize,
}

// SAFETY: it is only an address; the comment at each write through it says why no other thread writes there.
unsafe impl<T: Copy + Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Send> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    pub(crate) fn new(values: &mut [T]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }

    pub(crate) fn pointer(self) -> *mut T {
        self.start
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// The values from `first` on.
    pub(crate) fn after(self, first: usize) -> Self {
        assert!(first <= self.len, "{first} of {} values", self.len);
        Self { start: self.start.wrapping_add(first), len: self.len - first }
    }

    /// `len` values from `first` on.
    ///
    /// # Safety
    /// The slice is still borrowed, and while the part is in use, nobody else reads or writes these values.
    pub(crate) unsafe fn part<'a>(self, first: usize, len: usize) -> &'a mut [T] {
        assert!(first <= self.len && len <= self.len - first, "{len} values after {first} of {}", self.len);
        // SAFETY: inside the slice, by the assertion; the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}
