//! An allocator that counts its calls, the bytes that they request and the bytes that are held. The tests of other crates include this
//! file too, so that `unsafe` is in this crate alone.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    /// Calls of the allocator by this thread, and the bytes that they requested.
    pub(crate) static COUNT: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
}

/// Bytes that all threads have requested.
pub(crate) static BYTES: AtomicUsize = AtomicUsize::new(0);
/// Bytes that are held now. Memory that is zeroed and not yet written counts, although the system has not yet given it.
pub(crate) static HELD: AtomicUsize = AtomicUsize::new(0);
/// The largest number of bytes that were held.
pub(crate) static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts the calls of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    BYTES.fetch_add(bytes, Ordering::Relaxed);
    PEAK.fetch_max(HELD.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
    // A thread that is ending may allocate after its counter was dropped.
    let _ = COUNT.try_with(|count| {
        let [calls, all] = count.get();
        count.set([calls + 1, all + bytes]);
    });
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may be held at the same time.
        count(size);
        HELD.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
