//! Loss curves over all rounds: a thin line for each client, a strong one for their mean.

use std::collections::BTreeMap;

use super::chart::Chart;
use super::chart_axis::Axis;
use super::plot::{Plot, Series, Shape};
use super::run_folder::Folder;
use crate::record::events::LossCurve;
use crate::record::loss_key;

/// Maximum number of clients that are drawn; of more, an even choice.
const MAX_CLIENTS: usize = 24;
/// Maximum number of points of a line; of more, neighbours are averaged.
const MAX_POINTS: usize = 400;

/// A chart for each loss that is recorded within rounds; none before the first.
pub(super) fn charts(folder: &Folder) -> Vec<Chart> {
    let is_recorded = |key: &String| folder.losses.values().any(|curve| curve.losses.contains_key(key));
    folder.loss_keys().iter().filter(|key| is_recorded(key)).filter_map(|key| chart(folder, key)).collect()
}

fn chart(folder: &Folder, key: &str) -> Option<Chart> {
    let (first, last) = (folder.losses.keys().next()?.0, folder.losses.keys().next_back()?.0);
    let name = &format!("{} loss{}", loss_key::what(key), if folder.is_in_nats(key) { " (nats)" } else { "" });
    let series = curves(folder, key);
    let heights = || series.iter().flat_map(|series| &series.pieces).flatten().map(|point| point.1);
    let (low, high) = (heights().fold(f64::INFINITY, f64::min), heights().fold(0.0, f64::max));
    let plot = Plot {
        title: format!("{name} within the rounds"),
        x: folder.axis(first, last, 0.5),
        y: Axis::from_zero(name, low, high),
        series,
        bars: Vec::new(),
        level: None,
        dividers: folder.rounds.keys().filter(|&&round| round < last).map(|&round| f64::from(round) + 0.5).collect(),
        height: 250.0,
    };
    Some(plot.draw())
}

/// A thin line for each client, or for an even choice of them, and their mean.
fn curves(folder: &Folder, key: &str) -> Vec<Series> {
    let join = num_points(folder).div_ceil(MAX_POINTS);
    let values = |curve: &LossCurve| curve.losses.get(key).map_or_else(Vec::new, |means| joined(means, join));
    let mut clients: BTreeMap<&str, Vec<Piece>> = BTreeMap::new();
    let mut rounds: BTreeMap<u32, Vec<Vec<f64>>> = BTreeMap::new();
    for ((round, client), curve) in &folder.losses {
        let values = values(curve);
        clients.entry(client).or_default().push(piece(*round, &values));
        rounds.entry(*round).or_default().push(values);
    }
    let every = clients.len().div_ceil(MAX_CLIENTS).max(1);
    let drawn = if every == 1 { String::new() } else { format!(" (one in {every} is shown)") };
    let names = [format!("one client{drawn}")].into_iter().chain(std::iter::repeat(String::new()));
    let thin = clients.into_values().step_by(every).zip(names).map(|(pieces, name)| series("thin", name, pieces));
    let means = rounds.iter().map(|(round, curves)| piece(*round, &mean(curves))).collect();
    thin.chain([series("strong", "mean of clients".into(), means)]).collect()
}

/// The points of an unbroken line.
type Piece = Vec<(f64, f64)>;

fn series(class: &'static str, name: String, pieces: Vec<Piece>) -> Series {
    Series { class, name, pieces, shape: Shape::None, label: None }
}

/// The points of all rounds together.
fn num_points(folder: &Folder) -> usize {
    let mut lengths: BTreeMap<u32, usize> = BTreeMap::new();
    for curve in folder.losses.values() {
        let length = lengths.entry(curve.round).or_default();
        *length = curve.losses.values().map(Vec::len).fold(*length, usize::max);
    }
    lengths.values().sum::<usize>().max(1)
}

/// Means over each `join` neighbours.
fn joined(values: &[f64], join: usize) -> Vec<f64> {
    values.chunks(join).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect()
}

/// The points of one round, which spans half a round on both sides of its number: each value at the middle of its part. The single
/// value of a round that sites report becomes a horizontal line over the whole round.
fn piece(round: u32, values: &[f64]) -> Piece {
    if let &[value] = values {
        let ends = [f64::from(round) - 0.5, f64::from(round) + 0.5];
        return ends.into_iter().filter(|_| value.is_finite()).map(|place| (place, value)).collect();
    }
    let place = |i: usize| f64::from(round) - 0.5 + (i as f64 + 0.5) / values.len() as f64;
    let points = values.iter().enumerate().map(|(i, value)| (place(i), *value));
    points.filter(|(_, value)| value.is_finite()).collect()
}

/// The mean of the curves of one round, each stretched to the longest: clients with few steps have few values.
fn mean(curves: &[Vec<f64>]) -> Vec<f64> {
    let length = curves.iter().map(Vec::len).max().unwrap_or(0);
    let curves: Vec<&Vec<f64>> = curves.iter().filter(|curve| !curve.is_empty()).collect();
    let at = |i: usize| curves.iter().map(|curve| curve[i * curve.len() / length]).sum::<f64>() / curves.len() as f64;
    (0..length).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_of_a_short_and_a_long_curve_by_hand() {
        assert_eq!(mean(&[vec![1.0, 3.0], vec![0.0, 2.0, 4.0, 6.0], vec![]]), [0.5, 1.5, 3.5, 4.5]);
        assert!(mean(&[]).is_empty());
    }

    #[test]
    fn each_value_is_at_the_middle_of_its_part_of_the_round() {
        assert_eq!(piece(2, &[7.0, f64::NAN, 8.0, 9.0]), [(1.625, 7.0), (2.125, 8.0), (2.375, 9.0)]);
        assert_eq!(piece(2, &[7.0]), [(1.5, 7.0), (2.5, 7.0)]);
        assert_eq!(joined(&[1.0, 3.0, 5.0], 2), [2.0, 5.0]);
    }
}
