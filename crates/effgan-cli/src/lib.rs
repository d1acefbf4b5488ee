//! The effgan program as a library: its commands in [`main`], and in [`api`] what Python calls too.

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
mod steps;
mod summary;
mod sweep;
mod tensorboard;

use std::process::ExitCode;

pub use failure::{Failure, Kind, Result};

/// Of the binary and of the Python module alike. The system's allocator costs the CPU backend half as much again a training step; a fuzzer
/// counts what is asked of it.
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Does what the command line says.
pub fn main() -> ExitCode {
    match commands::Cli::read().and_then(commands::Cli::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("effgan: {}", failure.line());
            ExitCode::from(failure.kind() as u8)
        }
    }
}
