//! Which cells share work, where that is exact.
//!
//! Two cells share their rounds when all that these depend on is the same: the longer run goes on from the shorter one's
//! last state, and an `effgan` cell's rounds are a `fedgan` cell's. A `fedgan` cell that is an `effgan` cell with the
//! fine-tuning averaged as one round more is not run at all: the `effgan` run scores that average too.

use super::Cell;
use effgan_fl::AlgorithmConfig;

/// Cells with the same rounds, the shortest first: each goes on from the one before.
pub(super) struct Group {
    cells: Vec<usize>,
}

/// How a cell comes to its scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// By a run of its own.
    Run,
    /// From the mean of the members of that cell's run.
    MeanOfMembers(usize),
}

impl Group {
    /// Its cells, in the order in which they are run.
    pub(super) fn own(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.cells.iter().copied()
    }
}

/// The cells that have runs of their own, by what they share.
pub(super) fn groups(cells: &[Cell]) -> Vec<Group> {
    let mut groups: Vec<(String, Group)> = Vec::new();
    for (i, source) in sources(cells).into_iter().enumerate() {
        if source != Source::Run {
            continue;
        }
        let identity = identity(&cells[i]);
        match groups.iter_mut().find(|(other, _)| *other == identity) {
            Some((_, group)) => group.cells.push(i),
            None => groups.push((identity, Group { cells: vec![i] })),
        }
    }
    let by_length = |&cell: &usize| cells[cell].config.algorithm.rounds();
    for (_, group) in &mut groups {
        group.cells.sort_by_key(by_length);
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Of rounds that are the same whatever follows them; a cell whose rounds are nobody else's has one of its own.
fn identity(cell: &Cell) -> String {
    match &cell.config.algorithm {
        AlgorithmConfig::Effgan(_) | AlgorithmConfig::Fedgan(_) => cell.config.identity_of_rounds(),
        _ => cell.name.clone(),
    }
}

/// How each cell comes to its scores.
pub(super) fn sources(cells: &[Cell]) -> Vec<Source> {
    let averaged = |fedgan: &Cell| {
        cells.iter().position(|effgan| {
            matches!(effgan.config.algorithm, AlgorithmConfig::Effgan(_))
                && effgan.config.mean_is_fedgan()
                && effgan.config.algorithm.rounds().map(|rounds| rounds + 1) == fedgan.config.algorithm.rounds()
                && effgan.config.identity_of_rounds() == fedgan.config.identity_of_rounds()
        })
    };
    let source = |cell: &Cell| match cell.config.algorithm {
        AlgorithmConfig::Fedgan(_) => averaged(cell).map_or(Source::Run, Source::MeanOfMembers),
        _ => Source::Run,
    };
    cells.iter().map(source).collect()
}
