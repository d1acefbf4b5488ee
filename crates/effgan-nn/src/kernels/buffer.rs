//! Memory that is used again: fresh pages from the system would cost as much as filling them.
//!
//! A training step takes and gives back the same lengths over and over. Each thread keeps what was given back, by
//! length, so that the steady state asks the system for nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Vectors that a thread keeps; a training step has fewer at once.
const MOST_KEPT: usize = 64;
/// Shorter ones are left to the allocator, which is good at them.
const SHORTEST_KEPT: usize = 1 << 12;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A vector of `len` floats that hold anything: whoever takes it writes all of it.
pub fn take(len: usize) -> Vec<f32> {
    let kept = KEPT.with_borrow_mut(|kept| {
        let place = kept.iter().position(|vector| vector.len() == len)?;
        Some(kept.remove(place))
    });
    let mut vector = kept.unwrap_or_else(|| vec![0.0; len]);
    if cfg!(test) {
        // What is read before it is written shall be seen.
        vector.fill(f32::NAN);
    }
    vector
}

/// Keeps `vector` for the next that [`take`]s its length.
pub fn give_back(vector: Vec<f32>) {
    if vector.len() < SHORTEST_KEPT {
        return;
    }
    // A thread that ends has no store any more.
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() == MOST_KEPT {
            kept.remove(0);
        }
        kept.push(vector);
    });
}

/// A vector that is [given back](give_back) when dropped.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// A buffer of `len` floats that hold anything.
    pub fn of(len: usize) -> Self {
        Self(take(len))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0));
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again_by_the_next_of_its_length() {
        let first = Buffer::of(10_001);
        let address = first.as_ptr();
        drop(first);
        assert_ne!(Buffer::of(10_002).as_ptr(), address);
        assert_eq!(Buffer::of(10_001).as_ptr(), address);
    }
}
