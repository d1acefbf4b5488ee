//! `effgan federation check`: reports each thing that is right, until one is not. It succeeds only where a run would work.

mod certificate_checks;
mod file_access;
mod gate_probe;
mod image_headers;
mod planned_run;
mod server_checks;
mod site_checks;
mod superlink_check;

use std::path::PathBuf;

use anyhow::anyhow;
use effgan_data::DatasetName;
use effgan_run::failure::{Failure, Result};

use super::flwr::{self, FLWR};
use super::server_folder::{SERVER, ServerFolder};
use super::site_kit::{SITE, SiteKit};
use crate::output::say;

/// What is checked.
#[derive(Debug)]
pub(crate) struct Target {
    /// A site's kit, or the server's folder.
    pub folder: PathBuf,
    /// For a site: the folder of its images, and the kind of data set where no config names one.
    pub data: Option<(PathBuf, DatasetName)>,
    /// For a site: the config of a planned run.
    pub config: Option<PathBuf>,
}

/// Prints a line for each thing that is right.
///
/// # Errors
/// The first thing that is wrong, with what to do.
pub(crate) fn check(target: &Target) -> Result<()> {
    let folder = &target.folder;
    if folder.join(SITE).is_file() {
        return site_checks::check(target, &SiteKit::read(folder)?);
    }
    if !folder.join(SERVER).is_file() {
        let line = format!("{} is neither a site kit ({SITE}) nor a server folder ({SERVER})", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    if target.data.is_some() || target.config.is_some() {
        let line = format!("{} is a server folder; --data and --config are for a site kit", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    server_checks::check(folder, &ServerFolder::read(folder)?)
}

/// Checks the versions of effgan and Flower that are installed here.
fn versions(wanted: &str) -> Result<()> {
    let ours = env!("CARGO_PKG_VERSION");
    if ours != wanted {
        return wrong(
            "wheel",
            &format!("effgan here is {ours}, the federation's is {wanted}; install the wheel of {wanted}"),
        );
    }
    let flwr = flwr::version()?;
    if !flwr::is_tested(&flwr) {
        return wrong(
            "wheel",
            &format!("flwr here is {flwr}, which effgan is not tested with; pip install \"{FLWR}\""),
        );
    }
    right("wheel", &format!("effgan {ours}, flwr {flwr}"));
    Ok(())
}

/// Prints that a check has passed.
fn right(check: &str, result: &str) {
    say(format!("{check:<12} ok: {result}"));
}

/// The failure of a check.
fn wrong<T>(check: &str, why: &str) -> Result<T> {
    Err(Failure::from(anyhow!("{check}: {why}")))
}
