//! Memory that is used again: fresh pages from the system would cost as much as filling them.
//!
//! A training step takes and gives back the same lengths over and over. Each thread keeps what was given back, by
//! length, so that the steady state asks the allocator for nothing. It keeps as many vectors of a length as were ever
//! out at once, and so none that nobody will take: those that Burn made are dropped, but where they stand in for some
//! that Burn has dropped.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

/// Lengths that a thread remembers; a training step has some tens.
const MOST_LENGTHS: usize = 256;

/// What memory may hold: each type has a store of its own.
pub trait Element: Copy + 'static {
    /// What new memory holds.
    const ZERO: Self;
    /// What memory holds in tests: what is read before it is written shall be seen.
    const NOTHING: Self;

    /// This thread's store.
    fn store() -> &'static LocalKey<RefCell<Store<Self>>>;
}

/// Makes `$element` an [`Element`].
macro_rules! kept_by_length {
    ($element:ty, $zero:expr, $nothing:expr) => {
        impl $crate::buffer::Element for $element {
            const ZERO: Self = $zero;
            const NOTHING: Self = $nothing;

            fn store() -> &'static std::thread::LocalKey<std::cell::RefCell<$crate::buffer::Store<Self>>> {
                use $crate::buffer::Store;
                thread_local! {
                    static STORE: std::cell::RefCell<Store<$element>> = const { std::cell::RefCell::new(Store::EMPTY) };
                }
                &STORE
            }
        }
    };
}
pub(crate) use kept_by_length;

kept_by_length!(f32, 0.0, f32::NAN);
kept_by_length!(f64, 0.0, f64::NAN);

/// What a thread keeps of one type.
#[derive(Debug)]
pub struct Store<T>(Vec<Shelf<T>>);

/// The vectors of one length.
#[derive(Debug)]
struct Shelf<T> {
    len: usize,
    /// How many were taken and not given back.
    out: usize,
    kept: Vec<Vec<T>>,
}

impl<T: Element> Store<T> {
    /// Nothing kept.
    pub const EMPTY: Self = Self(Vec::new());

    fn take(&mut self, len: usize) -> Vec<T> {
        let place = self.0.iter().position(|shelf| shelf.len == len).unwrap_or_else(|| {
            if self.0.len() == MOST_LENGTHS {
                self.0.remove(0);
            }
            self.0.push(Shelf { len, out: 0, kept: Vec::new() });
            self.0.len() - 1
        });
        let shelf = &mut self.0[place];
        shelf.out += 1;
        shelf.kept.pop().unwrap_or_else(|| vec![T::ZERO; len])
    }

    fn give_back(&mut self, vector: Vec<T>) {
        let shelf = self.0.iter_mut().find(|shelf| shelf.len == vector.len() && shelf.out > 0);
        if let Some(shelf) = shelf {
            shelf.out -= 1;
            shelf.kept.push(vector);
        }
    }
}

/// A vector of length `len` that holds anything: whoever takes it writes all of it.
pub fn take<T: Element>(len: usize) -> Vec<T> {
    let mut vector = T::store().with_borrow_mut(|store| store.take(len));
    if cfg!(test) {
        vector.fill(T::NOTHING);
    }
    vector
}

/// Keeps `vector` for the next that [`take`]s its length.
pub fn give_back<T: Element>(vector: Vec<T>) {
    // A thread that ends has no store any more.
    let _ = T::store().try_with(|store| store.borrow_mut().give_back(vector));
}

/// A vector that is [given back](give_back) when dropped.
#[derive(Debug, PartialEq)]
pub struct Reused<T: Element>(Vec<T>);

/// One of f32.
pub type Buffer = Reused<f32>;
/// One of f64, in which sums are taken.
pub type Sums = Reused<f64>;

impl<T: Element> Reused<T> {
    /// Memory of length `len` that holds anything.
    pub fn of(len: usize) -> Self {
        Self(take(len))
    }

    /// Memory of length `len` that holds zeros.
    pub fn zeros(len: usize) -> Self {
        let mut zeros = Self::of(len);
        zeros.fill(T::ZERO);
        zeros
    }

    /// The vector, which whoever has it may [give back](give_back).
    pub fn into_vec(mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }
}

impl<T: Element> Default for Reused<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Element> Clone for Reused<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::of(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Element> Drop for Reused<T> {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0));
    }
}

impl<T: Element> Deref for Reused<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Element> DerefMut for Reused<T> {
    fn deref_mut(&mut self) -> &mut [T] {
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

    #[test]
    fn no_more_are_kept_than_were_out_at_once() {
        let kept = || f32::store().with_borrow(|store| store.0.iter().map(|shelf| shelf.kept.len()).sum::<usize>());
        drop([Buffer::of(5), Buffer::of(5)]);
        drop(Buffer::of(5));
        assert_eq!(kept(), 2);
        // Made by somebody else.
        give_back(vec![0.0_f32; 5]);
        give_back(vec![0.0_f32; 6]);
        assert_eq!(kept(), 2);
        // One goes to somebody who gives back another.
        let lost = take::<f32>(5);
        give_back(vec![0.0_f32; 5]);
        drop(lost);
        assert_eq!(kept(), 2);
    }
}
