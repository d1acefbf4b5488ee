//! A run over sites. It is started and resumed by the same command.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use effgan_fl::Strategy;
use effgan_nn::checkpoint::read_file;
use effgan_nn::params;

use super::Execution;
use super::Run;
use super::resume::{check_arithmetic, config_of, info_of};
use super::run_data::{RunData, SITES};
use super::run_inputs::RunInputs;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::protocol::{Grid, Introduction, SiteConnections, SiteList};
use crate::record::run_dir::{MAX_BYTES, RunDir};
use crate::record::run_info::{RunInfo, Status};

/// Runs `config` over the sites that `grid` reaches, into the folder `out`, or resumes the run that is there. Only sites on the `list` may take
/// part, where there is one.
///
/// # Errors
/// Before the folder is created: a wrong config, or sites that do not connect. After that: why the run failed, which is also recorded in the
/// folder.
pub fn federate(
    config: &Config,
    out: &Path,
    grid: &mut dyn Grid,
    list: Option<SiteList>,
    execution: Execution,
) -> Result<()> {
    let started = Instant::now();
    config.check_federated().map_err(|failure| execution.named(failure))?;
    if out.exists() {
        return resume_federated(config, out, grid, list, execution);
    }
    let strategy = config.federation.strategy.as_ref().map(|strategy| grid.strategy(strategy));
    let mut connections = SiteConnections::new(grid, config, list, execution.progress, execution.stop)?;
    let sites = connections.wait_for_sites()?;
    let inputs = inputs_of(config, sites, strategy, execution).map_err(|failure| execution.named(failure))?;
    let info = inputs.info(config, execution);
    connections.set_run_id(run_id(config, &info));
    let dir = RunDir::create(out, config, info)?;
    connections.keep_ledger_heads(out)?;
    // Before anything else: without the list of its sites, the run could not be resumed.
    inputs.data.write(&dir)?;
    Run::new(config, &inputs, dir, execution).finish(Some(&mut connections), None, started)
}

fn resume_federated(
    config: &Config,
    out: &Path,
    grid: &mut dyn Grid,
    list: Option<SiteList>,
    execution: Execution,
) -> Result<()> {
    let started = Instant::now();
    let (before, earlier) = (config_of(out, &[])?, info_of(out)?);
    let fixed = before.fixed_keys_that_differ(config);
    if !fixed.is_empty() {
        let line = format!(
            "the run in {} would be resumed, and may not change {}; choose another out folder, or restore the config",
            out.display(),
            fixed.join(", ")
        );
        return Err(Failure::usage(anyhow!(line)));
    }
    if earlier.status == Status::Done && before.algorithm == config.algorithm {
        execution.progress.line(&format!("{} is done", out.display()));
        return Ok(());
    }
    check_arithmetic(out, &earlier)?;
    let strategy = config.federation.strategy.as_ref().map(|strategy| grid.strategy(strategy));
    let sites = sites_of(out)?;
    let inputs = inputs_of(config, sites, strategy, execution).map_err(|failure| execution.named(failure))?;
    let mut connections = SiteConnections::new(grid, config, list, execution.progress, execution.stop)?;
    connections.set_run_id(run_id(config, &earlier));
    connections.keep_ledger_heads(out)?;
    let run = Run::reopen(config, &inputs, out, &earlier, execution)?;
    run.resume_from_newest(Some(&mut connections), started)
}

fn inputs_of(
    config: &Config,
    sites: Vec<Introduction>,
    strategy: Option<Arc<dyn Strategy>>,
    execution: Execution,
) -> Result<RunInputs> {
    let inputs = RunInputs::new(config, RunData::AtSites(sites), execution)?;
    Ok(match strategy {
        Some(strategy) => inputs.with_strategy(strategy),
        None => inputs,
    })
}

/// The sites of the run in `out`, as they introduced themselves when it was started.
pub(super) fn sites_of(out: &Path) -> Result<Vec<Introduction>> {
    let path = out.join(SITES);
    let read = || -> anyhow::Result<Vec<Introduction>> { Ok(serde_json::from_slice(&read_file(&path, MAX_BYTES)?)?) };
    let sites = read().with_context(|| format!("reading {}", path.display())).map_err(Failure::data)?;
    if sites.is_empty() { Err(Failure::data(anyhow!("{} names no site", path.display()))) } else { Ok(sites) }
}

/// The run's id for the sites. Two runs of one config differ in it, because they were started at different times.
fn run_id(config: &Config, info: &RunInfo) -> String {
    params::sha256(format!("{} {}", config.identity(), info.started).as_bytes())
}

#[cfg(test)]
mod tests;
