//! Sweeps: grids of runs, top to bottom: cells, shared rounds, runs, one table, figures.
//!
//! Each cell is an ordinary run folder in `cells/`, so a sweep can be stopped and started again like a run: finished work is kept.
//! Table and figures are made from the folders alone.

mod cell;
mod cell_state;
mod figures;
mod markdown;
mod plan;
mod results_table;
mod rows;
mod spread;
mod sweep_file;
mod workers;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use effgan_data::Dataset;
use effgan_data::datasets::Report;
use effgan_nn::Device;
use effgan_nn::checkpoint::write_file;

pub use self::cell::Cell;
use self::cell_state::is_open;
use self::results_table::Table;
pub use self::sweep_file::Sweep;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::pipeline;
use crate::record::machine;
use crate::scores::{self, Training};

/// Runs the missing cells of `sweep` in the folder `out` with `jobs` threads (all cores when absent, and one where a cell is on a GPU) until all are done or `stop` becomes true, then writes
/// table and figures and returns their paths. `report` is told of the images that are read to check the cells, and then a line for each
/// finished cell.
///
/// Cells run in parallel, on one thread each where there are enough of them: that is faster than one after the other on all cores, as
/// measured in docs/sweeps.md.
///
/// # Errors
/// Before any work, when a cell exists with other settings or data cannot be read; after all other cells, when some failed.
pub fn run(
    sweep: &Sweep,
    out: &Path,
    jobs: Option<usize>,
    stop: &AtomicBool,
    report: &(dyn Fn(Report<'_>) + Sync),
) -> Result<Vec<PathBuf>> {
    let on_a_gpu = sweep.cells.iter().any(|cell| cell.config.run.device.open().is_ok_and(Device::is_gpu));
    let jobs = jobs.unwrap_or_else(|| if on_a_gpu { 1 } else { machine::cores() });
    let groups = plan::groups(&sweep.cells);
    sweep.cells.iter().try_for_each(|cell| check_settings(cell, out))?;
    check_open_cells(sweep, out, jobs, stop, report)?;
    fs::create_dir_all(out.join("cells")).with_context(|| format!("making {}", out.display()))?;
    let failed = workers::run_groups(sweep, out, groups, jobs, stop, &|line| report(Report::Line(line)));
    if stop.load(Ordering::Relaxed) {
        let line = format!("interrupted; the same command continues {}", out.display());
        return Err(Failure::interrupted(anyhow!(line)));
    }
    let written = write(sweep, out)?;
    match &failed[..] {
        [] => Ok(written),
        [first, ..] => Err(anyhow!("{} of {} cells failed, first {first}", failed.len(), sweep.cells.len()).into()),
    }
}

/// Writes the table and the figures of the finished cells.
fn write(sweep: &Sweep, out: &Path) -> Result<Vec<PathBuf>> {
    let table = Table::read(sweep, out)?;
    let mut files = vec![
        (out.join("table.csv"), table.csv()?),
        (out.join("table.json"), table.json()),
        (out.join("table.md"), table.markdown().into_bytes()),
    ];
    // A figure would compare what different networks measured.
    let figures = if table.marks().len() > 1 { Vec::new() } else { figures::of(sweep, &table)? };
    files.extend(figures.into_iter().map(|(name, svg)| (out.join(name), svg.into_bytes())));
    for (path, bytes) in &files {
        write_file(path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Checks that this machine can train the open cells, and that their images, which are read once, will do for each of them, so that an
/// error is reported before any work.
fn check_open_cells(
    sweep: &Sweep,
    out: &Path,
    jobs: usize,
    stop: &AtomicBool,
    report: &(dyn Fn(Report<'_>) + Sync),
) -> Result<()> {
    let mut open: Vec<&Cell> = sweep.cells.iter().filter(|cell| is_open(sweep, cell, out)).collect();
    let device_of = |cell: &Cell| cell.config.device().map_err(|failure| of_cell(sweep, cell, failure));
    open.iter().try_for_each(|cell| device_of(cell).map(drop))?;
    while let Some(first) = open.first() {
        let how = Training { device: device_of(first)?, jobs, progress: &|_, _, _| {}, stop };
        let scored = |cell: &Cell| {
            let Config { dataset, federation, evaluation, run, .. } = &cell.config;
            (dataset.clone(), federation.classes.clone(), evaluation.clone(), run.clone())
        };
        let (same, others) = open.iter().partition(|cell| scored(cell) == scored(first));
        check_cells(sweep, same, how, report)?;
        open = others;
    }
    Ok(())
}

/// Checks all that the images tell of cells with the same images, which are scored alike.
fn check_cells(
    sweep: &Sweep,
    cells: Vec<&Cell>,
    how: Training<'_>,
    report: &(dyn Fn(Report<'_>) + Sync),
) -> Result<()> {
    let Some(first) = cells.first() else { return Ok(()) };
    let dataset = first.config.read_dataset(report).map_err(|error| of_cell(sweep, first, error.into()))?;
    check_scores(sweep, first, &dataset, how).map_err(|failure| of_cell(sweep, first, failure))?;
    cells.into_iter().try_for_each(|cell| {
        pipeline::check_on(&cell.config, &dataset, how.device).map_err(|failure| of_cell(sweep, cell, failure))
    })
}

/// `failure` with the sweep's file and the name of the cell that is wrong.
fn of_cell(sweep: &Sweep, cell: &Cell, failure: Failure) -> Failure {
    failure.context(format!("{}: {}", sweep.file.display(), cell.name))
}

/// Checks that cells like this one can be scored on their data set, as a sweep without scores compares nothing, and evaluated as it asks.
fn check_scores(sweep: &Sweep, cell: &Cell, dataset: &Dataset, how: Training<'_>) -> Result<()> {
    let max = dataset.train.len().min(dataset.test.len());
    if let Some(n) = sweep.evaluate.filter(|n| *n > max) {
        let line = format!("evaluate = {n} must be at most {max}, the images of {}; lower it", dataset.name);
        return Err(Failure::usage(anyhow!(line)));
    }
    scores::check_scores(dataset, &cell.config.evaluation, how)
}

/// Checks that a cell that exists was run with the same settings.
fn check_settings(cell: &Cell, out: &Path) -> Result<()> {
    let folder = cell.folder(out);
    let file = folder.join("config.toml");
    if !file.is_file() {
        return Ok(());
    }
    let there = Config::load(&file, &[])?;
    if (there.identity(), there.algorithm.rounds()) == (cell.config.identity(), cell.config.algorithm.rounds()) {
        return Ok(());
    }
    let line = format!("{} was run with other settings; remove it, or choose another --out", folder.display());
    Err(Failure::usage(anyhow!(line)))
}
