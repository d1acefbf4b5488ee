//! Which cells share work without changing a bit.
//!
//! Two cells share their rounds when everything that these depend on is equal: the longer run continues from the last state of the
//! shorter one, and the rounds of `effgan` are those of `fedgan`. A `fedgan` cell that equals an `effgan` cell whose fine-tuning is
//! averaged as one more round is not run at all: the `effgan` run scores that average, too. A test compares the two runs bit for bit.

use super::Cell;

/// Cells with the same rounds, the shortest first: each continues from the one before it.
pub(super) struct Group {
    cells: Vec<usize>,
}

/// Where the scores of a cell come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A run of its own.
    Run,
    /// The mean of the members of the run of the cell with this index.
    MeanOfMembers(usize),
}

impl Group {
    /// The indices of its cells, in the order in which they are run.
    pub(super) fn cells(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.cells.iter().copied()
    }
}

/// Groups the cells that have runs of their own by their shared rounds.
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

/// A string that is equal for cells that share their rounds.
fn identity(cell: &Cell) -> String {
    match cell.config.algorithm.as_fedgan() {
        Some(_) => cell.config.identity_of_rounds(),
        None => cell.name.clone(),
    }
}

/// Where the scores of each cell come from.
pub(super) fn sources(cells: &[Cell]) -> Vec<Source> {
    let averaged = |fedgan: &Cell| {
        cells.iter().position(|effgan| {
            effgan.config.mean_is_fedgan()
                && effgan.config.algorithm.rounds().map(|rounds| rounds + 1) == fedgan.config.algorithm.rounds()
                && effgan.config.identity_of_rounds() == fedgan.config.identity_of_rounds()
        })
    };
    let is_fedgan = |cell: &&Cell| cell.config.algorithm.as_fedgan().is_some() && !cell.config.algorithm.has_members();
    let source = |cell| Some(cell).filter(is_fedgan).and_then(averaged).map_or(Source::Run, Source::MeanOfMembers);
    cells.iter().map(source).collect()
}
