//! The heat map of the partition, and the class shares of clients and of generated images.

use serde::Serialize;

use super::client_matrix::{Cell, DEEP, Matrix, MatrixSvg};
use crate::record::run_info::{DatasetInfo, PartitionInfo};
use crate::units::{count, percent};

/// Maximum number of clients and classes of a table with numbers; more are drawn as thin rows without numbers.
const MAX_ROWS: usize = 40;
const MAX_COLUMNS: usize = 16;
/// Maximum number of letters of a class over a column of the drawing, whose cells have its whole name.
const MAX_LETTERS: usize = 10;

/// The partition as a table, or as a drawing where it is too large for one.
#[derive(Serialize)]
pub(super) struct Heat {
    skew: String,
    skew_percent: String,
    clients: usize,
    classes: Vec<String>,
    rows: Vec<HeatRow>,
    drawing: Option<MatrixSvg>,
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
    /// Share of the largest count, 0..1.
    share: f64,
    /// Whether its text must be light.
    deep: bool,
}

/// The partition of a run; `None` where sites did not report their classes.
pub(super) fn heat(partition: &PartitionInfo, dataset: &DatasetInfo) -> Option<Heat> {
    let counts = partition.class_counts.as_ref()?;
    let skew = partition.label_skew?;
    let classes = counts.iter().map(Vec::len).max().unwrap_or(0);
    let largest = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let small = counts.len() <= MAX_ROWS && classes <= MAX_COLUMNS;
    let name = |i: usize| partition.clients.get(i).cloned().unwrap_or_default();
    let names: Vec<String> = (0..classes).map(|class| dataset.class_name(class)).collect();
    let row = |(i, counts): (usize, &Vec<u64>)| row(name(i), counts, largest);
    Some(Heat {
        skew: format!("{skew:.2}"),
        skew_percent: percent(skew),
        clients: counts.len(),
        classes: names.clone(),
        rows: if small { counts.iter().enumerate().map(row).collect() } else { Vec::new() },
        drawing: (!small).then(|| drawing(&partition.clients, &names, counts, largest)),
    })
}

fn row(name: String, counts: &[u64], largest: u64) -> HeatRow {
    let cell = |&n: &u64| {
        let share = share(n, largest);
        HeatCell { text: if n == 0 { String::new() } else { count(n) }, share, deep: share > DEEP }
    };
    HeatRow { name, total: count(counts.iter().sum()), cells: counts.iter().map(cell).collect() }
}

fn drawing(clients: &[String], classes: &[String], counts: &[Vec<u64>], largest: u64) -> MatrixSvg {
    let cell = |row: usize, column: usize, n: u64| Cell {
        row,
        column,
        class: "heat",
        share: share(n, largest),
        text: String::new(),
        title: format!("class {}: {}", classes[column], count(n)),
    };
    let across = |(row, counts): (usize, &Vec<u64>)| -> Vec<Cell> {
        let held = counts.iter().enumerate().filter(|(_, n)| **n > 0);
        held.map(|(class, n)| cell(row, class, *n)).collect()
    };
    let matrix = Matrix {
        title: "training images by client and class".into(),
        rows: clients.to_vec(),
        cells: counts.iter().enumerate().flat_map(across).collect(),
        columns: classes.iter().map(|name| name.chars().take(MAX_LETTERS).collect()).collect(),
    };
    matrix.draw()
}

/// Shares of classes as small bars.
#[derive(Serialize)]
pub(super) struct Mix {
    pub(super) bars: Vec<MixBar>,
}

#[derive(Serialize)]
pub(super) struct MixBar {
    class: String,
    /// Height in per cent of the tallest bar of all mixes.
    height: f64,
    share: String,
}

/// Counts of the classes of `dataset` as bars on one common scale.
pub(super) fn mixes(counts: &[&[u64]], dataset: &DatasetInfo) -> Vec<Mix> {
    let shares = |counts: &[u64]| -> Vec<f64> {
        let total = counts.iter().sum::<u64>().max(1);
        counts.iter().map(|n| *n as f64 / total as f64).collect()
    };
    let all: Vec<Vec<f64>> = counts.iter().map(|counts| shares(counts)).collect();
    let largest = all.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |(class, share): (usize, &f64)| MixBar {
        class: dataset.class_name(class),
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
        let class_counts: Vec<Vec<u64>> =
            (0..clients as u64).map(|i| (0..classes as u64).map(|c| (i + c) % 3).collect()).collect();
        let clients = (0..clients).map(|i| format!("client-{i:04}")).collect();
        let num_examples = class_counts.iter().map(|counts| counts.iter().sum()).collect();
        PartitionInfo { clients, num_examples, counted: None, class_counts: Some(class_counts), label_skew: Some(0.72) }
    }

    fn dataset(class_names: &[&str]) -> DatasetInfo {
        let class_names: Vec<String> = class_names.iter().map(ToString::to_string).collect();
        let (name, image_shape) = ("folder".into(), [1, 2, 2]);
        DatasetInfo {
            name,
            image_shape,
            num_classes: class_names.len(),
            class_names,
            num_dealt: 4,
            num_test: None,
            sha256: None,
        }
    }

    #[test]
    fn classes_have_their_names_and_otherwise_their_numbers() {
        let (named, numbered) = (dataset(&["cat", "dog"]), dataset(&[]));
        let classes = |dataset| heat(&partition(3, 2), dataset).unwrap().classes;
        assert_eq!([classes(&named), classes(&numbered)], [["cat", "dog"], ["0", "1"]]);
        let of_bars =
            |dataset| mixes(&[&[1, 1]], dataset)[0].bars.iter().map(|bar| bar.class.clone()).collect::<Vec<_>>();
        assert_eq!([of_bars(&named), of_bars(&numbered)], [["cat", "dog"], ["0", "1"]]);
        let long = "a-class-of-many-letters";
        let drawing = heat(&partition(41, 2), &dataset(&["cat", long])).unwrap().drawing.unwrap();
        let json = serde_json::to_string(&drawing).unwrap();
        assert!(json.contains(&format!("class {long}: 1")) && json.contains("\"cat\""), "{json}");
    }

    #[test]
    fn a_small_partition_is_a_table_with_numbers() {
        let heat = heat(&partition(4, 10), &dataset(&[])).unwrap();
        assert_eq!((heat.rows.len(), heat.rows[3].cells.len()), (4, 10));
        assert!(heat.drawing.is_none());
        let cells = &heat.rows[0].cells;
        assert_eq!([&cells[0].text, &cells[1].text, &cells[2].text], ["", "1", "2"]);
        assert_eq!((cells[1].share.to_string(), cells[2].deep), ("0.5".into(), true));
    }

    #[test]
    fn a_large_partition_is_a_drawing() {
        for (clients, classes) in [(41, 10), (3, 17)] {
            let heat = heat(&partition(clients, classes), &dataset(&[])).unwrap();
            assert!(heat.rows.is_empty() && heat.drawing.is_some());
        }
    }

    #[test]
    fn mixes_have_one_common_scale() {
        let mixes = mixes(&[&[1, 1], &[3, 1], &[]], &dataset(&[]));
        let heights = |mix: &Mix| mix.bars.iter().map(|bar| bar.height.round() as u32).collect::<Vec<_>>();
        assert_eq!([heights(&mixes[0]), heights(&mixes[1]), heights(&mixes[2])], [vec![67, 67], vec![100, 33], vec![]]);
    }
}
