//! Events as single lines of text, for logs and above the live view.

use effgan_fl::{ExchangeKind, RoundRecord};

use crate::record::events::{Event, Score};

/// An event as a line of text; `None` for events that are only for files.
pub fn line_of(event: &Event) -> Option<String> {
    match event {
        Event::Round(record) => Some(round_line(record)),
        Event::Score(score) => Some(score_line(score)),
        Event::Note(note) => Some(note.note.clone()),
        Event::Flag(flag) => Some(flag.sentence()),
        _ => None,
    }
}

/// Most missing clients that are named with their reasons; of more, only the number is given.
const MAX_NAMES: usize = 3;

fn round_line(record: &RoundRecord) -> String {
    let what = match record.kind {
        ExchangeKind::Average => "averaged",
        ExchangeKind::Collect => "collected",
        ExchangeKind::Feedback | ExchangeKind::Logits | ExchangeKind::SwapUp | ExchangeKind::SwapDown => "trained with",
    };
    let missing = match &record.missing[..] {
        [] => String::new(),
        some if some.len() <= MAX_NAMES => {
            let named = some.iter().map(|one| format!("{}: {}", one.name, one.reason));
            format!(" (missing: {})", named.collect::<Vec<_>>().join("; "))
        }
        some => format!(" ({} missing)", some.len()),
    };
    if record.clients.is_empty() {
        return format!("round {:<3} no client replied{missing}", record.round);
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

/// A score with its n, within 80 columns.
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

#[cfg(test)]
mod tests {
    use effgan_fl::Missing;

    use super::*;

    #[test]
    fn missing_clients_are_named_with_their_reasons() {
        let round = |num_missing: usize| {
            let reasons = ["not connected", "no answer within 20 s"].into_iter().cycle();
            let missing = |(i, reason): (usize, &str)| Missing {
                name: format!("site-{i}").try_into().unwrap(),
                reason: reason.to_owned(),
            };
            let record = RoundRecord {
                round: 3,
                kind: ExchangeKind::Average,
                clients: vec![],
                missing: reasons.take(num_missing).enumerate().map(missing).collect(),
                refused: vec![],
                bytes_down: 0,
                bytes_up: 0,
                seconds: 1.0,
            };
            line_of(&Event::Round(record)).unwrap()
        };
        assert_eq!(round(0), "round 3   no client replied");
        assert_eq!(
            round(2),
            "round 3   no client replied (missing: site-0: not connected; site-1: no answer within 20 s)"
        );
        assert_eq!(round(4), "round 3   no client replied (4 missing)");
    }
}
