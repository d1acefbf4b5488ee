//! Reads a policy, and holds wishes against it.
#![no_main]

use effgan_fuzz::policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| policy::check(bytes));
