//! Images from an array: bytes as they are, and other numbers by `dataset.range`.

use super::{
    budget::Budget,
    npy::{Header, Kind, OpenArray},
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
        let layout = array.header.kind().and_then(|kind| Ok((kind, Layout::of(&array.header)?)));
        let (kind, Layout { num, shape, channels_last }) = layout.map_err(|reason| array.malformed(reason))?;
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
        let pixels = if channels_last { channels_first(pixels, shape) } else { pixels };
        Ok(Self { file, num, shape, pixels })
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

/// The layout of images in an array.
struct Layout {
    num: usize,
    /// `[c, h, w]`
    shape: [usize; 3],
    channels_last: bool,
}

impl Layout {
    /// The layout by the array's shape; an error is the reason why these are not images.
    fn of(Header { shape, .. }: &Header) -> Result<Self, String> {
        if shape.contains(&0) {
            return Err(format!("holds no images, its shape is {shape:?}"));
        }
        let is_channels = |size: usize| matches!(size, 1 | 3);
        match **shape {
            [num, h, w] => Ok(Self { num, shape: [1, h, w], channels_last: false }),
            [num, a, b, c] => match [a, c].map(is_channels) {
                [true, false] => Ok(Self { num, shape: [a, b, c], channels_last: false }),
                [false, true] => Ok(Self { num, shape: [c, a, b], channels_last: true }),
                [true, true] => Err(format!(
                    "has shape {shape:?}, of which both {a} and {c} may be the channels; save images of another size, or grey ones as [n, h, w]"
                )),
                [false, false] => Err(format!(
                    "has shape {shape:?}, expected [n, c, h, w] or [n, h, w, c] with c = 1 (grey) or 3 (red, green, blue)"
                )),
            },
            _ => Err(format!("has shape {shape:?}, expected [n, h, w], [n, c, h, w] or [n, h, w, c]")),
        }
    }
}

/// `[n, h, w, c]` as `[n, c, h, w]`.
fn channels_first(mut pixels: Vec<u8>, [c, h, w]: [usize; 3]) -> Vec<u8> {
    let mut planes = Vec::with_capacity(h * w * c);
    for image in pixels.chunks_exact_mut(h * w * c) {
        planes.extend((0..c).flat_map(|channel| image.iter().skip(channel).step_by(c)));
        image.copy_from_slice(&planes);
        planes.clear();
    }
    pixels
}
