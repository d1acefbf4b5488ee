//! `effgan federation`

mod approve;
mod gate;
mod ledger;
mod prune;
mod server;
mod site;
mod sites;
mod split;

pub(crate) use self::split::site_images;

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use tempfile::NamedTempFile;

use self::gate::{Forward, Serve};
use self::server::{Init, Renew, Run};
use self::site::{Check, Join};
use self::sites::{Add, Admit, List, Remove};
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::POLICY;
use effgan_run::protocol::ledger::LEDGER;

/// A federation of many machines, over Flower
///
/// docs/deploy.md walks through it.
#[derive(Subcommand)]
pub(super) enum Federation {
    Init(Init),
    Add(Add),
    Join(Join),
    Admit(Admit),
    List(List),
    Remove(Remove),
    Check(Check),
    Renew(Renew),
    Serve(Serve),
    Forward(Forward),
    Run(Run),
    Approve(approve::Approve),
    Ledger(ledger::Show),
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
            Self::Ledger(show) => show.run(),
            Self::Prune(prune) => prune.run(),
            Self::Split(split) => split.run(),
        }
    }
}

/// Checks that `folder` is a site's: what is asked in another one would seem to be in order.
fn check_site(folder: &Path) -> Result<()> {
    if [POLICY, LEDGER].iter().any(|name| folder.join(name).is_file()) {
        return Ok(());
    }
    let line = format!("{} is no site's folder: it has neither {POLICY} nor {LEDGER}", folder.display());
    Err(Failure::usage(anyhow!(line)))
}

/// Writes a file for its owner alone, and puts it into place once it is whole.
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
