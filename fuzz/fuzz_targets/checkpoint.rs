//! Goes on from a checkpoint.
#![no_main]

use effgan_fuzz::checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checkpoint::check(bytes));
