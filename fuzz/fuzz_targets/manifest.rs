//! Reads the manifest of a model folder.
#![no_main]

use effgan_fuzz::manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| manifest::check(bytes));
