//! Run lengths (DICOM PS3.5, annex G): a segment for each byte of each sample, packed as `PackBits` does.

use super::elements::TRUNCATED;

/// Number of 32-bit words before the segments: how many there are, and where each of at most 15 begins.
const HEADER: usize = 16;
/// Maximum number of bytes that a byte stands for: two stand for a run of up to 128.
pub(super) const RATIO: u64 = 64;

/// Unpacks a frame into one plane for each of its samples, of `num_pixels` little-endian samples of `bytes` bytes.
///
/// # Errors
/// The reason when the frame does not hold them.
pub(super) fn unpack(frame: &[u8], num_pixels: usize, samples: usize, bytes: usize) -> Result<Vec<u8>, String> {
    let words = frame.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word) as usize);
    let header: Vec<usize> = words.take(HEADER).collect();
    let [count, starts @ ..] = header.as_slice() else { return Err(TRUNCATED.into()) };
    if *count != samples * bytes {
        return Err(format!("has {count} segments of run lengths, and needs {}", samples * bytes));
    }
    let starts = starts.get(..samples * bytes).ok_or(TRUNCATED)?;
    let ends = starts.iter().skip(1).copied().chain([frame.len()]);
    let mut segments = starts.iter().zip(ends).map(|(&start, end)| frame.get(start..end).ok_or(TRUNCATED));
    let mut planes = vec![0; num_pixels * samples * bytes];
    for plane in planes.chunks_exact_mut(num_pixels * bytes) {
        // The highest byte comes first.
        for (place, segment) in (0..bytes).rev().zip(&mut segments) {
            unpack_segment(segment?, plane.iter_mut().skip(place).step_by(bytes)).ok_or(TRUNCATED)?;
        }
    }
    Ok(planes)
}

/// Fills all of `output`; what follows in the segment does not count. `None` when it ends before.
fn unpack_segment<'a>(segment: &[u8], mut output: impl ExactSizeIterator<Item = &'a mut u8>) -> Option<()> {
    let mut input = segment.iter();
    while output.len() > 0 {
        match *input.next()? {
            // Means nothing.
            128 => {}
            run @ 129.. => {
                let value = *input.next()?;
                output.by_ref().take(257 - usize::from(run)).for_each(|byte| *byte = value);
            }
            literal => {
                for byte in output.by_ref().take(usize::from(literal) + 1) {
                    *byte = *input.next()?;
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of these segments.
    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut header = vec![segments.len() as u32];
        let ends = segments.iter().scan(64, |end, segment| Some(std::mem::replace(end, *end + segment.len() as u32)));
        header.extend(ends);
        header.resize(HEADER, 0);
        header.into_iter().flat_map(u32::to_le_bytes).chain(segments.concat()).collect()
    }

    #[test]
    fn runs_and_literals_are_unpacked_into_words() {
        // PS3.5, section G.3.1: −2 repeats the next byte 3 times, 2 copies 3 bytes, −128 does nothing.
        let (high, low) = ([0xfe, 1, 0x80, 0, 2], [2, 10, 20, 30, 0, 40]);
        assert_eq!(unpack(&frame(&[&high, &low]), 4, 1, 2).unwrap(), [10, 1, 20, 1, 30, 1, 40, 2]);
        assert_eq!(unpack(&frame(&[&[0xff, 5], &[1, 6, 7], &[0xff, 8]]), 2, 3, 1).unwrap(), [5, 5, 6, 7, 8, 8]);
        // A run may go on into what pads the segment.
        assert_eq!(unpack(&frame(&[&[0x81, 9]]), 3, 1, 1).unwrap(), [9, 9, 9]);
    }

    #[test]
    fn a_frame_that_does_not_hold_its_pixels_is_an_error() {
        let whole = frame(&[&[2, 10, 20, 30]]);
        for len in 0..whole.len() {
            assert_eq!(unpack(&whole[..len], 3, 1, 1).unwrap_err(), "is truncated", "{len}");
        }
        assert_eq!(unpack(&whole, 3, 1, 2).unwrap_err(), "has 1 segments of run lengths, and needs 2");
        let mut far = whole.clone();
        far[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(unpack(&far, 3, 1, 1).unwrap_err(), "is truncated");
    }
}
