//! Events as single lines of text, for logs and above the live view.

use std::collections::BTreeMap;

use effgan_fl::{ExchangeKind, RoundRecord};
use effgan_metrics::metric::{Line, Unit};

use crate::record::events::{Event, Score};
use crate::record::loss_key;

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

/// Maximum number of missing clients that are named with their reasons; of more, only the number is given.
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
    let done = match &record.clients[..] {
        [] => return format!("round {:<3} no client replied{missing}", record.round),
        // The mean of one reply is the reply.
        [one] if record.kind == ExchangeKind::Average => format!("trained at {}", one.name),
        clients => format!("{what} {} clients", clients.len()),
    };
    format!(
        "round {:<3} {done}{missing}: {}{:.1} MB down, {:.1} up; {:.1} s",
        record.round,
        losses(record),
        record.bytes_down as f64 / 1e6,
        record.bytes_up as f64 / 1e6,
        record.seconds,
    )
}

/// The means over the clients, `loss D 1.234, G 0.567; `; empty where nothing was trained.
fn losses(record: &RoundRecord) -> String {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (key, value) in record.clients.iter().flat_map(|client| loss_key::losses(&client.metrics)) {
        *sums.entry(key).or_default() += value;
    }
    let mean = |(key, sum)| format!("{} {:.3}", loss_key::short(key), sum / record.clients.len() as f64);
    let means = sums.into_iter().map(mean).collect::<Vec<_>>().join(", ");
    if means.is_empty() { means } else { format!("loss {means}; ") }
}

/// A score with its n, within 80 columns.
fn score_line(score: &Score) -> String {
    let statistics = score.norm_statistics.map(|how| format!(", {}", how.name())).unwrap_or_default();
    let mut line = format!("  {:<30} ", format!("{}{statistics}", score.of.title()));
    for (metric, value) in score.scores.all() {
        let Some(Line { label, width }) = metric.in_run().and_then(|in_run| in_run.line.as_ref()) else { continue };
        let of = match metric.unit {
            Unit::Classes => format!("/{}", score.scores.settings.class_counts.len()),
            Unit::None | Unit::Nats => String::new(),
        };
        line += &format!("{label} {:>width$}{of}  ", metric.text_in_run(value));
    }
    format!("{line}n {}", score.scores.n)
}

#[cfg(test)]
mod tests {
    use effgan_fl::ensemble::NormStatistics;
    use effgan_fl::{ClientRecord, Missing};
    use effgan_metrics::metric::Network;
    use effgan_metrics::metrics_in_run;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::record::events::Scored;

    /// The line of a round whose clients sent so many times these metrics.
    fn round_of(clients: &[(&str, f64)], losses: &[(&str, f64)]) -> String {
        let client = |&(name, factor): &(&str, f64)| ClientRecord {
            name: name.to_owned().try_into().unwrap(),
            num_examples: 1,
            counted: None,
            metrics: losses.iter().map(|(key, value)| ((*key).to_owned(), factor * value)).collect(),
            seconds: 1.0,
            drift: None,
        };
        let record = RoundRecord {
            round: 3,
            kind: ExchangeKind::Average,
            clients: clients.iter().map(client).collect(),
            missing: vec![],
            refused: vec![],
            bytes_down: 13_000_000,
            bytes_up: 7_000_000,
            seconds: 1.5,
        };
        line_of(&Event::Round(record)).unwrap()
    }

    fn round_with(losses: &[(&str, f64)]) -> String {
        round_of(&[("a", 0.5), ("b", 1.5)], losses)
    }

    fn line_of_score(metrics: Map<String, Value>) -> String {
        let mut scores =
            Map::from_iter([("n".to_owned(), json!(2000)), ("class_counts".to_owned(), json!(vec![200; 10]))]);
        scores.extend(metrics);
        let (of, norm_statistics) = (Scored::Average, Some(NormStatistics::Recompute));
        let scores = serde_json::from_value(scores.into()).unwrap();
        line_of(&Event::Score(Score { round: 1, of, norm_statistics, scores, seconds: 1.0 })).unwrap()
    }

    #[test]
    fn the_line_of_a_score_has_80_columns_at_most() {
        let metrics = json!({ "fd_small": 1228.066, "class_kl": 0.7151, "modes": 7 });
        assert_eq!(
            line_of_score(metrics.as_object().unwrap().clone()),
            "  averaged generator, recomputed fd_small 1228.07  KL 0.715  modes  7/10  n 2000"
        );
        for network in [Network::Small, Network::Own, Network::LowPass] {
            let line =
                line_of_score(metrics_in_run(network).map(|metric| (metric.name.to_owned(), json!(1))).collect());
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn a_round_has_the_mean_of_each_loss() {
        let line = |losses: &str| format!("round 3   averaged 2 clients: {losses}13.0 MB down, 7.0 up; 1.5 s");
        assert_eq!(round_with(&[("loss_d", 1.25), ("loss_g", 0.5)]), line("loss D 1.250, G 0.500; "));
        let three = [("loss_kl", 0.25), ("loss_pixels", 4.0), ("loss_z", 1.0), ("steps", 9.0)];
        assert_eq!(round_with(&three), line("loss kl 0.250, pixels 4.000, Z 1.000; "));
        assert_eq!(round_with(&[("steps", 0.0)]), line(""));
    }

    #[test]
    fn a_round_of_one_client_names_it() {
        assert_eq!(round_of(&[("site-3", 1.0)], &[]), "round 3   trained at site-3: 13.0 MB down, 7.0 up; 1.5 s");
    }

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
