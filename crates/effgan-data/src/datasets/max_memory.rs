//! `dataset.max_memory`: an amount of memory in a config.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
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
                write!(
                    f,
                    "a whole number of MiB of at least 1 and at most {}, or a text such as \"8 GiB\"",
                    MAX_BYTES / MIB
                )
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
