//! Reads a config in TOML.
#![no_main]

use effgan_fuzz::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| config::check(bytes));
