//! `effgan man`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Command, CommandFactory};
use effgan_nn::file::write_file;

use super::Cli;
use crate::output::{say, write};
use effgan_run::failure::{EXIT_CODES, Failure, Result};
use effgan_run::record::run_dir::check_new_file;

/// Make manual pages
#[derive(Args)]
pub(super) struct Man {
    /// A folder for one page a command; without it, the page of `effgan` goes to standard output
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

/// The program with all its commands, the names of their pages, and its exit codes.
fn program() -> Command {
    // Blank lines keep the table's lines apart.
    let codes = EXIT_CODES.replace('\n', "\n\n");
    let mut program = Cli::command().disable_help_subcommand(true).after_long_help(format!("Exit codes:\n\n{codes}"));
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

/// In ASCII: not every `man` knows of encodings.
fn page(command: &Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    let ascii = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    Ok(String::from_utf8(page)?.chars().map(ascii).collect::<String>().into_bytes())
}
