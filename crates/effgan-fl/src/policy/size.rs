//! Bytes, as people write them.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes, ≥ 1: `"4 GiB"`, or a number of MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl fmt::Display for Size {
    /// In the largest unit that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = UNITS.into_iter().find(|(_, unit)| self.0.is_multiple_of(*unit)).expect("bytes are whole");
        write!(f, "{} {name}", self.0 / unit)
    }
}

impl Size {
    fn parse(text: &str) -> Option<Self> {
        let (unit, number) = UNITS.into_iter().find_map(|(name, unit)| Some((unit, text.strip_suffix(name)?)))?;
        let bytes = number.trim_end().parse::<u64>().ok()?.checked_mul(unit)?;
        (bytes > 0).then_some(Self(bytes))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sizes)
    }
}

struct Sizes;

impl Visitor<'_> for Sizes {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a size such as \"4 GiB\", or a number of MiB")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).ok_or_else(|| E::custom(format!("{text:?} is no size; write \"4 GiB\", or a number of MiB")))
    }

    fn visit_u64<E: de::Error>(self, mib: u64) -> Result<Size, E> {
        let bytes = mib.checked_mul(1 << 20).filter(|&bytes| bytes > 0).map(Size);
        bytes.ok_or_else(|| E::custom(format!("{mib} is no number of MiB; write \"4 GiB\", or a number of MiB")))
    }

    fn visit_i64<E: de::Error>(self, mib: i64) -> Result<Size, E> {
        self.visit_u64(mib.try_into().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them_and_written_so() {
        let of = |json: &str| serde_json::from_str::<Size>(json).map_err(|error| error.to_string());
        assert_eq!(of("\"4 GiB\""), Ok(Size(4 << 30)));
        assert_eq!(of("\"64MiB\""), Ok(Size(64 << 20)));
        assert_eq!(of("512"), Ok(Size(512 << 20)));
        assert_eq!(of("\"1000 B\""), Ok(Size(1000)));
        for json in
            ["0", "-1", "\"\"", "\"4\"", "\"4 GB\"", "\"-4 GiB\"", "\"99999999999999 GiB\"", "99999999999999999", "1.5"]
        {
            assert!(of(json).is_err(), "{json}");
        }
        for (bytes, shown) in [(4 << 30, "4 GiB"), (1536 << 20, "1536 MiB"), (1000, "1000 B")] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }
}
