//! What is said of an event in a line: in a log, and above the live view.

use effgan_fl::{ExchangeKind, RoundRecord};

use crate::events::{Event, Score};

/// An event's line, where it has one.
pub fn line(event: &Event) -> Option<String> {
    match event {
        Event::Round(record) => Some(round_line(record)),
        Event::Score(score) => Some(score_line(score)),
        Event::Note(note) => Some(note.note.clone()),
        Event::Flag(flag) => Some(flag.sentence()),
        _ => None,
    }
}

/// More names of who is missing would fill the line.
const MOST_NAMES: usize = 3;

fn round_line(record: &RoundRecord) -> String {
    let what = match record.kind {
        ExchangeKind::Average => "averaged",
        ExchangeKind::Collect => "collected",
        ExchangeKind::Feedback | ExchangeKind::Logits | ExchangeKind::Swap => "heard",
    };
    let missing = match &record.missing[..] {
        [] => String::new(),
        some if some.len() <= MOST_NAMES => {
            format!(" (missing: {})", some.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "))
        }
        some => format!(" ({} missing)", some.len()),
    };
    if record.clients.is_empty() {
        return format!("round {:<3} nobody answered{missing}", record.round);
    }
    let mean = |name: &str| {
        let values = record.clients.iter().filter_map(|client| client.metrics.get(name));
        values.sum::<f64>() / record.clients.len() as f64
    };
    format!(
        "round {:<3} {what} {} clients{missing}: loss D {:.3}, G {:.3}; {:.1} MB down, {:.1} up; {:.1} s",
        record.round,
        record.clients.len(),
        mean("loss_d"),
        mean("loss_g"),
        record.bytes_down as f64 / 1e6,
        record.bytes_up as f64 / 1e6,
        record.seconds,
    )
}

/// A score with its n, within 80 columns; the floor is a line of its own, before all others.
fn score_line(score: &Score) -> String {
    let statistics = score.norm_statistics.map(|how| format!(", {}", how.name())).unwrap_or_default();
    format!(
        "  {:<30} fd_small {:>7.2}  KL {:.3}  modes {:>2}/{}  n {}",
        format!("{}{statistics}", score.of.title()),
        score.scores.fd_small,
        score.scores.class_kl,
        score.scores.modes,
        score.scores.class_counts.len(),
        score.scores.n,
    )
}
