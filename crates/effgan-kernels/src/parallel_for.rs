//! A parallel loop on the threads of the current pool.

use rayon::prelude::*;

/// Calls `work(i)` for each `i < n`, in any order and on any thread of the pool.
pub(crate) fn parallel_for(n: usize, work: impl Fn(usize) + Send + Sync) {
    if rayon::current_num_threads() == 1 {
        (0..n).for_each(work);
    } else {
        (0..n).into_par_iter().for_each(work);
    }
}

/// A `*mut f32` that several threads write through, each to addresses of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: it is only an address; the comment at each write through it says why no other thread writes there.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr())
    }

    pub(crate) fn pointer(self) -> *mut f32 {
        self.0
    }
}
