//! The effgan program as a library: its commands in [`main`], and in [`api`] what Python calls too.

#![allow(unreachable_pub)]

pub mod api;
mod commands;
mod config;
mod evaluation;
mod events;
mod failure;
mod federation;
mod machine;
mod output;
mod pictures;
mod pipeline;
mod progress;
mod report;
mod run_dir;
mod run_info;
mod scoring;
mod setup;
mod spreadsheet;
mod steps;
mod summary;
mod sweep;
mod tensorboard;

use std::ffi::OsString;
use std::process::ExitCode;

pub use failure::{Failure, Kind, Result};
pub use setup::BUNDLE_SHA256;

/// Of the binary and of the Python module alike. The system's allocator costs the CPU backend half as much again a training step; a fuzzer
/// counts what is asked of it.
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Does what the command line says.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// Does what a command line says, the program's name first, and answers with the exit code.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    match commands::Cli::read(arguments).and_then(commands::Cli::run) {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("effgan: {}", failure.line());
            failure.kind() as u8
        }
    }
}
