//! Figures of a sweep: the main metric against each numeric key, and against the bytes sent; one line per algorithm, with mean and range over
//! the seeds.

use std::collections::BTreeMap;

use anyhow::Context as _;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, context};

use super::cell::short;
use super::results_table::Table;
use super::rows::Row;
use super::spread::Spread;
use super::{Cell, Sweep};
use crate::report::chart::Chart;
use crate::report::chart_axis::Axis;
use crate::report::plot::{Bar, Label, Plot, Series, Shape};
use crate::units::three_digits;

/// Classes of the lines, one per colour: a figure has at most as many lines.
const CLASSES: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
/// Names the x axis of bytes sent, among those of keys.
const MEGABYTES: &str = "megabytes";

/// The file name and the SVG text of each figure.
///
/// # Errors
/// When the template does not render.
pub(super) fn of(sweep: &Sweep, table: &Table) -> anyhow::Result<Vec<(String, String)>> {
    let facets = facets(sweep);
    let mut figures = Vec::new();
    for x in numbers(sweep).into_iter().chain([MEGABYTES.to_owned()]) {
        for facet in &facets {
            if facet.as_ref().is_some_and(|(key, _)| *key == x) {
                continue;
            }
            if let Some(chart) = chart(sweep, table, &x, facet.as_ref()) {
                let beside = facet.as_ref().map(|(key, value)| format!("-{}-{value}", last(key))).unwrap_or_default();
                figures.push((format!("{}-by-{}{beside}.svg", table.main().name, last(&x)), svg(&chart)?));
            }
        }
    }
    Ok(figures)
}

/// The values of the key that has a figure for each of its values; a single `None` without such a key.
fn facets(sweep: &Sweep) -> Vec<Option<(String, String)>> {
    let Some(key) = &sweep.facet else { return vec![None] };
    let mut values: Vec<String> = Vec::new();
    for value in sweep.cells.iter().filter_map(|cell| cell.value(key)).map(short) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values.into_iter().map(|value| Some((key.clone(), value))).collect()
}

/// The keys with several numeric values.
fn numbers(sweep: &Sweep) -> Vec<String> {
    let several = |key: &&String| {
        let values: Vec<f64> = sweep.cells.iter().filter_map(|cell| cell.number(key)).collect();
        values.iter().any(|value| *value != values[0])
    };
    sweep.keys.iter().filter(several).cloned().collect()
}

/// The last part of a dotted key.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// A line of a figure.
struct Line {
    name: String,
    /// Scores of all seeds by x. The keys are the bits of x, which sort like the numbers since none is negative.
    points: BTreeMap<u64, Vec<f64>>,
    /// Whether its cells do not vary x: it is drawn as a horizontal line.
    is_flat: bool,
}

fn chart(sweep: &Sweep, table: &Table, x: &str, facet: Option<&(String, String)>) -> Option<Chart> {
    let mut lines: Vec<Line> = Vec::new();
    for row in table.rows.iter().filter(|row| row.is_main) {
        let cell = &sweep.cells[row.cell];
        let elsewhere = |(key, value): &(String, String)| cell.value(key).map(short).as_ref() != Some(value);
        if facet.is_some_and(elsewhere) {
            continue;
        }
        let name = line_name(cell, x, facet);
        let is_flat = x != MEGABYTES && !cell.share_axis(x, x);
        let Some(at) = place(cell, row, x).or(is_flat.then_some(0.0)).filter(|at| *at >= 0.0) else { continue };
        let i = lines.iter().position(|other| other.name == name).unwrap_or_else(|| {
            lines.push(Line { name, points: BTreeMap::new(), is_flat });
            lines.len() - 1
        });
        lines[i].points.entry(at.to_bits()).or_default().push(row.score.main());
    }
    flatten(&mut lines);
    let is_shown = (1..=CLASSES.len()).contains(&lines.len());
    is_shown.then(|| plot(table, x, facet, &lines).draw())
}

