//! Who took part in which round, and who was asked and is missing.

use effgan_fl::RoundRecord;
use serde::Serialize;

use super::by_client::{Look, by_client, every};
use super::folder::Folder;
use super::matrix::Drawing;
use super::traffic::kind_name;
use crate::units::count;

/// Rounds in a table that is open from the start.
const SHORT: usize = 12;

/// Who took part.
#[derive(Serialize)]
pub(super) struct Attendance {
    sentence: String,
    /// None where everyone took part in everything.
    drawing: Option<Drawing>,
    /// Whether somebody was not asked in some round.
    unasked: bool,
    /// Rounds in which somebody is missing.
    rows: Vec<Row>,
    short: bool,
    /// Every how many rounds one is shown.
    every: usize,
}

#[derive(Serialize)]
struct Row {
    round: u32,
    kind: &'static str,
    answered: usize,
    asked: usize,
    /// Name and reason.
    missing: Vec<(String, String)>,
}

/// Attendance by client and round; none before the first exchange is done.
pub(super) fn attendance(folder: &Folder) -> Option<Attendance> {
    let rounds = || folder.rounds.values();
    rounds().next()?;
    let unasked = rounds().any(|round| asked(round) < folder.info.partition.clients.len());
    let rows: Vec<Row> = rounds().filter(|round| !round.missing.is_empty()).map(row).collect();
    Some(Attendance {
        sentence: sentence(folder, &rows),
        drawing: (unasked || !rows.is_empty()).then(|| by_client(folder, "who took part in which round", looks)),
        unasked,
        short: rows.len() <= SHORT,
        rows,
        every: every(folder),
    })
}

fn asked(round: &RoundRecord) -> usize {
    round.clients.len() + round.missing.len()
}

fn row(round: &RoundRecord) -> Row {
    Row {
        round: round.round,
        kind: kind_name(round.kind),
        answered: round.clients.len(),
        asked: asked(round),
        missing: round.missing.iter().map(|missing| (missing.name.to_string(), missing.reason.clone())).collect(),
    }
}

fn sentence(folder: &Folder, rows: &[Row]) -> String {
    let (rounds, replies) = (folder.rounds.len(), folder.rounds.values().map(asked).sum::<usize>());
    let exchanges = if rounds == 1 { "the one exchange".into() } else { format!("all {rounds} exchanges") };
    if rows.is_empty() {
        return format!("Everyone who was asked answered in {exchanges}.");
    }
    let missing: usize = rows.iter().map(|row| row.missing.len()).sum();
    let [missing, replies] = [missing, replies].map(|n| count(n as u64));
    format!("{missing} of {replies} replies are missing, in {} of {rounds} exchanges.", rows.len())
}

fn looks(round: &RoundRecord) -> Vec<Look> {
    let look = |client: String, class, share, what: &str| {
        let title = format!("{client}, round {}: {what}", round.round);
        Look { client, class, share, text: String::new(), title }
    };
    let here = round.clients.iter().map(|client| look(client.name.to_string(), "heat", 0.55, "took part"));
    let missing = round.missing.iter().map(|missing| look(missing.name.to_string(), "absent", 1.0, &missing.reason));
    here.chain(missing).collect()
}
