//! Whether pictures of 16 bits fill their range: scanners often store 10 or 12 bits as 16, and a CT's signed values all lie in the middle.

use crate::{DataError, datasets::picture::Levels};
use std::sync::{Mutex, PoisonError};

/// A quarter of the range of 16 bits; values that fill less look black, or all alike.
const QUARTER: u16 = u16::MAX / 4;

/// The least and the largest value of all pictures with 16 bits.
#[derive(Default)]
pub(in crate::datasets) struct DeepValues(Mutex<Option<[u16; 2]>>);

impl DeepValues {
    /// Takes the least and the largest value of one picture into account.
    pub(in crate::datasets) fn see(&self, range: Option<[u16; 2]>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = match (*seen, range) {
            (Some([least, largest]), Some([low, high])) => Some([least.min(low), largest.max(high)]),
            (seen, range) => seen.or(range),
        };
    }

    /// The values of `dataset.black` and `dataset.white` that spread the pictures, where they fill less than a quarter of the range.
    pub(in crate::datasets) fn levels(&self) -> Option<[u16; 2]> {
        match self.range()? {
            [_, white @ 1..=QUARTER] => Some([0, white]),
            [black, white] if black < white && white - black <= QUARTER => Some([black, white]),
            _ => None,
        }
    }

    /// A line about pictures that are too dark, or too much alike, for the `levels` of the config.
    pub(in crate::datasets) fn note(&self, levels: Option<Levels>) -> Result<Option<String>, DataError> {
        match (self.range(), levels) {
            (None, Some(_)) => Err(DataError::NoDeepImages),
            (_, Some(_)) => Ok(None),
            _ => Ok(self.levels().map(line)),
        }
    }

    fn range(&self) -> Option<[u16; 2]> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line([black, white]: [u16; 2]) -> String {
    match black {
        0 => format!(
            "no 16-bit image has a value above {white} of 65535, so that they are dark; dataset.white = {white} makes that white"
        ),
        _ => format!(
            "all values of the 16-bit images are from {black} to {white} of 65535, so that they have little contrast; \
             dataset.black = {black} and dataset.white = {white} spread them"
        ),
    }
}
