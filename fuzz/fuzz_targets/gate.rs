//! Decides about a request at the gate.
#![no_main]

use effgan_fuzz::gate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| gate::check(bytes));
