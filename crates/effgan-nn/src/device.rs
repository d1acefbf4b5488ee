//! Where tensors live, and how work is spread over cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The device without gradients.
pub(crate) fn device() -> Device {
    Device::flex()
}

/// The device that records gradients.
pub(crate) fn training_device() -> Device {
    device().autodiff()
}

/// Runs `work` with a thread pool of its own that has `threads` threads.
///
/// The kernels and Burn's CPU backend spread work over the pool they find themselves in. Clients that share one pool
/// wait for each other; in pools of their own they do not. The kernels cut work by its shape, so that `threads` changes
/// no bit of a training step.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    Threads::new(threads).run(work)
}

/// A thread pool for work that comes again and again, each piece of it [`on_threads`].
#[derive(Debug)]
pub struct Threads(ThreadPool);

impl Threads {
    /// A pool of `n` threads, ≥ 1.
    pub fn new(n: usize) -> Self {
        Self(ThreadPoolBuilder::new().num_threads(n).build().expect("the system gives a few more threads"))
    }

    /// Runs `work` in the pool, and waits for it.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }
}

/// [`on_threads`] with one.
pub fn on_one_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    on_threads(1, work)
}

/// Threads of each worker when `jobs` threads serve `n` pieces of work: as many workers as there is work for, and
/// threads to spare spread over them.
///
/// ```
/// assert_eq!(effgan_nn::threads_of_workers(10, 4), [1, 1, 1, 1]);
/// assert_eq!(effgan_nn::threads_of_workers(3, 8), [3, 3, 2]);
/// ```
pub fn threads_of_workers(n: usize, jobs: usize) -> Vec<usize> {
    let workers = jobs.clamp(1, n.max(1));
    (0..workers).map(|worker| (jobs.max(1) + workers - 1 - worker) / workers).collect()
}

/// `work(i)` for each `i < n`, in order, computed by `jobs` threads that each work [`on_one_thread`].
///
/// The results are the same for any `jobs`, since each `i` is computed alone.
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
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker's panic is a bug")).collect()
    });
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_for_any_number_of_jobs() {
        let expected: Vec<usize> = (0..20).map(|i| i * i).collect();
        for jobs in [1, 2, 7] {
            assert_eq!(parallel_map(20, jobs, |i| i * i), expected);
        }
    }

    #[test]
    fn work_on_one_thread_sees_a_pool_of_one() {
        assert_eq!(on_one_thread(rayon::current_num_threads), 1);
    }
}
