//! The effgan program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    effgan_cli::main()
}
