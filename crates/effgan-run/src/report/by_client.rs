//! Figures with a row for each client and a column for each round.

use std::collections::BTreeMap;

use effgan_fl::RoundRecord;

use super::folder::{Folder, one_in};
use super::matrix::{Cell, Drawing, Matrix};

/// Rounds that are shown at most: columns of two pixels on a phone.
const MOST_ROUNDS: usize = 120;

/// How a client's cell of a round looks; row and column are filled in.
pub(super) struct Look {
    pub(super) client: String,
    pub(super) class: &'static str,
    pub(super) share: f64,
    pub(super) text: String,
    pub(super) title: String,
}

/// Every how many rounds one is shown.
pub(super) fn every(folder: &Folder) -> usize {
    one_in(folder.rounds.len(), MOST_ROUNDS)
}

/// The rounds, or an even choice of them with the last one, as `looks` sees them. Clients that the partition does not know are left out.
pub(super) fn by_client(folder: &Folder, title: &str, looks: impl Fn(&RoundRecord) -> Vec<Look>) -> Drawing {
    let clients = &folder.info.partition.clients;
    let rows: BTreeMap<&str, usize> = clients.iter().enumerate().map(|(row, name)| (name.as_str(), row)).collect();
    let mut rounds: Vec<&RoundRecord> = folder.rounds.values().rev().step_by(every(folder)).collect();
    rounds.reverse();
    let cell = |column: usize, look: Look| {
        let (row, share) = (*rows.get(look.client.as_str())?, look.share.clamp(0.0, 1.0));
        Some(Cell { row, column, class: look.class, share, text: look.text, title: look.title })
    };
    let cells = rounds.iter().enumerate();
    let cells = cells.flat_map(|(column, round)| looks(round).into_iter().filter_map(move |look| cell(column, look)));
    let matrix = Matrix {
        title: title.into(),
        rows: clients.clone(),
        columns: rounds.iter().map(|round| round.round.to_string()).collect(),
        cells: cells.collect(),
    };
    matrix.draw()
}
