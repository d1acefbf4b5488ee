//! The `effgan` program: its commands, the setup of a federation, and the only code that prints.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one crate that prints")]

mod commands;
mod output;
mod setup;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

pub use output::log_to_stderr;
pub use setup::BUNDLE_SHA256;

/// The allocator of the binary and of the Python module: with the system's one a training step takes half as long again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// Runs a command line, which begins with the program's name, and returns the exit code.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    log_to_stderr();
    match commands::Cli::read(arguments).and_then(commands::Cli::run) {
        Ok(()) => 0,
        Err(failure) => {
            output::warn(&failure.line());
            failure.kind() as u8
        }
    }
}
