//! How work is spread over threads.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Runs `work` in a new thread pool of `threads` threads.
///
/// The kernels and Burn's CPU backend spread work over the current pool. Clients that shared a pool would wait for each
/// other. The kernels divide work by shape, so that `threads` changes no bit of a training step.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    Threads::new(threads).run(work)
}

/// A thread pool for repeated work, as [`on_threads`] makes for one piece of it.
#[derive(Debug)]
pub struct Threads(ThreadPool);

impl Threads {
    /// A pool of `n` ≥ 1 threads.
    pub fn new(n: usize) -> Self {
        Self(ThreadPoolBuilder::new().num_threads(n).build().expect("the system can start a few more threads"))
    }

    /// Runs `work` in the pool and waits for its result.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }
}

/// [`on_threads`] with one thread.
pub fn on_one_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    on_threads(1, work)
}

/// Number of threads of each worker, when `jobs` threads share `n` pieces of work: there are at most `n` workers, and
/// spare threads are spread over them.
///
/// ```
/// assert_eq!(effgan_nn::threads_of_workers(10, 4), [1, 1, 1, 1]);
/// assert_eq!(effgan_nn::threads_of_workers(3, 8), [3, 3, 2]);
/// ```
pub fn threads_of_workers(n: usize, jobs: usize) -> Vec<usize> {
    let workers = jobs.clamp(1, n.max(1));
    (0..workers).map(|worker| (jobs.max(1) + workers - 1 - worker) / workers).collect()
}

/// The results of `work(i)` for each `i < n`, in order, computed by `jobs` threads, each in a pool of [one
/// thread](on_one_thread).
///
/// The results do not depend on `jobs`, since each `i` is computed by itself.
///
/// # Panics
/// With the panic of `work`, once all threads have ended.
pub fn parallel_map<R: Send>(n: usize, jobs: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        on_one_thread(|| {
            let mine = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < n));
            mine.map(|i| (i, work(i))).collect::<Vec<_>>()
        })
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.clamp(1, n.max(1))).map(|_| scope.spawn(take_turns)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn results_come_in_order_for_any_number_of_jobs() {
        let expected: Vec<usize> = (0..20).map(|i| i * i).collect();
        for jobs in [1, 2, 7] {
            assert_eq!(parallel_map(20, jobs, |i| i * i), expected);
        }
    }

    #[test]
    fn a_panic_of_the_work_reaches_the_caller_with_its_own_message() {
        for jobs in [1, 3] {
            let panic = catch_unwind(|| parallel_map(20, jobs, |i| assert!(i != 5, "a bug in piece 5"))).unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug in piece 5"));
        }
    }

    #[test]
    fn work_on_one_thread_sees_a_pool_of_one() {
        assert_eq!(on_one_thread(rayon::current_num_threads), 1);
    }
}
