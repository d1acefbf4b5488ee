//! A run over sites: begun once, and gone on with as often as it is started again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, anyhow};
use effgan_fl::Strategy;
use effgan_nn::checkpoint::read_file;
use effgan_nn::params;

use super::data::SITES;
use super::resume::{config_of, info_of};
use super::{Data, Material, Run};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::protocol::{Grid, Introduction, Post, Roll};
use crate::record::run_dir::{MOST_BYTES, RunDir};
use crate::record::run_info::{RunInfo, Status};

/// Runs `config` over the sites that `grid` reaches, whose names are those of the `roll` where there is one, into the folder `out`, or
/// goes on with the run that is there.
///
/// # Errors
/// Before the folder is made: a wrong config, sites that do not come. After that: why the run failed, which its folder says too.
pub fn federate(
    config: &Config,
    out: &Path,
    jobs: usize,
    grid: &mut dyn Grid,
    roll: Option<Roll>,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<()> {
    let started = Instant::now();
    config.check_federated()?;
    if out.exists() {
        return go_on(config, out, jobs, grid, roll, progress, stop);
    }
    let strategy = config.federation.strategy.as_ref().map(|strategy| grid.strategy(strategy));
    let mut post = Post::new(grid, config, roll, progress, stop);
    let sites = post.meet()?;
    let material = of_sites(config, sites, strategy, jobs)?;
    let info = material.info(config, jobs);
    post.call(name_of(config, &info));
    let dir = RunDir::create(out, config, info)?;
    post.keep_heads(out)?;
    // Before anything else: a run without it could not go on.
    material.data.write(&dir)?;
    Run::new(config, &material, dir, progress, jobs, stop).finish(Some(&mut post), None, started)
}

fn go_on(
    config: &Config,
    out: &Path,
    jobs: usize,
    grid: &mut dyn Grid,
    roll: Option<Roll>,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<()> {
    let started = Instant::now();
    let (before, earlier) = (config_of(out, &[])?, info_of(out)?);
    if before.identity() != config.identity() {
        let line = format!("{} is a run of another config; choose another out, or put the config back", out.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    if earlier.status == Status::Done && before.algorithm == config.algorithm {
        progress.line(&format!("{} is done", out.display()));
        return Ok(());
    }
    let strategy = config.federation.strategy.as_ref().map(|strategy| grid.strategy(strategy));
    let material = of_sites(config, sites_of(out)?, strategy, jobs)?;
    let mut post = Post::new(grid, config, roll, progress, stop);
    post.call(name_of(config, &earlier));
    post.keep_heads(out)?;
    let run = Run::reopen(config, &material, out, &earlier, progress, jobs, stop)?;
    run.go_on_from_newest(Some(&mut post), started)
}

fn of_sites(
    config: &Config,
    sites: Vec<Introduction>,
    strategy: Option<Arc<dyn Strategy>>,
    jobs: usize,
) -> Result<Material> {
    let material = Material::of(config, Data::AtSites(sites), jobs)?;
    Ok(match strategy {
        Some(strategy) => material.with_strategy(strategy),
        None => material,
    })
}

/// Who is in the run in `out`.
pub(super) fn sites_of(out: &Path) -> Result<Vec<Introduction>> {
    let path = out.join(SITES);
    let read = || -> anyhow::Result<Vec<Introduction>> { Ok(serde_json::from_slice(&read_file(&path, MOST_BYTES)?)?) };
    let sites = read().with_context(|| format!("reading {}", path.display())).map_err(Failure::data)?;
    if sites.is_empty() { Err(Failure::data(anyhow!("{} names no site", path.display()))) } else { Ok(sites) }
}

/// What the sites call the run: another one of the same config is another run.
fn name_of(config: &Config, info: &RunInfo) -> String {
    params::sha256(format!("{} {}", config.identity(), info.started).as_bytes())
}

#[cfg(test)]
#[path = "federation/tests.rs"]
mod tests;
