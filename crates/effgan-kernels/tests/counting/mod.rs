//! What the steady state of training allocates. The tests of effgan-nn include this file too.

mod allocator;

use allocator::COUNT;

/// Calls of the allocator, and the bytes that they requested, in the third call of `work` on a new thread.
pub(crate) fn third_time(mut work: impl FnMut() + Send) -> [usize; 2] {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    pool.install(|| {
        work();
        work();
        COUNT.set([0; 2]);
        work();
        COUNT.get()
    })
}
