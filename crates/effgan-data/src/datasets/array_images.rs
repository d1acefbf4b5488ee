//! Images from an array: bytes as they are, and other numbers by `dataset.range`.

use super::{
    array_layout::ArrayLayout,
    budget::Budget,
    npy::{Kind, OpenArray},
    value_range::ValueRange,
};
use crate::DataError;

/// Images `[n, c, h, w]`, with the name of their array in messages.
pub(super) struct Images {
    pub(super) file: String,
    pub(super) num: usize,
    /// `[c, h, w]`
    pub(super) shape: [usize; 3],
    pub(super) pixels: Vec<u8>,
}

impl Images {
    /// Reads images, whose memory is reserved first. Other numbers than bytes are converted as they are read.
    pub(super) fn read(array: OpenArray, range: Option<ValueRange>, budget: &mut Budget) -> Result<Self, DataError> {
        array.check_size()?;
        let file = array.file.clone();
        let layout = array.header.kind().and_then(|kind| Ok((kind, ArrayLayout::of(&array.header.shape)?)));
        let (kind, layout) = layout.map_err(|reason| array.malformed(reason))?;
        let ArrayLayout { num, shape, .. } = layout;
        let pixels = match (kind, range) {
            (Kind::U8, None) => {
                budget.reserve(num, shape)?;
                array.bytes()?
            }
            (Kind::U8, Some(range)) => {
                let reason = format!(
                    "holds bytes, which are images as they are; remove dataset.range = {range}, which is for other numbers"
                );
                return Err(array.malformed(reason));
            }
            (_, Some(range)) => {
                budget.reserve(num, shape)?;
                in_range(array, range)?
            }
            (_, None) => return Err(without_range(array, kind)),
        };
        Ok(Self { file, num, shape, pixels: layout.channels_first(pixels) })
    }
}

/// The values as bytes.
fn in_range(array: OpenArray, range: ValueRange) -> Result<Vec<u8>, DataError> {
    let header = array.header.clone();
    array.values(Vec::with_capacity, |pixels, i, value| {
        let byte = range.byte(value).ok_or_else(|| {
            let position = header.position(i);
            format!(
                "has value {value} at {position:?}, outside of dataset.range = {range}; widen it, or correct the value"
            )
        })?;
        pixels.push(byte);
        Ok(())
    })
}

/// The error that nothing tells which values are black and white; it names the smallest and the largest.
fn without_range(array: OpenArray, kind: Kind) -> DataError {
    let file = array.file.clone();
    let none = |_| [f64::INFINITY, f64::NEG_INFINITY];
    let extremes = array.values(none, |[low, high], _, value| {
        (*low, *high) = (low.min(value), high.max(value));
        Ok(())
    });
    match extremes {
        Ok([low, high]) if low > high => {
            let reason =
                format!("holds {kind} values that are all NaN (not a number), which are no images; save them again");
            DataError::Malformed { file, reason }
        }
        Ok([low, high]) => {
            let reason = format!(
                "holds {kind} values from {low} to {high}; declare in a config which are black and white, by dataset.range = [0, 1], \
                 [-1, 1] or other values, or save uint8 values from 0 to 255"
            );
            DataError::Malformed { file, reason }
        }
        Err(error) => error,
    }
}
