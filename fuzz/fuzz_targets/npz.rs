//! Reads zipped NumPy arrays.
#![no_main]

use effgan_fuzz::{mutate, numpy};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| numpy::check(bytes, "npz"));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::zip(data, size, max_size, seed) });
