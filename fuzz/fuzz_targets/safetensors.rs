//! Reads a safetensors file.
#![no_main]

use effgan_fuzz::safetensors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| safetensors::check(bytes));
