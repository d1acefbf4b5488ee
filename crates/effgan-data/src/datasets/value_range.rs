//! `dataset.range`: which values of an array are black and white.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// The values of black and white, both finite and black the lower one. In a config it is a list such as `[0, 1]` or `[-1, 1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueRange {
    low: f64,
    high: f64,
}

/// Its numbers are finite.
impl Eq for ValueRange {}

impl ValueRange {
    /// The range from `low` to `high`; `None` unless both and their difference are finite, and `low` is below `high`.
    pub fn new(low: f64, high: f64) -> Option<Self> {
        let is_range = low.is_finite() && high.is_finite() && low < high && (high - low).is_finite();
        is_range.then_some(Self { low, high })
    }

    /// The byte nearest to `value`, where black is 0 and white is 255, and a value in the middle of two bytes becomes the larger one;
    /// `None` for NaN and outside of the range.
    pub(super) fn byte(self, value: f64) -> Option<u8> {
        let Self { low, high } = self;
        (low..=high).contains(&value).then(|| ((value - low) / (high - low) * 255.0).round() as u8)
    }
}

impl fmt::Display for ValueRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.low, self.high)
    }
}

impl Serialize for ValueRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.low, self.high].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ValueRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Two;
        impl<'de> de::Visitor<'de> for Two {
            type Value = ValueRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "two finite numbers, the values of black and white with the lower one first, such as [0, 1] or [-1, 1]",
                )
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<ValueRange, A::Error> {
                let wrong = || de::Error::invalid_value(de::Unexpected::Seq, &self);
                let mut next = || list.next_element::<f64>().map_err(|_| wrong());
                match (next()?, next()?, next()?) {
                    (Some(low), Some(high), None) => ValueRange::new(low, high).ok_or_else(wrong),
                    _ => Err(wrong()),
                }
            }
        }
        deserializer.deserialize_seq(Two)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_the_nearest_byte() {
        let bytes = |low, high, values: &[f64]| -> Vec<Option<u8>> {
            values.iter().map(|&value| ValueRange::new(low, high).unwrap().byte(value)).collect()
        };
        // By NumPy: np.floor((x - low) / (high - low) * 255 + 0.5).
        assert_eq!(bytes(0.0, 1.0, &[0.0, 0.001, 0.002, 0.5, 1.0]), [0, 0, 1, 128, 255].map(Some));
        assert_eq!(bytes(-1.0, 1.0, &[-1.0, -0.5, 0.0, 0.25, 1.0]), [0, 64, 128, 159, 255].map(Some));
        assert_eq!(bytes(0.0, 4095.0, &[0.0, 8.0, 9.0, 2048.0, 4095.0]), [0, 0, 1, 128, 255].map(Some));
        // The difference is the smallest number above 0.
        assert_eq!(bytes(0.0, 5e-324, &[0.0, 5e-324]), [0, 255].map(Some));
        assert_eq!(bytes(0.0, 1.0, &[-1e-9, 1.000_000_1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]), [None; 5]);
    }

    #[test]
    fn every_byte_that_was_mapped_to_a_range_comes_back() {
        for byte in 0..=255 {
            let value = f32::from(byte);
            let of = |low, high, value: f32| ValueRange::new(low, high).unwrap().byte(value.into());
            assert_eq!(of(0.0, 1.0, value / 255.0), Some(byte));
            assert_eq!(of(-1.0, 1.0, value / 127.5 - 1.0), Some(byte));
            assert_eq!(of(0.0, 255.0, value), Some(byte));
        }
    }

    #[test]
    fn a_range_is_two_finite_numbers_in_order() {
        let range: ValueRange = serde_json::from_str("[0, 4095]").unwrap();
        assert_eq!((range, range.to_string().as_str()), (ValueRange::new(0.0, 4095.0).unwrap(), "[0, 4095]"));
        assert_eq!(serde_json::to_string(&range).unwrap(), "[0.0,4095.0]");
        for wrong in
            ["[]", "[1]", "[0, 1, 2]", "[1, 0]", "[1, 1]", "[0, \"1\"]", "[[0], 1]", "[-1e308, 1e308]", "1", "{}"]
        {
            let error = serde_json::from_str::<ValueRange>(wrong).unwrap_err().to_string();
            assert!(error.contains("expected two finite numbers, the values of black and white"), "{wrong}: {error}");
        }
        for [low, high] in [[f64::NAN, 1.0], [0.0, f64::NAN], [0.0, f64::INFINITY], [f64::NEG_INFINITY, 0.0]] {
            assert_eq!(ValueRange::new(low, high), None);
        }
    }
}
