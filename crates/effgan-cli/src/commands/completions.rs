//! `effgan completions`

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use effgan_run::failure::Result;

use super::Cli;
use crate::output::write;

/// Print a completion script for a shell
#[derive(Args)]
#[command(after_help = "Examples:
  effgan completions bash > ~/.local/share/bash-completion/completions/effgan
  effgan completions fish > ~/.config/fish/completions/effgan.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    #[expect(clippy::unnecessary_wraps, reason = "like every command")]
    pub(super) fn run(self) -> Result<()> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "effgan", &mut script);
        write(&script);
        Ok(())
    }
}
