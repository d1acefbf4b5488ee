//! Reads an IDX file of images in gzip.
#![no_main]

use effgan_fuzz::{idx, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| idx::check_gzip(bytes));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::gzip(data, size, max_size, seed) });
