//! Reads a message of a federation.
#![no_main]

use effgan_fuzz::message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| message::check(bytes));
