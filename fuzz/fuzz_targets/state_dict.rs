//! Reads a PyTorch state dict.
#![no_main]

use effgan_fuzz::{mutate, state_dict};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| state_dict::check(bytes));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::zip(data, size, max_size, seed) });
