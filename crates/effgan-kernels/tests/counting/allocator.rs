//! An allocator that counts its calls and the bytes that they request. The tests of other crates include this file too.

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

/// The system's allocator, which counts the calls of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    BYTES.fetch_add(bytes, Ordering::Relaxed);
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
        count(size);
        // SAFETY: the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
