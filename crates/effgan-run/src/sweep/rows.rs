//! The scores of the cells of a sweep, read from their run folders.

use std::path::Path;

use effgan_fl::ExchangeKind;
use effgan_fl::ensemble::NormStatistics;

use super::Sweep;
use super::cell_state::{evaluation, status};
use super::plan::{self, Source};
use crate::failure::Result;
use crate::record::events::{Outcome, Score, Scored, Verdict};
use crate::record::run_info::Status;
use crate::report::run_folder::Folder;
use crate::scores::Evaluation;
use crate::units::duration;

/// One score of a cell.
pub(super) struct Row {
    /// The index of the cell in the sweep.
    pub cell: usize,
    /// What was scored.
    pub of: Scored,
    /// How its batch-norm statistics were made, where there is a choice.
    pub norm_statistics: Option<NormStatistics>,
    /// Whether it is the main score of the cell: of the ensemble where there is one, otherwise of the averaged generator with
    /// recomputed statistics.
    pub is_main: bool,
    /// The score.
    pub score: Score,
    /// The main metric of real images in the same run.
    pub floor: Option<f64>,
    /// Bytes of tensors sent in the run, in both directions, / 10⁶.
    pub megabytes: f64,
    /// The scores of `effgan evaluate`; only with the main score.
    pub evaluation: Option<Evaluation>,
    /// The model hash of the run.
    pub model_hash: Option<String>,
    /// Where the score comes from, for a cell without a run of its own.
    pub from: Option<String>,
}

impl Row {
    /// What tells the network by which the cell was scored apart from others: the beginning of its hash where people trained it, else the
    /// name of its distance.
    pub(super) fn mark(&self) -> &str {
        let own = self.score.scores.settings.own_network.as_ref();
        own.map_or(self.score.main_metric().name, |own| own.short_hash())
    }
}

/// Reads the rows of all finished cells from their folders in `out`, in the order of the sweep.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn read(sweep: &Sweep, out: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (i, source) in plan::sources(&sweep.cells).into_iter().enumerate() {
        let run = if let Source::MeanOfMembers(effgan) = source { effgan } else { i };
        let path = sweep.cells[run].folder(out);
        if status(&path) != Some(Status::Done) {
            continue;
        }
        let folder = Folder::read(&path)?;
        let mut of_cell = match source {
            Source::Run => of_run(i, &folder),
            Source::MeanOfMembers(effgan) => of_mean(i, &folder, &sweep.cells[effgan].name),
        };
        if source == Source::Run && sweep.evaluate.is_some() {
            let evaluation = evaluation(&path);
            for row in of_cell.iter_mut().filter(|row| row.is_main) {
                row.evaluation.clone_from(&evaluation);
            }
        }
        rows.extend(of_cell);
    }
    Ok(rows)
}

/// The scores of a cell with a run of its own.
fn of_run(cell: usize, folder: &Folder) -> Vec<Row> {
    let of = if folder.latest(Scored::Ensemble).is_some() { Scored::Ensemble } else { Scored::Average };
    let megabytes = folder.bytes_until(u32::MAX) as f64 / 1e6;
    rows(cell, folder, of, megabytes, None, &[Scored::Average, Scored::MeanOfMembers, Scored::Ensemble])
}

/// The score of a `fedgan` cell that is read from an `effgan` run: the mean of its members is one more averaged round.
fn of_mean(cell: usize, folder: &Folder, effgan: &str) -> Vec<Row> {
    let clients = folder.info.partition.clients.len() as u64;
    let network = &folder.info.network;
    let round = clients * 2 * 4 * (network.generator_values + network.discriminator_values);
    let rounds = folder.rounds.values().filter(|round| round.kind != ExchangeKind::Collect);
    let sent: u64 = rounds.map(|round| round.bytes_down + round.bytes_up).sum();
    let from = format!("mean of the members of {effgan}");
    let megabytes = (sent + round) as f64 / 1e6;
    rows(cell, folder, Scored::MeanOfMembers, megabytes, Some(&from), &[Scored::MeanOfMembers])
}

/// The latest score of each of `kinds`; that of `main` is the main score.
fn rows(cell: usize, folder: &Folder, main: Scored, megabytes: f64, from: Option<&str>, kinds: &[Scored]) -> Vec<Row> {
    let floor = folder.latest(Scored::Floor).map(Score::main);
    let statistics = [None, Some(NormStatistics::Recompute), Some(NormStatistics::Average)];
    let all = kinds.iter().flat_map(|&of| statistics.map(|how| (of, how)));
    let latest = |(of, how)| {
        let of_kind = folder.scores.iter().filter(move |((kind, norm, _), _)| (*kind, *norm) == (of, how));
        of_kind.max_by_key(|((.., round), _)| *round).map(|(_, score)| score.clone())
    };
    let row = |score: Score| Row {
        cell,
        of: score.of,
        norm_statistics: score.norm_statistics,
        is_main: score.of == main && score.norm_statistics != Some(NormStatistics::Average),
        score,
        floor,
        megabytes,
        evaluation: None,
        model_hash: folder.info.model_hash.clone().filter(|_| from.is_none()),
        from: from.map(str::to_owned),
    };
    all.filter_map(latest).map(row).collect()
}

/// The result of a run in a few words.
pub(super) fn headline(folder: &Path) -> String {
    let Ok(folder) = Folder::read(folder) else { return "done".into() };
    let took = duration(folder.info.seconds);
    let score = [Scored::Ensemble, Scored::Average].into_iter().find_map(|of| folder.latest(of));
    let verdict = folder.verdict.as_ref().filter(|verdict| verdict.verdict != Outcome::Fine);
    let words = score.map(Score::headline).into_iter().chain([took]).chain(verdict.map(Verdict::line));
    words.collect::<Vec<_>>().join(", ")
}
