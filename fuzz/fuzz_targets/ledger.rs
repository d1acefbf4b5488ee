//! Reads a ledger, and adds a line to it.
#![no_main]

use effgan_fuzz::ledger;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ledger::check(bytes));