/// Extends flat lines from the first to the last x of the others; without others there is no figure.
fn flatten(lines: &mut Vec<Line>) {
    let places = || lines.iter().filter(|line| !line.is_flat).flat_map(|line| line.points.keys().copied());
    let (Some(first), Some(last)) = (places().min(), places().max()) else {
        lines.clear();
        return;
    };
    for line in lines.iter_mut().filter(|line| line.is_flat) {
        let scores: Vec<f64> = line.points.values().flatten().copied().collect();
        line.points = [first, last].map(|at| (at, scores.clone())).into();
    }
}

/// The name of the line: the label, and the first keys of the axes other than that of `x`.
fn line_name(cell: &Cell, x: &str, facet: Option<&(String, String)>) -> String {
    let others = cell.point.iter().filter(|(key, _)| key != x && facet.is_none_or(|(facet, _)| facet != key));
    // Keys of the axis of x vary along the line; against bytes, those of the first axis do.
    let others = others.filter(|(key, _)| x != MEGABYTES || cell.point.first().is_none_or(|(first, _)| first != key));
    let of_x_axis = |key: &str| cell.share_axis(key, x);
    let others: Vec<String> = others
        .filter(|(key, _)| !of_x_axis(key))
        .map(|(key, value)| format!("{} {}", last(key), short(value)))
        .collect();
    [vec![cell.label.clone()], others].concat().join(", ")
}

fn place(cell: &Cell, row: &Row, x: &str) -> Option<f64> {
    if x == MEGABYTES { Some(row.megabytes) } else { cell.number(x) }
}

fn plot(table: &Table, x: &str, facet: Option<&(String, String)>, lines: &[Line]) -> Plot {
    let places = lines.iter().flat_map(|line| line.points.keys()).map(|bits| f64::from_bits(*bits));
    let label = if x == MEGABYTES { "MB of tensors sent, both directions" } else { x };
    let x_axis = Axis::of_sizes(label, places.clone());
    let floor = Spread::of(table.rows.iter().filter_map(|row| row.floor)).mean;
    let floor = Some(floor).filter(|floor| floor.is_finite());
    let scores = lines.iter().flat_map(|line| line.points.values().flatten()).copied();
    let y = Axis::of_metric(table.main(), scores.clone());
    // The range over the seeds is a bar, slightly wider than a line.
    let half = |at: f64| {
        if x_axis.log { [at / 1.012, at * 1.012] } else { [at - x_axis.span() * 0.003, at + x_axis.span() * 0.003] }
    };
    let mut bars = Vec::new();
    let mut series = Vec::new();
    let shapes = [Shape::Square, Shape::Circle, Shape::Diamond];
    for (i, Line { name, points, is_flat }) in lines.iter().enumerate() {
        let spreads: Vec<(f64, Spread)> =
            points.iter().map(|(bits, scores)| (f64::from_bits(*bits), Spread::of(scores.iter().copied()))).collect();
        bars.extend(spreads.iter().filter(|(_, spread)| spread.least < spread.most).map(|(at, spread)| Bar {
            class: CLASSES[i],
            x: half(*at),
            y: [spread.least, spread.most],
            title: format!("{name}: {} to {}", three_digits(spread.least), three_digits(spread.most)),
        }));
        let means: Vec<(f64, f64)> = spreads.iter().map(|(at, spread)| (*at, spread.mean)).collect();
        let value = means.last().map_or(String::new(), |(_, mean)| three_digits(*mean));
        let label = Some(Label { value, name: name.clone() });
        series.push(Series {
            class: CLASSES[i],
            name: name.clone(),
            pieces: vec![means],
            shape: if *is_flat { Shape::None } else { shapes[i % 3] },
            label,
        });
    }
    let of_facet = facet.map(|(key, value)| format!(", {key} = {value}")).unwrap_or_default();
    let level = floor.map(|floor| (floor, Label { value: three_digits(floor), name: "real images (floor)".into() }));
    Plot {
        title: format!("{} against {x}{of_facet}", table.main().label),
        x: x_axis,
        y,
        series,
        bars,
        level,
        dividers: Vec::new(),
        height: 400.0,
    }
}

/// A standalone SVG picture for light and dark pages.
fn svg(chart: &Chart) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_template("figure.html", include_str!("figure.svg"))?;
    environment
        .get_template("figure.html")?
        .render(context! { chart => Serde(chart) })
        .context("filling in the figure's template")
}
