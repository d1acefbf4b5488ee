//! Whether a JPEG file is whole. The decoder fills what is missing with grey and says nothing.
//!
//! Segments are followed from the first to the end-of-image marker (ITU-T T.81, annex B). So a thumbnail's marker in a header does
//! not count, and whatever follows the picture does not matter: phones append a film.

use std::io::{self, BufRead, Seek};

const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;

/// Checks that the picture ends; an error is the reason why it does not.
pub(super) fn check(reader: &mut (impl BufRead + Seek)) -> Result<(), String> {
    let followed = reader.rewind().and_then(|()| follow_segments(reader));
    followed.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "is truncated".into(),
        _ => error.to_string(),
    })
}

/// Reads to the end of the image.
///
/// # Errors
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when there is none.
fn follow_segments(reader: &mut (impl BufRead + Seek)) -> io::Result<()> {
    loop {
        match next_marker(reader)? {
            END_OF_IMAGE => return Ok(()),
            START_OF_IMAGE => {}
            _ => {
                let mut len = [0; 2];
                reader.read_exact(&mut len)?;
                reader.seek_relative(i64::from(u16::from_be_bytes(len)).saturating_sub(2).max(0))?;
            }
        }
    }
}

/// Reads to the next marker, over the coded data of a scan and the markers within it.
fn next_marker(reader: &mut impl BufRead) -> io::Result<u8> {
    let mut byte = [0];
    loop {
        reader.skip_until(0xff)?;
        // Any number of 0xff may stand before a marker.
        while {
            reader.read_exact(&mut byte)?;
            byte[0] == 0xff
        } {}
        if byte[0] != 0 && !RESTARTS.contains(&byte[0]) {
            return Ok(byte[0]);
        }
    }
}
