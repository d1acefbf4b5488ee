//! The workers of a sweep: each takes a group of cells and runs them one after the other.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use effgan_nn::checkpoint::write_file;

use super::cell_state::{EVALUATION, is_evaluated, is_open, status};
use super::plan::Group;
use super::rows::headline;
use super::{Cell, Sweep};
use crate::failure::{Kind, Result};
use crate::pipeline::{self, Execution};
use crate::progress::Progress;
use crate::record::run_info::Status;
use crate::units::duration;

/// What the workers share.
struct Workers<'a> {
    sweep: &'a Sweep,
    out: &'a Path,
    /// Threads per cell.
    threads: usize,
    stop: &'a AtomicBool,
    on_line: &'a (dyn Fn(&str) + Sync),
    started: Instant,
    /// What remains to be done.
    queue: Mutex<Queue>,
}

struct Queue {
    /// Groups that no worker has taken yet.
    waiting: VecDeque<Group>,
    /// Cells that are not done.
    cells: usize,
    /// Work done so far, and in all, in training images.
    done: f64,
    all: f64,
    /// The name and the error of each cell that failed.
    failed: Vec<String>,
}

/// Runs the open cells of `groups` and returns the name and the error of each cell that failed.
///
/// # Panics
/// With the panic of a worker, once the others are done.
pub(super) fn run_groups(
    sweep: &Sweep,
    out: &Path,
    groups: Vec<Group>,
    jobs: usize,
    stop: &AtomicBool,
    on_line: &(dyn Fn(&str) + Sync),
) -> Vec<String> {
    let is_open = |&cell: &usize| is_open(sweep, &sweep.cells[cell], out);
    let cost = |group: &Group| group.cells().filter(is_open).map(|cell| sweep.cells[cell].work()).sum::<f64>();
    let mut open: Vec<(f64, Group)> = groups.into_iter().map(|group| (cost(&group), group)).collect();
    open.retain(|(cost, _)| *cost > 0.0);
    // The longest group first, so that it is not the one that all others wait for.
    open.sort_by(|a, b| b.0.total_cmp(&a.0));
    let workers = open.len().clamp(1, jobs);
    let (all, cells) = (
        open.iter().map(|(cost, _)| cost).sum(),
        open.iter().map(|(_, group)| group.cells().filter(is_open).count()).sum(),
    );
    on_line(&format!("{} cells, {cells} of them to run, {workers} at a time", sweep.cells.len()));
    let waiting = open.into_iter().map(|(_, group)| group).collect();
    let queue = Mutex::new(Queue { waiting, cells, done: 0.0, all, failed: Vec::new() });
    let shared = Workers { sweep, out, threads: jobs / workers, stop, on_line, started: Instant::now(), queue };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| shared.run_groups())).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
    shared.queue.into_inner().unwrap_or_else(PoisonError::into_inner).failed
}

impl Workers<'_> {
    /// Runs group after group until none is left.
    fn run_groups(&self) {
        while let Some(group) = self.next() {
            for cell in group.cells().map(|cell| &self.sweep.cells[cell]) {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                if is_open(self.sweep, cell, self.out) {
                    self.report(cell, &self.run_cell(cell, &group));
                }
            }
        }
    }

    fn next(&self) -> Option<Group> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    /// Runs, resumes or branches a cell, and evaluates it.
    fn run_cell(&self, cell: &Cell, group: &Group) -> Result<()> {
        let folder = cell.folder(self.out);
        let quiet = Progress::events(|_| {});
        let execution = Execution::new(Some(self.threads), &quiet, self.stop);
        // Begun on another device, perhaps.
        let resume = || pipeline::resume(&folder, &[format!("run.device={}", cell.config.run.device)], execution);
        match status(&folder) {
            Some(Status::Done) => Ok(()),
            Some(_) => resume(),
            None if self.branch(cell, &folder, group)? => resume(),
            None => pipeline::run(&cell.config, &folder, execution),
        }?;
        self.evaluate(&folder, execution)
    }

    /// Starts a cell from the rounds of a finished cell of its group, where there is one.
    // The cell copies that run's checkpoint and is then resumed like any other run folder.
    fn branch(&self, cell: &Cell, folder: &Path, group: &Group) -> Result<bool> {
        for donor in group.cells().rev().map(|donor| self.sweep.cells[donor].folder(self.out)) {
            if status(&donor) == Some(Status::Done) && pipeline::adopt_rounds(&donor, &cell.config, folder)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Computes the scores of `effgan evaluate`, where the sweep asks for them and they are missing.
    fn evaluate(&self, folder: &Path, execution: Execution) -> Result<()> {
        let Some(n) = self.sweep.evaluate.filter(|_| !is_evaluated(self.sweep, folder)) else { return Ok(()) };
        let evaluation = pipeline::evaluate(folder, n, execution)?;
        let json = serde_json::to_vec_pretty(&evaluation).expect("an evaluation is plain data");
        let path = folder.join(EVALUATION);
        Ok(write_file(&path, &json).with_context(|| format!("writing {}", path.display()))?)
    }

    /// Reports that a cell is done, and how long the others will take.
    fn report(&self, cell: &Cell, outcome: &Result<()>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.done += cell.work();
        queue.cells -= 1;
        let how = match outcome {
            Ok(()) => headline(&cell.folder(self.out)),
            Err(failure) if failure.kind() == Kind::Interrupted => return,
            Err(failure) => {
                queue.failed.push(format!("{}: {}", cell.name, failure.line()));
                format!("failed: {}", failure.line())
            }
        };
        let seconds = self.started.elapsed().as_secs_f64();
        let left = seconds * (queue.all - queue.done).max(0.0) / queue.done;
        let rest = match queue.cells {
            0 => String::new(),
            cells => format!("; {cells} left, about {}", duration(left)),
        };
        (self.on_line)(&format!("{}  {how}{rest}", cell.name));
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::config::tests::QUICKSTART;
    use crate::sweep::plan::groups;

    #[test]
    fn a_workers_panic_reaches_the_caller_with_its_own_message_once_the_other_workers_are_done() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), QUICKSTART).unwrap();
        let file = folder.path().join("a.sweep.toml");
        // Both cells fail at once, because there are no such images.
        let dataset = r#"dataset = { name = "folder", dir = "missing", size = 28, channels = 1 }"#;
        let grid = format!("[[grids]]\nset = {{ {dataset} }}\n");
        std::fs::write(&file, format!("name = \"a\"\nconfig = \"config.toml\"\nseeds = [1, 2]\n{grid}")).unwrap();
        let sweep = Sweep::load(&file, &[], &[]).unwrap_or_else(|failure| panic!("{}", failure.line()));
        let lines = Mutex::new(Vec::new());
        let on_line = |line: &str| {
            assert!(!line.starts_with(&sweep.cells[0].name), "a bug in the first cell");
            lines.lock().unwrap().push(line.to_owned());
        };
        let (out, stop) = (folder.path().join("out"), AtomicBool::new(false));
        let run = || run_groups(&sweep, &out, groups(&sweep.cells), 2, &stop, &on_line);
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug in the first cell"));
        let lines = lines.into_inner().unwrap();
        assert!(lines.iter().any(|line| line.starts_with(&format!("{}  failed: ", sweep.cells[1].name))), "{lines:?}");
    }
}
