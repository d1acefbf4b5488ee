//! `effgan man`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Command, CommandFactory};
use effgan_nn::file::write_file;
use effgan_run::failure::{EXIT_CODES, Failure, Result};
use effgan_run::record::run_dir::check_new_file;

use super::Cli;
use crate::output::{say, write};

/// Write manual pages
#[derive(Args)]
#[command(after_help = "Examples:
  effgan man --out man1
  effgan man > effgan.1")]
pub(super) struct Man {
    /// A folder for one page per command; without it, the page of `effgan` is printed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> Result<()> {
        match &self.out {
            None => write(&page(&program())?),
            Some(folder) => {
                make(folder).map_err(Failure::usage)?;
                say(folder.display());
            }
        }
        Ok(())
    }
}

/// The program with all its commands and its exit codes.
fn program() -> Command {
    // Without blank lines, man would join the lines of the table.
    let codes = EXIT_CODES.replace('\n', "\n\n");
    let extra = Cli::command().get_after_help().map(ToString::to_string).unwrap_or_default();
    let extra = format!("{extra}\n\nExit codes:\n\n{codes}");
    let mut program = Cli::command().disable_help_subcommand(true).after_long_help(extra);
    program.build();
    program
}

fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    pages(&program(), folder)
}

fn pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let shown = |command: &&Command| !command.is_hide_set();
    command.get_subcommands().filter(shown).try_for_each(|command| pages(command, folder))?;
    let file = folder.join(clap_mangen::Man::new(command.clone()).get_filename());
    check_new_file(&file).map_err(|failure| anyhow!(failure.line()))?;
    write_file(&file, &page(command)?).with_context(|| format!("writing {}", file.display()))
}

/// The page of a command, in ASCII: not every `man` handles encodings.
fn page(command: &Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    let ascii = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    Ok(String::from_utf8(page)?.chars().map(ascii).collect::<String>().into_bytes())
}
