//! The effgan program.

use std::process::ExitCode;

fn main() -> ExitCode {
    effgan_cli::main()
}
