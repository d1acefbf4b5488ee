//! Reads a picture.
#![no_main]

use effgan_fuzz::picture;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // A large picture takes the time of many small ones and finds no other errors. A header with more pixels than are allowed is refused at once.
    if (1 << 16..1 << 24).contains(&num_pixels(bytes)) {
        return Corpus::Reject;
    }
    picture::check(bytes);
    Corpus::Keep
});

/// Number of pixels by a PNG file's header, or by the first frame of a JPEG file.
fn num_pixels(bytes: &[u8]) -> u64 {
    let word = |at: usize| bytes.get(at..at + 2).map_or(0, |word| u64::from(word[0]) << 8 | u64::from(word[1]));
    let long = |at: usize| word(at) << 16 | word(at + 2);
    match bytes.windows(2).position(|marker| marker[0] == 0xff && matches!(marker[1], 0xc0..=0xc2)) {
        _ if bytes.starts_with(b"\x89PNG") => long(16) * long(20),
        Some(frame) => word(frame + 5) * word(frame + 7),
        None => 0,
    }
}
