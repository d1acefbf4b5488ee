//! `effgan sweep`: a grid of runs, top to bottom: cells, shared rounds, runs, one table, figures.
//!
//! Each cell is an ordinary run folder in `cells/`, so a sweep is stopped and started like a run: what is done is not done
//! again. Table and figures are made from the folders alone.

mod config;
mod figures;
mod plan;
mod table;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use effgan_data::DatasetConfig;
use effgan_nn::checkpoint::write_file;

pub use self::config::{Cell, Sweep};
use self::plan::Group;
use self::table::Table;
use crate::config::Config;
use crate::failure::{Failure, Kind, Result};
use crate::pipeline;
use crate::progress::Progress;
use crate::record::events::Status;
use crate::scores;

/// Runs what is missing of `sweep` in `out` with `jobs` threads until done or `stop`, and writes table and figures.
/// `tell` is given each cell that is done, and how far the sweep is.
///
/// Cells work in parallel, on one thread each where there are enough of them: measured, that is quicker than one after
/// the other on all cores (docs/sweeps.md).
///
/// # Errors
/// A cell that is there with other settings and data that cannot be read, before any work; cells that failed, after all others are done.
pub fn run(
    sweep: &Sweep,
    out: &Path,
    jobs: usize,
    stop: &AtomicBool,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Vec<PathBuf>> {
    let groups = plan::groups(&sweep.cells);
    sweep.cells.iter().try_for_each(|cell| check_settings(cell, out))?;
    check_data(sweep, out)?;
    fs::create_dir_all(out.join("cells")).with_context(|| format!("making {}", out.display()))?;
    let failed = work_off(sweep, out, groups, jobs, stop, tell);
    if stop.load(Ordering::Relaxed) {
        let line = format!("interrupted; the same command goes on with {}", out.display());
        return Err(Failure::interrupted(anyhow!(line)));
    }
    let written = write(sweep, out)?;
    match &failed[..] {
        [] => Ok(written),
        [first, ..] => Err(anyhow!("{} of {} cells failed, first {first}", failed.len(), sweep.cells.len()).into()),
    }
}

/// Table and figures of what is done.
fn write(sweep: &Sweep, out: &Path) -> Result<Vec<PathBuf>> {
    let table = Table::of(sweep, out)?;
    let mut files = vec![
        (out.join("table.csv"), table.csv()?),
        (out.join("table.json"), table.json()),
        (out.join("table.md"), table.markdown().into_bytes()),
    ];
    for (name, svg) in figures::of(sweep, &table)? {
        files.push((out.join(name), svg.into_bytes()));
    }
    for (path, bytes) in &files {
        write_file(path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// What is shared by the workers.
struct Work<'a> {
    sweep: &'a Sweep,
    out: &'a Path,
    /// Threads of a cell.
    threads: usize,
    stop: &'a AtomicBool,
    tell: &'a (dyn Fn(&str) + Sync),
    started: Instant,
    /// Groups that nobody works at yet, what is done so far and what is to be done, in training images, and failures.
    board: Mutex<Board>,
}

struct Board {
    waiting: VecDeque<Group>,
    cells: usize,
    done: f64,
    all: f64,
    failed: Vec<String>,
}

/// Answers with the line of each cell that failed.
fn work_off(
    sweep: &Sweep,
    out: &Path,
    groups: Vec<Group>,
    jobs: usize,
    stop: &AtomicBool,
    tell: &(dyn Fn(&str) + Sync),
) -> Vec<String> {
    let is_open = |&cell: &usize| is_open(sweep, &sweep.cells[cell], out);
    let cost = |group: &Group| group.own().filter(is_open).map(|cell| sweep.cells[cell].work()).sum::<f64>();
    let mut open: Vec<(f64, Group)> = groups.into_iter().map(|group| (cost(&group), group)).collect();
    open.retain(|(cost, _)| *cost > 0.0);
    // The longest first, so that no worker is left alone with it.
    open.sort_by(|a, b| b.0.total_cmp(&a.0));
    let workers = open.len().clamp(1, jobs);
    let (all, cells) = (
        open.iter().map(|(cost, _)| cost).sum(),
        open.iter().map(|(_, group)| group.own().filter(is_open).count()).sum(),
    );
    tell(&format!("{} cells, {cells} of them to run, {workers} at a time", sweep.cells.len()));
    let waiting = open.into_iter().map(|(_, group)| group).collect();
    let board = Mutex::new(Board { waiting, cells, done: 0.0, all, failed: Vec::new() });
    let work = Work { sweep, out, threads: jobs / workers, stop, tell, started: Instant::now(), board };
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(|| work.at_groups()))));
    work.board.into_inner().unwrap_or_else(PoisonError::into_inner).failed
}

