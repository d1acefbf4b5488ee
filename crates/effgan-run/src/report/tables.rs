//! `metrics.csv` and `clients.csv`: the numbers of a run as tables for pandas, R and spreadsheets.
//!
//! Both are made from `metrics.jsonl`; `docs/run-folder.md` explains their columns. Values that do not apply are empty.

use std::collections::BTreeSet;

use effgan_fl::ensemble::NormStatistics;
use effgan_fl::message::STEPS;
use effgan_fl::{ClientRecord, ExchangeKind, Missing, RoundRecord};
use effgan_metrics::metric::Number;
use effgan_metrics::metrics_in_run;
use serde::Serialize;

use super::run_folder::Folder;
use crate::record::csv_file;
use crate::record::events::{Score, Scored};

/// Columns of `metrics.csv` before those of the losses, between those and the metrics, and after the metrics.
const BEFORE: [&str; 4] = ["round", "kind", "clients", "missing"];
const BETWEEN: [&str; 7] = ["bytes_down", "bytes_up", "bytes_total", "round_seconds", "of", "norm_statistics", "n"];
const AFTER: [&str; 1] = ["score_seconds"];

/// A row of `metrics.csv`: a score, and the round after which it was taken. A round without scores is one row, too.
#[derive(Serialize)]
struct Row {
    round: u32,
    kind: Option<ExchangeKind>,
    clients: Option<usize>,
    missing: Option<usize>,
    losses: Vec<Option<f64>>,
    bytes_down: Option<u64>,
    bytes_up: Option<u64>,
    bytes_total: u64,
    round_seconds: Option<f64>,
    of: Option<Scored>,
    norm_statistics: Option<NormStatistics>,
    n: Option<usize>,
    metrics: Vec<Option<Number>>,
    score_seconds: Option<f64>,
}

/// `metrics.csv`: a row for each round and score; empty before the first.
pub(super) fn metrics(folder: &Folder) -> csv::Result<Vec<u8>> {
    let rounds: BTreeSet<u32> = folder.rounds.keys().copied().chain(folder.scores.keys().map(|key| key.2)).collect();
    let losses = folder.loss_keys();
    csv_file::write(|table| {
        if !rounds.is_empty() {
            // The first record decides: it has no names of fields, so the rows after it do not write theirs.
            let (losses, metrics) =
                (losses.iter().map(String::as_str), metrics_in_run(folder.network()).map(|metric| metric.name));
            table.serialize(
                BEFORE.into_iter().chain(losses).chain(BETWEEN).chain(metrics).chain(AFTER).collect::<Vec<_>>(),
            )?;
        }
        for round in rounds {
            let scores: Vec<&Score> = folder.scores.values().filter(|score| score.round == round).collect();
            for score in scores.iter().copied().map(Some).chain(scores.is_empty().then_some(None)) {
                table.serialize(row(folder, &losses, round, score))?;
            }
        }
        Ok(())
    })
}

fn row(folder: &Folder, losses: &BTreeSet<String>, round: u32, score: Option<&Score>) -> Row {
    let record = folder.rounds.get(&round);
    let scores = score.map(|score| &score.scores);
    Row {
        round,
        kind: record.map(|record| record.kind),
        clients: record.map(|record| record.clients.len()),
        missing: record.map(|record| record.missing.len()),
        losses: losses.iter().map(|key| mean(record?, key)).collect(),
        bytes_down: record.map(|record| record.bytes_down),
        bytes_up: record.map(|record| record.bytes_up),
        bytes_total: folder.bytes_until(round),
        round_seconds: record.map(|record| record.seconds),
        of: score.map(|score| score.of),
        norm_statistics: score.and_then(|score| score.norm_statistics),
        n: scores.map(|scores| scores.n),
        metrics: metrics_in_run(folder.network()).map(|metric| Some(metric.number(scores?.get(metric)?))).collect(),
        score_seconds: score.map(|score| score.seconds),
    }
}

/// The unweighted mean over the clients that took part.
fn mean(record: &RoundRecord, name: &str) -> Option<f64> {
    let values: Vec<f64> = record.clients.iter().filter_map(|client| client.metrics.get(name).copied()).collect();
    Some(values.iter().sum::<f64>() / values.len() as f64).filter(|mean| mean.is_finite())
}

/// `clients.csv`: a row for each round and client of its cohort, also where the reply is missing.
pub(super) fn clients(folder: &Folder) -> csv::Result<Vec<u8>> {
    let clients = || folder.rounds.values().flat_map(|round| &round.clients);
    // A record from elsewhere may contain arbitrary names; only losses and steps become columns.
    let losses = folder.loss_keys();
    let known = losses.iter().map(String::as_str).chain([STEPS]);
    let metrics: BTreeSet<&str> =
        known.filter(|name| clients().any(|client| client.metrics.contains_key(*name))).collect();
    let (before, after) =
        (["round", "kind", "client", "num_examples"], ["drift_norm", "drift_cosine", "seconds", "missing"]);
    csv_file::write(|table| {
        table.write_record(before.iter().chain(&metrics).chain(&after))?;
        for record in folder.rounds.values() {
            for client in &record.clients {
                table.serialize(answered(record, client, &metrics))?;
            }
            for missing in &record.missing {
                table.serialize(absent(record, missing, metrics.len()))?;
            }
        }
        Ok(())
    })
}

/// Round, kind, client, n_k, its metrics, drift and seconds, and why it is missing.
type ClientRow<'a> = (u32, ExchangeKind, &'a str, Option<u64>, Vec<Option<f64>>, [Option<f64>; 3], &'a str);

fn answered<'a>(record: &RoundRecord, client: &'a ClientRecord, metrics: &BTreeSet<&str>) -> ClientRow<'a> {
    let values = metrics.iter().map(|name| client.metrics.get(*name).copied()).collect();
    let (norm, cosine) = (client.drift.map(|drift| drift.norm), client.drift.map(|drift| drift.cosine));
    let last = [norm, cosine, Some(client.seconds)];
    (record.round, record.kind, client.name.as_str(), Some(client.num_examples), values, last, "")
}

fn absent<'a>(record: &RoundRecord, missing: &'a Missing, metrics: usize) -> ClientRow<'a> {
    (record.round, record.kind, missing.name.as_str(), None, vec![None; metrics], [None; 3], &missing.reason)
}
