//! The effgan program as a library: its commands, and the run that Python calls too.

mod commands;
mod config;
mod events;
mod failure;
mod machine;
mod output;
mod pictures;
mod pipeline;
mod progress;
mod report;
mod run_dir;
mod run_info;
mod scoring;
mod summary;
mod tensorboard;

use std::process::ExitCode;

use clap::Parser;
use effgan_nn::kernels::Isa;
use failure::Failure;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    match Isa::wanted().map_err(|error| Failure::usage(anyhow::Error::msg(error))).and_then(|_| cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("effgan: {}", failure.line());
            ExitCode::from(failure.kind() as u8)
        }
    }
}
