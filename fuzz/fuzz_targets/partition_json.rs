//! Reads a partition.json.
#![no_main]

use effgan_fuzz::partition;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| partition::check(bytes));
