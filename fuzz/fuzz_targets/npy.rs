//! Reads a NumPy array.
#![no_main]

use effgan_fuzz::numpy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| numpy::check(bytes, "npy"));
