//! Which clients took part in which round, and which were selected but are missing.

use effgan_fl::RoundRecord;
use serde::Serialize;

use super::by_client::{ClientCell, by_client, every};
use super::client_matrix::MatrixSvg;
use super::run_folder::Folder;
use super::traffic::kind_name;
use crate::units::count;

/// Longest table that is expanded when the page opens.
const SHORT: usize = 12;

/// Participation by client and round.
#[derive(Serialize)]
pub(super) struct Attendance {
    sentence: String,
    /// Absent where all clients took part in all rounds.
    drawing: Option<MatrixSvg>,
    /// Whether a client was not selected in some round.
    unselected: bool,
    /// Rounds with missing clients.
    rows: Vec<Row>,
    short: bool,
    /// One in `every` rounds is shown.
    every: usize,
}

#[derive(Serialize)]
struct Row {
    round: u32,
    kind: &'static str,
    replied: usize,
    selected: usize,
    /// Name and reason of each missing client.
    missing: Vec<(String, String)>,
}

/// Participation by client and round; `None` before the first exchange is done.
pub(super) fn attendance(folder: &Folder) -> Option<Attendance> {
    let rounds = || folder.rounds.values();
    rounds().next()?;
    let unselected = rounds().any(|round| selected(round) < folder.info.partition.clients.len());
    let rows: Vec<Row> = rounds().filter(|round| !round.missing.is_empty()).map(row).collect();
    Some(Attendance {
        sentence: sentence(folder, &rows),
        drawing: (unselected || !rows.is_empty())
            .then(|| by_client(folder, "participation by client and round", cells)),
        unselected,
        short: rows.len() <= SHORT,
        rows,
        every: every(folder),
    })
}

fn selected(round: &RoundRecord) -> usize {
    round.clients.len() + round.missing.len()
}

fn row(round: &RoundRecord) -> Row {
    Row {
        round: round.round,
        kind: kind_name(round.kind),
        replied: round.clients.len(),
        selected: selected(round),
        missing: round.missing.iter().map(|missing| (missing.name.to_string(), missing.reason.clone())).collect(),
    }
}

fn sentence(folder: &Folder, rows: &[Row]) -> String {
    let (rounds, replies) = (folder.rounds.len(), folder.rounds.values().map(selected).sum::<usize>());
    let exchanges = if rounds == 1 { "the only exchange".into() } else { format!("all {rounds} exchanges") };
    if rows.is_empty() {
        return format!("All selected clients replied in {exchanges}.");
    }
    let missing: usize = rows.iter().map(|row| row.missing.len()).sum();
    let [missing, replies] = [missing, replies].map(|n| count(n as u64));
    format!("{missing} of {replies} replies missing, in {} of {rounds} exchanges.", rows.len())
}

fn cells(round: &RoundRecord) -> Vec<ClientCell> {
    let cell = |client: String, class, share, what: &str| {
        let title = format!("{client}, round {}: {what}", round.round);
        ClientCell { client, class, share, text: String::new(), title }
    };
    let present = round.clients.iter().map(|client| cell(client.name.to_string(), "heat", 0.55, "took part"));
    let missing = round.missing.iter().map(|missing| cell(missing.name.to_string(), "absent", 1.0, &missing.reason));
    present.chain(missing).collect()
}