impl Work<'_> {
    fn at_groups(&self) {
        while let Some(group) = self.next() {
            for cell in group.own().map(|cell| &self.sweep.cells[cell]) {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                if is_open(self.sweep, cell, self.out) {
                    self.note(cell, &self.at_cell(cell, &group));
                }
            }
        }
    }

    fn next(&self) -> Option<Group> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    fn at_cell(&self, cell: &Cell, group: &Group) -> Result<()> {
        let folder = cell.folder(self.out);
        let quiet = Progress::events(|_| {});
        let resume = || pipeline::resume(&folder, &[], self.threads, &quiet, self.stop);
        match status(&folder) {
            Some(Status::Done) => Ok(()),
            Some(_) => resume(),
            None if self.branch(cell, &folder, group)? => resume(),
            None => pipeline::run(&cell.config, &folder, self.threads, &quiet, self.stop),
        }?;
        self.evaluate(&folder)
    }

    /// Begins a cell with the rounds of another one of its group that has some of them.
    fn branch(&self, cell: &Cell, folder: &Path, group: &Group) -> Result<bool> {
        for donor in group.own().rev().map(|donor| self.sweep.cells[donor].folder(self.out)) {
            if status(&donor) == Some(Status::Done) && pipeline::adopt_rounds(&donor, &cell.config, folder)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the further scores, where they are wanted and not there.
    fn evaluate(&self, folder: &Path) -> Result<()> {
        let Some(n) = self.sweep.evaluate.filter(|_| !is_evaluated(self.sweep, folder)) else { return Ok(()) };
        let evaluation = scores::evaluate_run(folder, n, self.threads, self.stop)?;
        let json = serde_json::to_vec_pretty(&evaluation).expect("an evaluation is plain data");
        let path = folder.join(table::EVALUATION);
        Ok(write_file(&path, &json).with_context(|| format!("writing {}", path.display()))?)
    }

    /// Says that a cell is done, and how long the others will take.
    fn note(&self, cell: &Cell, outcome: &Result<()>) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.done += cell.work();
        board.cells -= 1;
        let how = match outcome {
            Ok(()) => table::headline(&cell.folder(self.out)),
            Err(failure) if failure.kind() == Kind::Interrupted => return,
            Err(failure) => {
                board.failed.push(format!("{}: {}", cell.name, failure.line()));
                format!("failed: {}", failure.line())
            }
        };
        let seconds = self.started.elapsed().as_secs_f64();
        let left = seconds * (board.all - board.done).max(0.0) / board.done;
        let rest = match board.cells {
            0 => String::new(),
            cells => format!("; {cells} left, about {}", crate::units::duration(left)),
        };
        (self.tell)(&format!("{}  {how}{rest}", cell.name));
    }
}

/// Reads each data set once that cells still want: better told before the work than by each of them.
fn check_data(sweep: &Sweep, out: &Path) -> Result<()> {
    let mut seen: Vec<&DatasetConfig> = Vec::new();
    for cell in sweep.cells.iter().filter(|cell| is_open(sweep, cell, out)) {
        let dataset = &cell.config.dataset;
        if !seen.contains(&dataset) {
            dataset.load()?;
            seen.push(dataset);
        }
    }
    Ok(())
}

/// How the run in `folder` stands; none where there is none.
fn status(folder: &Path) -> Option<Status> {
    pipeline::info_of(folder).ok().map(|info| info.status)
}

/// Whether there is something to do for a cell.
fn is_open(sweep: &Sweep, cell: &Cell, out: &Path) -> bool {
    let folder = cell.folder(out);
    status(&folder) != Some(Status::Done) || !is_evaluated(sweep, &folder)
}

fn is_evaluated(sweep: &Sweep, folder: &Path) -> bool {
    sweep.evaluate.is_none_or(|n| table::evaluation(folder).is_some_and(|evaluation| evaluation.scores.n == n))
}

/// A cell that is there must be the one that is asked for.
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
