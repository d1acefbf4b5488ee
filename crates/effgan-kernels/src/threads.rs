//! Work cut by shape, on as many threads as the pool has that it finds itself in.

use rayon::prelude::*;

/// `work(i)` for each `i < n`, each alone, in any order.
pub(crate) fn each(n: usize, work: impl Fn(usize) + Send + Sync) {
    if rayon::current_num_threads() == 1 {
        (0..n).for_each(work);
    } else {
        (0..n).into_par_iter().for_each(work);
    }
}

/// A `*mut f32` that threads share; who uses it promises that they write apart.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: only an address; each place where it is written through says why no other thread is there.
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
