//! `dataset.max_memory`: the memory that reading a data set may take, which is reserved before it is allocated.

use crate::DataError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    fmt,
    str::FromStr,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Memory of all pictures that are being decoded at the same time; a picture that needs more is decoded alone.
const IN_FLIGHT: u64 = GIB;
/// Largest bound, 1 PiB; a larger one is a typing error.
const MAX_BYTES: u64 = 1 << 50;

/// An amount of memory in whole MiB, 1 MiB to 1 PiB. In a config it is a whole number of MiB, or a text such as `"512 MiB"` or `"8 GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaxMemory(u64);

impl MaxMemory {
    /// `mib` MiB; `None` outside of 1 MiB to 1 PiB.
    pub fn from_mib(mib: u64) -> Option<Self> {
        mib.checked_mul(MIB).filter(|bytes| (MIB..=MAX_BYTES).contains(bytes)).map(Self)
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for MaxMemory {
    fn default() -> Self {
        Self(8 * GIB)
    }
}

impl fmt::Display for MaxMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = if self.0.is_multiple_of(GIB) { (GIB, "GiB") } else { (MIB, "MiB") };
        write!(f, "{} {name}", self.0 / unit)
    }
}

impl FromStr for MaxMemory {
    type Err = String;

    /// Reads `8 GiB` or `512 MiB`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a whole number of MiB or GiB of at least 1 MiB, such as \"8 GiB\"");
        let (number, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let factor = match unit.trim() {
            "MiB" => 1,
            "GiB" => GIB / MIB,
            _ => return Err(wrong()),
        };
        let mib = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        mib.and_then(Self::from_mib).ok_or_else(wrong)
    }
}

impl Serialize for MaxMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MaxMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl de::Visitor<'_> for Either {
            type Value = MaxMemory;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of MiB of at least 1, or a text such as \"8 GiB\"")
            }

            fn visit_u64<E: de::Error>(self, mib: u64) -> Result<MaxMemory, E> {
                MaxMemory::from_mib(mib).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(mib), &self))
            }

            fn visit_i64<E: de::Error>(self, mib: i64) -> Result<MaxMemory, E> {
                let unsigned = u64::try_from(mib).ok().and_then(MaxMemory::from_mib);
                unsigned.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(mib), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxMemory, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The target shape of images that are being read, and the memory that is left for reading them.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    size: Option<usize>,
    channels: Option<usize>,
    most: MaxMemory,
    reserved: u64,
}

impl Budget {
    /// A budget from which nothing is reserved yet.
    pub(super) const fn new(size: Option<usize>, channels: Option<usize>, most: MaxMemory) -> Self {
        Self { size, channels, most, reserved: 0 }
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
        if bytes > self.most.bytes() {
            return Err(DataError::TooMuchMemory { num_images, shape, bytes, bound: self.most });
        }
        self.reserved = bytes;
        Ok(())
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.most.bytes() - self.reserved
    }

    /// The memory that is left, to be shared by decoders.
    pub(super) fn decoders(&self) -> Decoders {
        Decoders {
            most: self.left(),
            bound: self.most,
            free: Mutex::new(self.left().min(IN_FLIGHT)),
            freed: Condvar::new(),
        }
    }
}

/// Bytes of `num_images` images of `shape`.
fn bytes_of(num_images: usize, shape: [usize; 3]) -> u64 {
    shape.iter().fold(num_images as u64, |bytes, &side| bytes.saturating_mul(side as u64))
}

/// Temporary memory for converting one image from one shape to another: its planes in the target channels, the cropped square of one plane, and the
/// filter's columns at four f32 per pixel.
pub(super) fn resizing([_, h, w]: [usize; 3], [c, side, _]: [usize; 3]) -> u64 {
    let square = h.min(w) as u64;
    (c as u64 * h as u64 * w as u64) + square * square + 16 * square * side as u64 + 2 * c as u64 * (side * side) as u64
}

fn threads() -> u64 {
    thread::available_parallelism().map_or(1, |threads| threads.get() as u64)
}

/// Memory that is shared by decoders; each waits until enough is free.
pub(super) struct Decoders {
    most: u64,
    bound: MaxMemory,
    free: Mutex<u64>,
    freed: Condvar,
}

impl Decoders {
    /// Waits until `bytes` are free, and calls `work`, which needs them. Work that needs more than decoders share runs alone.
    ///
    /// # Errors
    /// One line of text when `bytes` would never be free, or when `work` fails.
    pub(super) fn with<T>(&self, bytes: u64, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        if bytes > self.most {
            let [needed, left] = [bytes.div_ceil(MIB), self.most / MIB];
            return Err(format!(
                "needs {needed} MiB to decode, and dataset.max_memory = {} leaves {left} MiB; raise it or remove the file",
                self.bound
            ));
        }
        let share = bytes.min(self.most.min(IN_FLIGHT));
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.freed.wait_while(free, |free| *free < share);
        *free.unwrap_or_else(PoisonError::into_inner) -= share;
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
        *self.of.free.lock().unwrap_or_else(PoisonError::into_inner) += self.share;
        self.of.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn bounds_are_written_as_they_are_read() {
        for (text, shown, bytes) in [
            ("\"8 GiB\"", "8 GiB", 8 * GIB),
            ("\"1536 MiB\"", "1536 MiB", 1536 * MIB),
            ("1024", "1 GiB", GIB),
            ("1", "1 MiB", MIB),
        ] {
            let bound: MaxMemory = serde_json::from_str(text).unwrap();
            assert_eq!((bound.to_string().as_str(), bound.bytes()), (shown, bytes));
            assert_eq!(serde_json::from_str::<MaxMemory>(&serde_json::to_string(&bound).unwrap()).unwrap(), bound);
        }
        for wrong in
            ["0", "-1", "0.5", "\"8\"", "\"8 GB\"", "\"0 MiB\"", "\"99999999999999 GiB\"", "99999999999999999", "\"\""]
        {
            let error = serde_json::from_str::<MaxMemory>(wrong).unwrap_err().to_string();
            assert!(error.contains("expected a whole number of MiB of at least 1"), "{wrong}: {error}");
        }
    }

    #[test]
    fn decoders_share_what_is_left_and_a_large_one_runs_alone() {
        let decoders = Budget::new(None, None, MaxMemory(4 * GIB)).decoders();
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = |bytes: u64| {
            decoders.with(bytes, || {
                most.fetch_max(now.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
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
        assert_eq!(most.load(Ordering::SeqCst), 24 * GIB / 16, "the largest, and nothing beside it");
        assert_eq!(
            work(4 * GIB + 1).unwrap_err(),
            "needs 4097 MiB to decode, and dataset.max_memory = 4 GiB leaves 4096 MiB; raise it or remove the file"
        );
    }
}
