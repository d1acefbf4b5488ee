//! Colours: palettes, planes, and luma with two differences of colour.

use super::{image_pixel::ImagePixel, lookup_table::LookupTable, tag, values::Group};

/// The red, green and blue of each word that a sample can be (DICOM PS3.3, section C.7.6.3.1.5).
pub(super) fn palette(file: Group<'_>, pixel: &ImagePixel) -> Result<Vec<[u8; 3]>, String> {
    let tags = tag::PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR.into_iter().zip(tag::PALETTE_COLOR_LOOKUP_TABLE_DATA);
    let tables = tags.map(|(descriptor, data)| LookupTable::of(file, descriptor, data, pixel));
    let tables = tables.collect::<Result<Option<Vec<_>>, String>>()?;
    let Some([red, green, blue]) = tables.as_deref() else {
        return Err("has a palette without red, green and blue, or in segments; convert it to RGB".into());
    };
    let words = 0..=u16::MAX >> (16 - pixel.bits_allocated);
    Ok(words.map(|word| [red, green, blue].map(|table| table.byte(pixel.stored(word)))).collect())
}

/// Red, green and blue of `YBR_FULL` (PS3.3, section C.7.6.3.1.2), rounded.
pub(super) fn rgb([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let (luma, blue, red) = (f32::from(luma), f32::from(blue) - 128.0, f32::from(red) - 128.0);
    // A cast keeps within the range of a byte.
    [luma + 1.402 * red, luma - 0.344_136 * blue - 0.714_136 * red, luma + 1.772 * blue]
        .map(|value| value.round() as u8)
}

/// Copies pixels of three bytes, which may be in three planes.
pub(super) fn interleave(samples: &[u8], are_planes: bool, output: &mut [u8]) {
    if !are_planes {
        return output.copy_from_slice(samples);
    }
    let num_pixels = output.len() / 3;
    for (i, pixel) in output.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *pixel = [samples[i], samples[num_pixels + i], samples[2 * num_pixels + i]];
    }
}
