//! `effgan completions`

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Cli;
use crate::output::write;
use effgan_run::failure::Result;

/// Print what a shell needs to complete commands and flags
///
/// For bash: `effgan completions bash > ~/.local/share/bash-completion/completions/effgan`
#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    #[allow(clippy::unnecessary_wraps)] // as every command
    pub(super) fn run(self) -> Result<()> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "effgan", &mut script);
        write(&script);
        Ok(())
    }
}
