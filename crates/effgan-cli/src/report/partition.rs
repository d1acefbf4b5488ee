//! Who held what: the heat map of the partition, and the class mixes of clients and of generated images.

use serde::Serialize;

use super::units::{count, percent};
use crate::events::PartitionInfo;

/// More clients or classes than these are drawn without numbers, in thin rows.
const MOST_ROWS: usize = 40;
const MOST_COLUMNS: usize = 16;

/// Share from which a cell is so deep that its text has to be light.
const DEEP: f64 = 0.65;

/// The partition as a table, or as a drawing where it is too large for one.
#[derive(Serialize)]
pub(super) struct Heat {
    skew: String,
    skew_percent: String,
    clients: usize,
    classes: Vec<usize>,
    rows: Vec<HeatRow>,
    drawing: Option<HeatDrawing>,
}

#[derive(Serialize)]
struct HeatRow {
    name: String,
    total: String,
    cells: Vec<HeatCell>,
}

#[derive(Serialize)]
struct HeatCell {
    text: String,
    /// Of the largest count, 0..1.
    share: f64,
    /// Whether its text has to be light.
    deep: bool,
}

/// Thin rows: cells as rectangles in a picture that is 360 wide.
#[derive(Serialize)]
struct HeatDrawing {
    height: f64,
    left: f64,
    cell: [f64; 2],
    names: Vec<(f64, String)>,
    classes: Vec<(f64, usize)>,
    /// x, y, share.
    cells: Vec<(f64, f64, f64)>,
}

/// The partition of a run.
pub(super) fn heat(partition: &PartitionInfo) -> Heat {
    let counts = &partition.class_counts;
    let classes = counts.iter().map(Vec::len).max().unwrap_or(0);
    let largest = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let small = counts.len() <= MOST_ROWS && classes <= MOST_COLUMNS;
    let name = |i: usize| partition.clients.get(i).cloned().unwrap_or_default();
    let row = |(i, counts): (usize, &Vec<u64>)| row(name(i), counts, largest);
    Heat {
        skew: format!("{:.2}", partition.label_skew),
        skew_percent: percent(partition.label_skew),
        clients: counts.len(),
        classes: (0..classes).collect(),
        rows: if small { counts.iter().enumerate().map(row).collect() } else { Vec::new() },
        drawing: (!small).then(|| drawing(partition, classes, largest)),
    }
}

fn row(name: String, counts: &[u64], largest: u64) -> HeatRow {
    let cell = |&n: &u64| {
        let share = share(n, largest);
        HeatCell { text: if n == 0 { String::new() } else { count(n) }, share, deep: share > DEEP }
    };
    HeatRow { name, total: count(counts.iter().sum()), cells: counts.iter().map(cell).collect() }
}

fn drawing(partition: &PartitionInfo, classes: usize, largest: u64) -> HeatDrawing {
    let counts = &partition.class_counts;
    let (top, height) = (18.0, (1000.0 / counts.len() as f64).clamp(2.0, 10.0));
    let longest = partition.clients.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = (longest as f64 * 6.0 + 8.0).min(160.0);
    let width = (360.0 - left) / classes.max(1) as f64;
    let y = |row: usize| top + row as f64 * height;
    let named = (12.0 / height).ceil() as usize;
    let names = partition.clients.iter().enumerate().step_by(named);
    let across = |(row, counts): (usize, &Vec<u64>)| -> Vec<(f64, f64, f64)> {
        let cells = counts.iter().enumerate().filter(|(_, n)| **n > 0);
        cells.map(|(class, &n)| (tenth(left + class as f64 * width), tenth(y(row)), share(n, largest))).collect()
    };
    HeatDrawing {
        height: tenth(y(counts.len()) + 4.0),
        left,
        cell: [tenth(width), tenth(height)],
        names: names.map(|(row, name)| (tenth(y(row) + height / 2.0), name.clone())).collect(),
        classes: (0..classes)
            .step_by((18.0 / width).ceil() as usize)
            .map(|class| (tenth(left + (class as f64 + 0.5) * width), class))
            .collect(),
        cells: counts.iter().enumerate().flat_map(across).collect(),
    }
}

/// Shares of classes as small bars.
#[derive(Serialize)]
pub(super) struct Mix {
    bars: Vec<MixBar>,
}

#[derive(Serialize)]
struct MixBar {
    class: usize,
    /// Per cent of the tallest bar of all mixes.
    height: f64,
    share: String,
}

/// Class counts as bars of one scale, so that they can be compared.
pub(super) fn mixes(counts: &[&[u64]]) -> Vec<Mix> {
    let shares = |counts: &[u64]| -> Vec<f64> {
        let total = counts.iter().sum::<u64>().max(1);
        counts.iter().map(|n| *n as f64 / total as f64).collect()
    };
    let all: Vec<Vec<f64>> = counts.iter().map(|counts| shares(counts)).collect();
    let largest = all.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |(class, share): (usize, &f64)| MixBar {
        class,
        height: tenth(share / largest * 100.0),
        share: percent(*share),
    };
    all.iter().map(|shares| Mix { bars: shares.iter().enumerate().map(bar).collect() }).collect()
}

fn share(n: u64, largest: u64) -> f64 {
    (n as f64 / largest as f64 * 100.0).round() / 100.0
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(clients: usize, classes: usize) -> PartitionInfo {
        let class_counts = (0..clients as u64).map(|i| (0..classes as u64).map(|c| (i + c) % 3).collect()).collect();
        let clients = (0..clients).map(|i| format!("client-{i:04}")).collect();
        PartitionInfo { class_counts, clients, label_skew: 0.72 }
    }

    #[test]
    fn a_small_partition_is_a_table_with_numbers() {
        let heat = heat(&partition(4, 10));
        assert_eq!((heat.rows.len(), heat.rows[3].cells.len()), (4, 10));
        assert!(heat.drawing.is_none());
        let cells = &heat.rows[0].cells;
        assert_eq!([&cells[0].text, &cells[1].text, &cells[2].text], ["", "1", "2"]);
        assert_eq!((cells[1].share.to_string(), cells[2].deep), ("0.5".into(), true));
    }

    #[test]
    fn a_large_partition_is_a_drawing_that_stays_inside() {
        for (clients, classes) in [(41, 10), (500, 10), (3, 100), (5000, 1)] {
            let heat = heat(&partition(clients, classes));
            let drawing = heat.drawing.unwrap();
            let [width, height] = drawing.cell;
            assert!(drawing.cells.iter().all(|(x, y, _)| x + width <= 360.5 && y + height <= drawing.height));
            assert!(heat.rows.is_empty() && drawing.names.len() <= 100.max(clients / 6 + 1));
        }
    }

    #[test]
    fn mixes_share_one_scale() {
        let mixes = mixes(&[&[1, 1], &[3, 1], &[]]);
        let heights = |mix: &Mix| mix.bars.iter().map(|bar| bar.height.round() as u32).collect::<Vec<_>>();
        assert_eq!([heights(&mixes[0]), heights(&mixes[1]), heights(&mixes[2])], [vec![67, 67], vec![100, 33], vec![]]);
    }
}
