//! `effgan federation approve`

use std::io::{IsTerminal, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use crate::output::{say, write};
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::approval;
use effgan_run::protocol::ledger::PendingRun;

use super::check_site;

/// At a site: see what runs want that wait for a yes, and say it
#[derive(Args)]
pub(crate) struct Approve {
    /// The site's kit
    #[arg(default_value = ".")]
    kit: PathBuf,
    /// For scripts: say yes to the run whose config's hash begins so, without a question
    #[arg(long, value_name = "HASH", conflicts_with = "withdraw")]
    yes: Option<String>,
    /// Take a yes back: from now on the run is refused
    #[arg(long, value_name = "HASH")]
    withdraw: Option<String>,
}

impl Approve {
    pub(crate) fn run(self) -> Result<()> {
        let Self { kit, yes, withdraw } = self;
        check_site(&kit)?;
        if let Some(digits) = withdraw {
            let config = approval::withdraw(&kit, &digits)?;
            say(format!("the yes to the run of config {config} is taken back"));
            return Ok(());
        }
        let waiting = approval::waiting(&kit)?;
        if let Some(digits) = yes {
            let request = approval::pending_run(&waiting, &digits)?;
            write(approval::shown(&kit, &request)?.as_bytes());
            return approve(&kit, &request);
        }
        if waiting.is_empty() {
            say("no run waits for a yes");
        }
        for request in &waiting {
            write(approval::shown(&kit, request)?.as_bytes());
            if !stdin().is_terminal() {
                continue;
            }
            if asked(&format!("May {} use the images of this site? [y/N] ", request.run_request.name))? {
                approve(&kit, request)?;
            } else {
                say(format!("{} may not, and still waits", request.run_request.name));
            }
        }
        if !waiting.is_empty() && !stdin().is_terminal() {
            let line = "nobody can be asked here: run it in a terminal, or say yes by --yes and the config's hash";
            return Err(Failure::usage(anyhow!(line)));
        }
        Ok(())
    }
}

fn approve(kit: &Path, request: &PendingRun) -> Result<()> {
    approval::approve(kit, request)?;
    say(format!("{} may use the images of this site", request.run_request.name));
    Ok(())
}

fn asked(question: &str) -> Result<bool> {
    let mut answer = String::new();
    let read = stdout()
        .write_all(question.as_bytes())
        .and_then(|()| stdout().flush())
        .and_then(|()| stdin().read_line(&mut answer));
    read.map_err(anyhow::Error::from)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}
