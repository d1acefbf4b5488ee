//! Reads two IDX files.
#![no_main]

use effgan_fuzz::idx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (images, labels) = idx::parts(bytes);
    idx::check(images, labels, "");
});
