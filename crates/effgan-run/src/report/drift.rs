//! Client drift: the norms of updates, and their cosines to the mean update.

use effgan_fl::{Drift, RoundRecord};
use serde::Serialize;

use super::by_client::{ClientCell, by_client, every};
use super::client_matrix::MatrixSvg;
use super::run_folder::Folder;
use crate::units::three_digits;

/// Drift by client and round.
#[derive(Serialize)]
pub(super) struct DriftFigures {
    /// A sentence about the last round.
    sentence: String,
    /// The largest norm, which has the darkest colour.
    largest: String,
    norm: MatrixSvg,
    cosine: MatrixSvg,
    /// One in `every` rounds is shown.
    every: usize,
}

/// The two pictures; `None` where no client's drift is known.
pub(super) fn drift(folder: &Folder) -> Option<DriftFigures> {
    let last = folder.rounds.values().rev().find(|round| !drifts(round).is_empty())?;
    let norms = folder.rounds.values().flat_map(drifts).map(|(_, drift)| drift.norm).filter(|norm| norm.is_finite());
    let largest = norms.fold(f64::MIN_POSITIVE, f64::max);
    let cell = |round: &RoundRecord, (client, drift): (String, Drift), class, share, value: f64| ClientCell {
        title: format!("{client}, round {}: {}", round.round, number(value)),
        text: number(value),
        client,
        class,
        share: if drift.norm.is_finite() && drift.cosine.is_finite() { share } else { 0.0 },
    };
    let norm =
        |round: &RoundRecord, of: (String, Drift)| cell(round, of.clone(), "heat", of.1.norm / largest, of.1.norm);
    let cosine = |round: &RoundRecord, of: (String, Drift)| {
        let class = if of.1.cosine < 0.0 { "against" } else { "heat" };
        cell(round, of.clone(), class, of.1.cosine.abs(), of.1.cosine)
    };
    let draw = |title, of: &dyn Fn(&RoundRecord, (String, Drift)) -> ClientCell| {
        by_client(folder, title, |round| drifts(round).into_iter().map(|drift| of(round, drift)).collect())
    };
    Some(DriftFigures {
        sentence: sentence(last),
        largest: three_digits(largest),
        norm: draw("norm of each client's update by round", &norm),
        cosine: draw("cosine of each client's update to the mean update by round", &cosine),
        every: every(folder),
    })
}

/// The clients of a round whose drift is known, with it.
fn drifts(round: &RoundRecord) -> Vec<(String, Drift)> {
    round.clients.iter().filter_map(|client| Some((client.name.to_string(), client.drift?))).collect()
}

fn sentence(round: &RoundRecord) -> String {
    let mut drifts = drifts(round);
    drifts.sort_by(|a, b| a.1.cosine.total_cmp(&b.1.cosine));
    let mean = drifts.iter().map(|(_, drift)| drift.cosine).sum::<f64>() / drifts.len() as f64;
    let named = |(name, drift): &(String, Drift)| format!("{} ({name})", number(drift.cosine));
    let range = match &drifts[..] {
        [lowest, .., highest] => format!(", from {} to {}", named(lowest), named(highest)),
        _ => String::new(),
    };
    format!("In round {} the cosine is {} on average{range}.", round.round, number(mean))
}

/// A number with a minus sign as wide as a digit.
fn number(value: f64) -> String {
    let digits = if value.abs() < 1.0 { format!("{value:.2}") } else { three_digits(value) };
    digits.replace('-', "−")
}
