//! Lookup tables of grey values and of palettes (DICOM PS3.3, sections C.11.1.1 and C.7.6.3.1.5).

use super::{image_pixel::ImagePixel, tag::Tag, values::Group};

/// A table of entries for consecutive values.
pub(super) struct LookupTable {
    /// The value that the first entry is for.
    first: i32,
    /// From 1 to 65,536 entries.
    entries: Vec<u16>,
    /// Bits of an entry, 1..=16.
    bits: u16,
}

impl LookupTable {
    /// Reads the table with these tags, if there is one; the values that it is for are signed as those of `pixel`, unless it says so
    /// itself.
    ///
    /// # Errors
    /// The reason why it cannot be one.
    pub(super) fn of(group: Group<'_>, descriptor: Tag, data: Tag, pixel: &ImagePixel) -> Result<Option<Self>, String> {
        let mut numbers = group.words(descriptor);
        let (Some(len), Some(first), Some(bits)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return Ok(None);
        };
        let len = if len == 0 { 1 << 16 } else { usize::from(len) };
        let words = group.words(data);
        let entries: Vec<u16> = if words.clone().count() >= len {
            words.take(len).collect()
        } else {
            // Two entries of 8 bits share a word.
            words.flat_map(|word| [word & 0xff, word >> 8]).take(len).collect()
        };
        if entries.len() < len || !(1..=16).contains(&bits) {
            return Err(format!(
                "has a lookup table of {len} entries of {bits} bits in {} bytes",
                group.words(data).count() * 2
            ));
        }
        let is_signed = group.is_signed(descriptor).unwrap_or(pixel.is_signed);
        let first = if is_signed { i32::from(first.cast_signed()) } else { i32::from(first) };
        Ok(Some(Self { first, entries, bits }))
    }

    /// The entry for a value, which is that of the nearest value that has one.
    pub(super) fn get(&self, value: f64) -> u16 {
        // A cast keeps within the range of the integer.
        let place = (value - f64::from(self.first)).round() as usize;
        self.entries[place.min(self.entries.len() - 1)]
    }

    /// The greatest value that an entry can have.
    pub(super) fn max(&self) -> f64 {
        f64::from(u16::MAX >> (16 - self.bits))
    }

    /// The high byte of each entry, of those with 16 bits, or the entries themselves.
    pub(super) fn byte(&self, value: i32) -> u8 {
        let entry = self.get(value.into());
        if self.bits > 8 { (entry >> (self.bits - 8)) as u8 } else { entry as u8 }
    }
}
