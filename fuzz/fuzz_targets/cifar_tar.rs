//! Reads the archive of CIFAR-10.
#![no_main]

use effgan_fuzz::{cifar_tar, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| cifar_tar::check(bytes));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::gzip(data, size, max_size, seed) });
