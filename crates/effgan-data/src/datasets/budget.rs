//! The memory that reading a data set may take, which is reserved before it is allocated.

use super::max_memory::{GIB, MIB, MaxMemory};
use crate::DataError;
use std::{
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

/// Memory of all pictures that are being decoded at the same time; a picture that needs more is decoded alone.
const IN_FLIGHT: u64 = GIB;

/// The target shape of images that are being read, and the memory that is left for reading them.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    size: Option<usize>,
    channels: Option<usize>,
    max_memory: MaxMemory,
    reserved: u64,
}

impl Budget {
    /// A budget from which nothing is reserved yet.
    pub(super) const fn new(size: Option<usize>, channels: Option<usize>, max_memory: MaxMemory) -> Self {
        Self { size, channels, max_memory, reserved: 0 }
    }

    /// The default budget, without a target shape.
    pub(super) fn as_they_are() -> Self {
        Self::new(None, None, MaxMemory::default())
    }

    /// The target shape of images of shape `from`.
    pub(super) fn shape(&self, [c, h, w]: [usize; 3]) -> [usize; 3] {
        [self.channels.unwrap_or(c), self.size.unwrap_or(h), self.size.unwrap_or(w)]
    }

    /// Reserves the memory of `num_images` in shape `from` and, if that is not the target shape, also in the target shape.
    ///
    /// # Errors
    /// [`DataError::TooMuchMemory`]; then nothing is reserved.
    pub(super) fn reserve(&mut self, num_images: usize, from: [usize; 3]) -> Result<(), DataError> {
        let to = self.shape(from);
        let resized = if to == from {
            0
        } else {
            bytes_of(num_images, to).saturating_add(resizing(from, to).saturating_mul(threads()))
        };
        self.reserve_bytes(num_images, to, bytes_of(num_images, from).saturating_add(resized))
    }

    /// Reserves the memory of `num_images` of `shape` that are decoded in place.
    ///
    /// # Errors
    /// [`DataError::TooMuchMemory`]; then nothing is reserved.
    pub(super) fn reserve_in_place(&mut self, num_images: usize, shape: [usize; 3]) -> Result<(), DataError> {
        self.reserve_bytes(num_images, shape, bytes_of(num_images, shape))
    }

    fn reserve_bytes(&mut self, num_images: usize, shape: [usize; 3], more: u64) -> Result<(), DataError> {
        let bytes = self.reserved.saturating_add(more);
        if bytes > self.max_memory.bytes() {
            return Err(DataError::TooMuchMemory { num_images, shape, bytes, bound: self.max_memory });
        }
        self.reserved = bytes;
        Ok(())
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.max_memory.bytes() - self.reserved
    }

    /// The memory that is left, to be shared by decoders.
    pub(super) fn decoders(&self) -> Decoders {
        Decoders {
            max_bytes: self.left(),
            max_memory: self.max_memory,
            free: Mutex::new(Free { bytes: self.left().min(IN_FLIGHT), waiting: 0 }),
            freed: Condvar::new(),
        }
    }
}

/// Bytes of `num_images` images of `shape`.
pub(super) fn bytes_of(num_images: usize, shape: [usize; 3]) -> u64 {
    shape.iter().fold(num_images as u64, |bytes, &side| bytes.saturating_mul(side as u64))
}

/// Temporary memory for converting one image from one shape to another: its planes in the target channels, the cropped square of
/// one plane, and the filter's columns at four f32 per pixel.
pub(super) fn resizing([_, h, w]: [usize; 3], [c, side, _]: [usize; 3]) -> u64 {
    let square = h.min(w) as u64;
    (c as u64 * h as u64 * w as u64) + square * square + 16 * square * side as u64 + 2 * c as u64 * (side * side) as u64
}

fn threads() -> u64 {
    thread::available_parallelism().map_or(1, |threads| threads.get() as u64)
}

/// Memory that is shared by decoders; each waits until enough is free.
pub(super) struct Decoders {
    max_bytes: u64,
    max_memory: MaxMemory,
    free: Mutex<Free>,
    freed: Condvar,
}

struct Free {
    bytes: u64,
    /// Decoders that wait. Waking those that wait is a call of the system, even where there are none.
    waiting: usize,
}

impl Decoders {
    /// Waits until `bytes` are free, and calls `work`, which needs them. Work that needs more than decoders share runs alone.
    ///
    /// # Errors
    /// One line of text when `bytes` would never be free, or when `work` fails.
    pub(super) fn with<T>(&self, bytes: u64, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        if bytes > self.max_bytes {
            let [needed, left] = [bytes.div_ceil(MIB), self.max_bytes / MIB];
            return Err(format!(
                "needs {needed} MiB to decode, and dataset.max_memory = {} leaves {left} MiB; raise it or remove the file",
                self.max_memory
            ));
        }
        let share = bytes.min(self.max_bytes.min(IN_FLIGHT));
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.waiting += 1;
        let waited = self.freed.wait_while(free, |free| free.bytes < share);
        let mut free = waited.unwrap_or_else(PoisonError::into_inner);
        free.waiting -= 1;
        free.bytes -= share;
        drop(free);
        let _freed_on_drop = Reserved { of: self, share };
        work()
    }
}

/// Frees the memory of a decoder when dropped, also when it panics.
struct Reserved<'a> {
    of: &'a Decoders,
    share: u64,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut free = self.of.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.bytes += self.share;
        if free.waiting > 0 {
            self.of.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn decoders_share_what_is_left_and_a_large_one_runs_alone() {
        let decoders = Budget::new(None, None, MaxMemory::from_mib(4096).unwrap()).decoders();
        let (now, peak) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = |bytes: u64| {
            decoders.with(bytes, || {
                peak.fetch_max(now.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                thread::sleep(std::time::Duration::from_millis(2));
                now.fetch_sub(bytes, Ordering::SeqCst);
                Ok(())
            })
        };
        thread::scope(|scope| {
            for bytes in (1..=24).map(|i| i * GIB / 16) {
                scope.spawn(move || work(bytes).unwrap());
            }
        });
        assert_eq!(peak.load(Ordering::SeqCst), 24 * GIB / 16, "the largest, and nothing beside it");
        assert_eq!(
            work(4 * GIB + 1).unwrap_err(),
            "needs 4097 MiB to decode, and dataset.max_memory = 4 GiB leaves 4096 MiB; raise it or remove the file"
        );
    }
}
