//! The stored samples of the one frame of a file, without the compression of its transfer syntax.

use super::{
    elements::{PixelData, Reader, TRUNCATED},
    image_pixel::ImagePixel,
    syntax::Encoding,
    tag,
};
use std::fs::File;

/// Checks that the file has as many bytes as the pixels need; an error is the reason why it has not.
pub(super) fn check_len(file: &File, pixels: &PixelData, pixel: &ImagePixel) -> Result<(), String> {
    let (needed, Some(len)) = (pixel.num_bytes(), pixels.len) else {
        return Err("has pixels in fragments, which only compressed ones may be".into());
    };
    if needed > u64::from(len) {
        return Err(format!("has {len} bytes of pixels, and needs {needed}"));
    }
    let file_len = file.metadata().map_err(|error| error.to_string())?.len();
    if pixels.start + needed > file_len { Err(TRUNCATED.into()) } else { Ok(()) }
}

/// Reads samples that are not compressed: of 8 bits, or of 16 in little-endian order.
pub(super) fn read(
    file: &mut File,
    pixels: &PixelData,
    pixel: &ImagePixel,
    encoding: Encoding,
) -> Result<Vec<u8>, String> {
    // Words of 16 bits are swapped whatever they hold, and their number may be odd.
    let are_swapped = encoding.is_big_endian && (pixel.bytes() == 2 || pixels.vr == Some(*b"OW"));
    let len = pixel.num_bytes() as usize;
    let mut bytes = vec![0; if are_swapped { len.next_multiple_of(2) } else { len }];
    Reader::at(file, pixels.start)?.fill(&mut bytes)?;
    if are_swapped {
        bytes.as_chunks_mut().0.iter_mut().for_each(|word: &mut [u8; 2]| word.reverse());
        bytes.truncate(len);
    }
    Ok(bytes)
}

/// Reads the fragments of a compressed frame, without the table of offsets before them.
pub(super) fn fragments(file: &mut File, pixels: &PixelData) -> Result<Vec<u8>, String> {
    let mut reader = Reader::at(file, pixels.start)?;
    if pixels.len.is_some() {
        return Err("has compressed pixels without fragments".into());
    }
    let (mut bytes, mut is_table) = (Vec::with_capacity(reader.left() as usize), true);
    loop {
        let item = reader.element(Encoding::EXPLICIT)?;
        match (item.tag, item.len) {
            (tag::SEQUENCE_DELIMITATION, _) => return Ok(bytes),
            (tag::ITEM, Some(len)) if is_table => reader.skip(len)?,
            (tag::ITEM, Some(len)) => reader.append(len, &mut bytes)?,
            _ => return Err(reader.damaged()),
        }
        is_table = false;
    }
}
