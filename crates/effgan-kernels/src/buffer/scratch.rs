//! Memory for the inside of kernels: a stack per thread, from which the kernels of all layers take.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Element, FILL_WITH_NAN};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory with unspecified contents, given back when dropped. It begins a cache line.
///
/// Unlike [`Reused`](super::Reused) memory it is not kept by length: what is taken last lies behind what was taken before.
/// A thread thus keeps as much as it has used at once, if what is taken last is dropped first.
#[derive(Debug)]
pub struct Scratch<T: Element = f32> {
    memory: Arc<Memory<T>>,
    /// Its place in the stack.
    frame: Range<usize>,
    /// Its place in `memory`.
    values: Range<usize>,
    /// It is dropped by the thread that has taken it, whose stack it belongs to.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared reference gives a shared slice of values that are `Sync`.
unsafe impl<T: Element + Sync> Sync for Scratch<T> {}

/// The scratch of a thread.
#[derive(Debug)]
pub(super) struct Stack<T> {
    /// None before the first use, and when it is too small and nothing of it is in use.
    memory: Option<Arc<Memory<T>>>,
    /// Index after the last frame. It may lie beyond the memory: then that frame has memory of its own.
    top: usize,
    /// The largest `top` so far.
    highest: usize,
    /// Number of frames.
    frames: usize,
}

/// Values that the frames of a stack share, each its own part.
#[derive(Debug)]
struct Memory<T> {
    values: Box<[UnsafeCell<T>]>,
    /// Index of the first value that begins a cache line.
    first: usize,
}

// SAFETY: parts of it are borrowed through `Scratch` alone, which has a part of its own.
unsafe impl<T: Send + Sync> Sync for Memory<T> {}

impl<T: Element> Memory<T> {
    /// Memory for `len` values.
    fn new(len: usize) -> Arc<Self> {
        let spare = LINE / size_of::<T>();
        let values = Box::into_raw(vec![T::ZERO; len + spare].into_boxed_slice());
        // SAFETY: an `UnsafeCell<T>` has the layout of a `T`, and the box is not used elsewhere.
        let values = unsafe { Box::from_raw(values as *mut [UnsafeCell<T>]) };
        let first = values.as_ptr().align_offset(LINE).min(spare);
        Arc::new(Self { values, first })
    }

    fn len(&self) -> usize {
        self.values.len() - LINE / size_of::<T>()
    }

    fn start(&self) -> *mut T {
        UnsafeCell::raw_get(self.values[self.first..].as_ptr())
    }
}

impl<T: Element> Stack<T> {
    pub(super) const EMPTY: Self = Self { memory: None, top: 0, highest: 0, frames: 0 };

    fn push(&mut self, len: usize) -> Scratch<T> {
        let start = self.top;
        self.top += len.next_multiple_of(LINE / size_of::<T>());
        self.highest = self.highest.max(self.top);
        self.frames += 1;
        let highest = self.highest;
        let memory = self.memory.get_or_insert_with(|| Memory::new(highest));
        let (memory, first) =
            if self.top <= memory.len() { (Arc::clone(memory), start) } else { (Memory::new(len), 0) };
        Scratch { memory, frame: start..self.top, values: first..first + len, not_send: PhantomData }
    }

    fn pop(&mut self, frame: &Range<usize>) {
        self.frames -= 1;
        if self.frames == 0 {
            self.top = 0;
            // The next memory has room for all.
            self.memory.take_if(|memory| memory.len() < self.highest);
        } else if frame.end == self.top {
            self.top = frame.start;
        }
    }
}

impl<T: Element> Scratch<T> {
    /// Memory of length `len` with unspecified contents.
    pub fn of(len: usize) -> Self {
        let mut scratch = T::store().with_borrow_mut(|store| store.scratch.push(len));
        if FILL_WITH_NAN.load(Ordering::Relaxed) {
            scratch.fill(T::POISON);
        }
        scratch
    }
}

impl<T: Element> Drop for Scratch<T> {
    fn drop(&mut self) {
        // A thread that is ending may have dropped its stack.
        let _ = T::store().try_with(|store| store.borrow_mut().scratch.pop(&self.frame));
    }
}

impl<T: Element> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: inside the memory, as `push` has made it; no other frame that is alive has these values.
        unsafe { std::slice::from_raw_parts(self.memory.start().add(self.values.start), self.values.len()) }
    }
}

impl<T: Element> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().add(self.values.start), self.values.len()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept() -> usize {
        f64::store().with_borrow(|store| store.scratch.memory.as_ref().map_or(0, |memory| memory.len()))
    }

    #[test]
    fn a_thread_keeps_as_much_as_was_in_use_at_once() {
        let layer = |lengths: [usize; 3]| {
            let _first = Scratch::<f64>::of(lengths[0]);
            drop(Scratch::<f64>::of(lengths[1]));
            drop(Scratch::<f64>::of(lengths[2]));
        };
        for _ in 0..2 {
            layer([800, 80, 160]);
            layer([80, 16, 880]);
        }
        assert_eq!(kept(), 960);
        let address = Scratch::<f64>::of(8).as_ptr();
        assert_eq!(Scratch::<f64>::of(960).as_ptr(), address);
        assert!(address.cast::<u8>().align_offset(LINE) == 0);
    }

    proptest! {
        #[test]
        fn scratch_that_is_in_use_never_overlaps(steps in prop::collection::vec((0_usize..100, any::<prop::sample::Index>(), any::<bool>()), 1..60)) {
            let mut in_use: Vec<(Scratch<u16>, u16)> = Vec::new();
            for (i, (len, which, grow)) in (0..).zip(steps) {
                if grow || in_use.is_empty() {
                    let mut scratch = Scratch::of(len);
                    scratch.fill(i);
                    in_use.push((scratch, i));
                } else {
                    in_use.remove(which.index(in_use.len()));
                }
                for (scratch, value) in &in_use {
                    prop_assert!(scratch.iter().all(|of| of == value));
                }
            }
        }
    }
}
