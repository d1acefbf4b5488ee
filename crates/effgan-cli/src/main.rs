//! The effgan program.

use std::process::ExitCode;

/// The system's allocator costs the CPU backend half as much again a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    effgan_cli::main()
}
