//! What of a sweep is done.

use std::path::Path;

use effgan_nn::checkpoint::read_file;

use super::{Cell, Sweep};
use crate::pipeline;
use crate::record::run_dir::MAX_BYTES;
use crate::record::run_info::Status;
use crate::scores::Evaluation;

/// The status of the run in `folder`; `None` where there is no run.
pub(super) fn status(folder: &Path) -> Option<Status> {
    pipeline::info_of(folder).ok().map(|info| info.status)
}

/// Whether a cell still has to be run or evaluated.
pub(super) fn is_open(sweep: &Sweep, cell: &Cell, out: &Path) -> bool {
    let folder = cell.folder(out);
    status(&folder) != Some(Status::Done) || !is_evaluated(sweep, &folder)
}

/// Whether the run in `folder` has the scores of `effgan evaluate` that the sweep asks for.
pub(super) fn is_evaluated(sweep: &Sweep, folder: &Path) -> bool {
    sweep.evaluate.is_none_or(|n| evaluation(folder).is_some_and(|evaluation| evaluation.scores.n == n))
}

/// The file in a run folder with the scores of `effgan evaluate`.
pub(super) const EVALUATION: &str = "evaluation.json";

/// Reads that file; `None` where it is missing or of another version.
pub(super) fn evaluation(folder: &Path) -> Option<Evaluation> {
    serde_json::from_slice(&read_file(&folder.join(EVALUATION), MAX_BYTES).ok()?).ok()
}
