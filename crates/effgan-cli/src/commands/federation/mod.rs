//! `effgan federation`: one file per subcommand.

mod add;
mod admit;
mod approve;
mod check;
mod forward;
mod init;
mod join;
mod ledger;
mod list;
mod prune;
mod remove;
mod renew;
mod run;
mod serve;
mod split;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use effgan_gate::{GateError, Log};
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::POLICY;
use effgan_run::protocol::ledger::LEDGER;
use tempfile::NamedTempFile;

use crate::output::warn;

/// Train across real sites, over Flower
///
/// docs/deploy.md is the guide.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  effgan federation init --sites north,south,east --host fl.hospital.example --out federation
  effgan federation run federation/server/federation.toml --server federation/server --out runs/first")]
pub(super) enum Federation {
    Init(init::Init),
    Add(add::Add),
    Join(join::Join),
    Admit(admit::Admit),
    List(list::List),
    Remove(remove::Remove),
    Check(check::Check),
    Renew(renew::Renew),
    Serve(serve::Serve),
    Forward(forward::Forward),
    Run(run::Run),
    Approve(approve::Approve),
    Ledger(ledger::Ledger),
    Prune(prune::Prune),
    Split(split::Split),
}

impl Federation {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::Init(init) => init.run(),
            Self::Add(add) => add.run(),
            Self::Join(join) => join.run(),
            Self::Admit(admit) => admit.run(),
            Self::List(list) => list.run(),
            Self::Remove(remove) => remove.run(),
            Self::Check(check) => check.run(),
            Self::Renew(renew) => renew.run(),
            Self::Serve(serve) => serve.run(),
            Self::Forward(forward) => forward.run(),
            Self::Run(run) => run.run(),
            Self::Approve(approve) => approve.run(),
            Self::Ledger(ledger) => ledger.run(),
            Self::Prune(prune) => prune.run(),
            Self::Split(split) => split.run(),
        }
    }
}

/// Checks that `folder` is a site's kit: in any other folder, nothing waits and nothing was sent, which would be misleading.
fn check_site(folder: &Path) -> Result<()> {
    if [POLICY, LEDGER].iter().any(|name| folder.join(name).is_file()) {
        return Ok(());
    }
    let line = format!("{} is not a site's folder: it has neither {POLICY} nor {LEDGER}", folder.display());
    Err(Failure::usage(anyhow!(line)))
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> Result<()> {
    let make = || -> anyhow::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        let mut out = BufWriter::new(file.as_file_mut());
        write(&mut out)?;
        out.flush()?;
        drop(out);
        file.persist(path)?;
        Ok(())
    };
    Ok(make().with_context(|| format!("writing {}", path.display()))?)
}

/// The log of the gate or of the forwarder: standard error.
fn log() -> Log {
    Arc::new(|line: &str| warn(line))
}

/// The failure to open a port, with what to do about it.
fn bind_failure(error: GateError, advice: &str) -> Failure {
    match error {
        GateError::Listen { .. } => Failure::usage(anyhow!("{error}; {advice}")),
        error => Failure::usage(error),
    }
}
