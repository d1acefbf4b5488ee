//! `effgan federation approve`

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::approval;
use effgan_run::protocol::ledger::PendingRun;

use super::check_site;
use crate::output::{ask, say, write};

/// At a site: show the runs that wait for approval, and approve them
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation approve kits/north
  effgan federation approve kits/north --yes 8c1f0a9d2b3e4f55a0617283c94d5e6f")]
pub(crate) struct Approve {
    /// The site's kit
    #[arg(default_value = ".")]
    kit: PathBuf,
    /// Approve the run whose config hash begins with HASH, without asking; for scripts
    #[arg(long, value_name = "HASH", conflicts_with = "withdraw")]
    yes: Option<String>,
    /// Withdraw the approval of the run whose config hash begins with HASH; the run is refused from now on
    #[arg(long, value_name = "HASH")]
    withdraw: Option<String>,
}

impl Approve {
    pub(super) fn run(self) -> Result<()> {
        let Self { kit, yes, withdraw } = self;
        check_site(&kit)?;
        if let Some(digits) = withdraw {
            let config = approval::withdraw(&kit, &digits)?;
            say(format!("the approval of the run with config {config} is withdrawn"));
            return Ok(());
        }
        let waiting = approval::waiting(&kit)?;
        if let Some(digits) = yes {
            let request = approval::pending_run(&waiting, &digits)?;
            write(approval::shown(&kit, &request)?.as_bytes());
            return approve(&kit, &request);
        }
        if waiting.is_empty() {
            say("no run waits for approval");
        }
        for request in &waiting {
            write(approval::shown(&kit, request)?.as_bytes());
            if !stdin().is_terminal() {
                continue;
            }
            if confirmed(&format!("May {} use the images of this site? [y/N] ", request.run_request.name))? {
                approve(&kit, request)?;
            } else {
                say(format!("{} is not approved, and still waits", request.run_request.name));
            }
        }
        if !waiting.is_empty() && !stdin().is_terminal() {
            let line = "there is no terminal to ask on: run this in one, or approve with --yes and the config's hash";
            return Err(Failure::usage(anyhow!(line)));
        }
        Ok(())
    }
}

fn approve(kit: &Path, request: &PendingRun) -> Result<()> {
    approval::approve(kit, request)?;
    say(format!("{} is approved: it may use the images of this site", request.run_request.name));
    Ok(())
}

/// Asks a yes-or-no question; no is the default.
fn confirmed(question: &str) -> Result<bool> {
    let answer = ask(question).map_err(anyhow::Error::from)?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes" | "Yes"))
}
