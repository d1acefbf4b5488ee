//! Bytes sent per exchange, and the time of each stage.

use effgan_fl::{ExchangeKind, RoundRecord};
use serde::Serialize;

use super::chart::Chart;
use super::chart_axis::Axis;
use super::plot::{Bar, Plot, Series, Shape};
use super::run_folder::Folder;
use crate::units::{byte_unit, bytes, duration};

/// Longest table that is expanded when the page opens.
const SHORT: usize = 12;

/// The bytes of all exchanges.
#[derive(Serialize)]
pub(super) struct Traffic {
    chart: Chart,
    rows: Vec<TrafficRow>,
    short: bool,
    down: String,
    up: String,
}

#[derive(Serialize)]
struct TrafficRow {
    round: u32,
    kind: &'static str,
    clients: usize,
    down: String,
    up: String,
    /// Bytes in both directions since the first exchange.
    total: String,
    seconds: String,
}

/// Bytes by round; `None` before the first exchange is done.
pub(super) fn traffic(folder: &Folder) -> Option<Traffic> {
    let sum = |of: fn(&RoundRecord) -> u64| bytes(folder.rounds.values().map(of).sum());
    Some(Traffic {
        chart: chart(folder)?,
        rows: rows(folder),
        short: folder.rounds.len() <= SHORT,
        down: sum(|round| round.bytes_down),
        up: sum(|round| round.bytes_up),
    })
}

fn chart(folder: &Folder) -> Option<Chart> {
    let (first, last) = (*folder.rounds.keys().next()?, *folder.rounds.keys().next_back()?);
    let largest = folder.rounds.values().map(|round| round.bytes_down.max(round.bytes_up)).max()?;
    let (size, unit) = byte_unit(largest);
    let legend = [("down", "server to clients"), ("up", "clients to server")];
    let series = |(class, name): (&'static str, &str)| Series {
        class,
        name: name.into(),
        pieces: Vec::new(),
        shape: Shape::Square,
        label: None,
    };
    let plot = Plot {
        title: "bytes sent in each round".into(),
        x: folder.axis(first, last, 0.5),
        y: Axis::from_zero(&format!("{unit} of tensors"), 0.0, largest as f64 / size),
        series: legend.map(series).into(),
        bars: folder.rounds.values().flat_map(|round| bars(round, size)).collect(),
        level: None,
        dividers: Vec::new(),
        height: 240.0,
    };
    Some(plot.draw())
}

/// Two bars side by side: down and up.
fn bars(record: &RoundRecord, size: f64) -> [Bar; 2] {
    let round = f64::from(record.round);
    let bar = |class, from: f64, sent: u64, direction: &str| Bar {
        class,
        x: [round + from, round + from + 0.3],
        y: [0.0, sent as f64 / size],
        title: format!("round {}: {} {direction}", record.round, bytes(sent)),
    };
    [bar("down", -0.31, record.bytes_down, "to the clients"), bar("up", 0.01, record.bytes_up, "to the server")]
}

fn rows(folder: &Folder) -> Vec<TrafficRow> {
    let total = |total: &mut u64, round: &RoundRecord| {
        *total += round.bytes_down + round.bytes_up;
        Some(*total)
    };
    let totals = folder.rounds.values().scan(0, total);
    let row = |(round, total): (&RoundRecord, u64)| TrafficRow {
        round: round.round,
        kind: kind_name(round.kind),
        clients: round.clients.len(),
        down: bytes(round.bytes_down),
        up: bytes(round.bytes_up),
        total: bytes(total),
        seconds: duration(round.seconds),
    };
    folder.rounds.values().zip(totals).map(row).collect()
}

/// The name of an exchange's kind.
pub(super) fn kind_name(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Average => "average",
        ExchangeKind::Collect => "collect",
        ExchangeKind::Feedback | ExchangeKind::Logits | ExchangeKind::SwapUp | ExchangeKind::SwapDown => "feedback",
    }
}

/// The total time of one stage of the run.
#[derive(Serialize)]
pub(super) struct StageTime {
    name: String,
    time: String,
    /// Per cent of the longest stage.
    percent: f64,
}

/// Time by stage, in the order in which they first appear.
pub(super) fn stages(folder: &Folder) -> Vec<StageTime> {
    let mut times: Vec<(&str, f64)> = Vec::new();
    for stage in &folder.stages {
        match times.iter_mut().find(|(name, _)| *name == stage.stage) {
            Some((_, seconds)) => *seconds += stage.seconds,
            None => times.push((&stage.stage, stage.seconds)),
        }
    }
    let longest = times.iter().map(|time| time.1).fold(f64::MIN_POSITIVE, f64::max);
    let time = |(name, seconds): (&str, f64)| {
        let percent = (seconds / longest * 1000.0).round() / 10.0;
        StageTime { name: name.into(), time: duration(seconds), percent }
    };
    times.into_iter().map(time).collect()
}
