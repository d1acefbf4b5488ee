//! Pictures with a row for each client and a column for each round.

use std::collections::BTreeMap;

use effgan_fl::RoundRecord;

use super::client_matrix::{Cell, Matrix, MatrixSvg};
use super::run_folder::{Folder, one_in};

/// Maximum number of rounds that are shown: then columns are two pixels wide on a phone.
const MAX_ROUNDS: usize = 120;

/// A client's cell in one round. Its row and column follow from the client and the round.
pub(super) struct ClientCell {
    pub(super) client: String,
    pub(super) class: &'static str,
    pub(super) share: f64,
    pub(super) text: String,
    pub(super) title: String,
}

/// One in so many rounds is shown.
pub(super) fn every(folder: &Folder) -> usize {
    one_in(folder.rounds.len(), MAX_ROUNDS)
}

/// Draws the `cells` of all rounds, or of an even choice that includes the last one. Clients that are not in the partition are left out.
pub(super) fn by_client(folder: &Folder, title: &str, cells: impl Fn(&RoundRecord) -> Vec<ClientCell>) -> MatrixSvg {
    let clients = &folder.info.partition.clients;
    let rows: BTreeMap<&str, usize> = clients.iter().enumerate().map(|(row, name)| (name.as_str(), row)).collect();
    let mut rounds: Vec<&RoundRecord> = folder.rounds.values().rev().step_by(every(folder)).collect();
    rounds.reverse();
    let place = |column: usize, cell: ClientCell| {
        let (row, share) = (*rows.get(cell.client.as_str())?, cell.share.clamp(0.0, 1.0));
        Some(Cell { row, column, class: cell.class, share, text: cell.text, title: cell.title })
    };
    let columns = rounds.iter().enumerate();
    let placed =
        columns.flat_map(|(column, round)| cells(round).into_iter().filter_map(move |cell| place(column, cell)));
    let matrix = Matrix {
        title: title.into(),
        rows: clients.clone(),
        columns: rounds.iter().map(|round| round.round.to_string()).collect(),
        cells: placed.collect(),
    };
    matrix.draw()
}
