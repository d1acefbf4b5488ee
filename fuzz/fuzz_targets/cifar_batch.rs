//! Reads a batch of CIFAR-10's Python version.
#![no_main]

use effgan_fuzz::cifar_batch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| cifar_batch::check(bytes));
