//! Reused memory: a page that is new from the system takes as much time as filling it.
//!
//! A training step takes and gives back vectors of the same lengths over and over. Each thread keeps what was given
//! back, by length and type, so that in the steady state nothing is allocated. It keeps no more vectors of a length
//! than were ever taken at once, so that the store does not grow: a vector that Burn allocated is kept only in the
//! place of one that was taken from here and that Burn has dropped.
//!
//! What lives inside a kernel is [`Scratch`], which is not kept by length.
//!
//! Memory that is taken has unspecified contents. [`fill_with_nan`] makes tests notice a kernel that reads what it has
//! not written.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::LocalKey;

mod scratch;

pub use scratch::Scratch;
use scratch::Stack;

/// Maximum number of lengths that a thread keeps; a training step has a few dozen.
const MAX_LENGTHS: usize = 256;

/// A type of value that memory is kept for. Each type has its own store.
pub trait Element: Copy + 'static {
    /// The value that new memory is filled with.
    const ZERO: Self;
    /// The value that memory is filled with after [`fill_with_nan`].
    const POISON: Self;

    /// The store of the current thread.
    fn store() -> &'static LocalKey<RefCell<Store<Self>>>;
}

/// Implements [`Element`] for `$element`.
macro_rules! kept_by_length {
    ($element:ty, $zero:expr, $poison:expr) => {
        impl $crate::buffer::Element for $element {
            const ZERO: Self = $zero;
            const POISON: Self = $poison;

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
kept_by_length!(u16, 0, 0x5555);

/// The vectors of one type that a thread keeps.
#[derive(Debug)]
pub struct Store<T> {
    by_length: Vec<Pool<T>>,
    scratch: Stack<T>,
}

/// The vectors of one length.
#[derive(Debug)]
struct Pool<T> {
    len: usize,
    /// Number of vectors that are taken and not given back.
    in_use: usize,
    kept: Vec<Vec<T>>,
}

impl<T: Element> Store<T> {
    /// An empty store.
    pub const EMPTY: Self = Self { by_length: Vec::new(), scratch: Stack::EMPTY };

    fn take(&mut self, len: usize) -> Vec<T> {
        let place = self.by_length.iter().position(|pool| pool.len == len).unwrap_or_else(|| {
            if self.by_length.len() == MAX_LENGTHS {
                self.by_length.remove(0);
            }
            self.by_length.push(Pool { len, in_use: 0, kept: Vec::new() });
            self.by_length.len() - 1
        });
        let pool = &mut self.by_length[place];
        pool.in_use += 1;
        pool.kept.pop().unwrap_or_else(|| vec![T::ZERO; len])
    }

    fn give_back(&mut self, vector: Vec<T>) {
        let pool = self.by_length.iter_mut().find(|pool| pool.len == vector.len() && pool.in_use > 0);
        if let Some(pool) = pool {
            pool.in_use -= 1;
            pool.kept.push(vector);
        }
    }
}

/// Whether [`take`] and [`Scratch::of`] fill what they return with [`Element::POISON`].
static FILL_WITH_NAN: AtomicBool = AtomicBool::new(cfg!(test));

/// From now on, fills all memory that any thread [`take`]s with NaN, for tests of what runs on these kernels: a value
/// that is read before it was written shows in the result. The tests of this crate do so from the start.
// Not `cfg!(test)` alone, which is false when this crate is compiled for the tests of another one.
pub fn fill_with_nan() {
    FILL_WITH_NAN.store(true, Ordering::Relaxed);
}

/// A vector of length `len` with unspecified contents: the caller writes all of it before reading.
pub fn take<T: Element>(len: usize) -> Vec<T> {
    let mut vector = T::store().with_borrow_mut(|store| store.take(len));
    if FILL_WITH_NAN.load(Ordering::Relaxed) {
        vector.fill(T::POISON);
    }
    vector
}

/// Keeps `vector` for the next call of [`take`] with its length on this thread.
pub fn give_back<T: Element>(vector: Vec<T>) {
    // A thread that is ending may have dropped its store.
    let _ = T::store().try_with(|store| store.borrow_mut().give_back(vector));
}

/// A vector that is [taken](take), and [given back](give_back) when dropped.
#[derive(Debug, PartialEq)]
pub struct Reused<T: Element>(Vec<T>);

/// Reused memory for f32.
pub type Buffer = Reused<f32>;
/// Reused memory for one bit per value, 16 to a number.
pub type Bits = Reused<u16>;
/// Reused memory for f64, in which sums are taken.
pub type Sums = Reused<f64>;

impl<T: Element> Reused<T> {
    /// Memory of length `len` with unspecified contents.
    pub fn of(len: usize) -> Self {
        Self(take(len))
    }

    /// Memory of length `len`, filled with zeros.
    pub fn zeros(len: usize) -> Self {
        let mut zeros = Self::of(len);
        zeros.fill(T::ZERO);
        zeros
    }

    /// The vector itself, which is given back only when the caller [does so](give_back).
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
    fn a_dropped_buffer_is_reused_by_the_next_of_its_length() {
        let first = Buffer::of(10_001);
        let address = first.as_ptr();
        drop(first);
        assert_ne!(Buffer::of(10_002).as_ptr(), address);
        assert_eq!(Buffer::of(10_001).as_ptr(), address);
    }

    #[test]
    fn no_more_vectors_are_kept_than_were_taken_at_once() {
        let kept =
            || f32::store().with_borrow(|store| store.by_length.iter().map(|pool| pool.kept.len()).sum::<usize>());
        drop([Buffer::of(5), Buffer::of(5)]);
        drop(Buffer::of(5));
        assert_eq!(kept(), 2);
        // Allocated elsewhere.
        give_back(vec![0.0_f32; 5]);
        give_back(vec![0.0_f32; 6]);
        assert_eq!(kept(), 2);
        // One is lost, and another one given back in its place.
        let lost = take::<f32>(5);
        give_back(vec![0.0_f32; 5]);
        drop(lost);
        assert_eq!(kept(), 2);
    }
}
