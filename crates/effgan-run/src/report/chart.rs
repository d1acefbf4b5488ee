//! Charts: from a [`Plot`] to the coordinates of an SVG picture. The template has the markup, the style sheet the colours.
//!
//! Each chart is drawn twice, for wide and for narrow screens, since text in a picture that is scaled down becomes too small to
//! read; the style sheet shows one of the two.

// SVG from a template instead of a plotting crate such as `plotters`: its fixed colours would not follow light and dark pages, nor would
// its text stay readable on a phone.

use std::fmt::Write as _;

use serde::Serialize;

use super::plot::{Bar, Label, Plot, Series, Shape};

/// Minimum vertical distance between two labels.
const LABEL_HEIGHT: f64 = 17.0;
/// A series with more points is marked at the last one only, and more dividers are left out.
const MAX_MARKS: usize = 40;
/// Approximate width of a letter in a tick.
const LETTER_WIDTH: f64 = 7.0;

/// A chart for the template.
#[derive(Serialize)]
pub(crate) struct Chart {
    title: String,
    legend: Vec<Legend>,
    drawings: Vec<ChartSvg>,
}

#[derive(Serialize)]
struct Legend {
    class: &'static str,
    name: String,
    /// The path of its mark in a box of 12 × 12; empty for a plain line.
    mark: String,
}

/// One drawing of a chart, in pixels.
#[derive(Serialize)]
struct ChartSvg {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_label: String,
    y_label: String,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    dividers: Vec<f64>,
    level: Option<f64>,
    bars: Vec<Rectangle>,
    lines: Vec<Path>,
    marks: Vec<Path>,
    labels: Vec<PlacedLabel>,
}

#[derive(Serialize)]
struct Tick {
    at: f64,
    text: String,
}

#[derive(Serialize)]
struct Rectangle {
    class: &'static str,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    title: String,
}

#[derive(Serialize)]
struct Path {
    class: &'static str,
    d: String,
    title: String,
}

#[derive(Serialize)]
struct PlacedLabel {
    class: &'static str,
    y: f64,
    value: String,
    name: String,
    /// The path from the point to the label.
    leader: String,
}

impl Plot {
    /// Computes both drawings and the legend.
    pub(crate) fn draw(&self) -> Chart {
        let labelled = self.level.is_some() || self.series.iter().any(|series| series.label.is_some());
        let wide =
            Frame { class: "wide", width: 760.0, height: self.height, right: if labelled { 548.0 } else { 750.0 } };
        let narrow = Frame {
            class: "narrow",
            width: 350.0,
            height: self.height.min(250.0),
            right: if labelled { 300.0 } else { 345.0 },
        };
        Chart {
            title: self.title.clone(),
            legend: self.legend(),
            drawings: [wide, narrow].map(|frame| self.drawing(&frame)).into(),
        }
    }

    fn legend(&self) -> Vec<Legend> {
        let named = self.series.iter().filter(|series| !series.name.is_empty());
        let mark = |series: &Series| series.shape.path(6.0, 6.0);
        let mut legend: Vec<Legend> =
            named.map(|series| Legend { class: series.class, name: series.name.clone(), mark: mark(series) }).collect();
        let level = self.level.iter().map(|(_, label)| Legend {
            class: "level",
            name: label.name.clone(),
            mark: String::new(),
        });
        legend.extend(level);
        legend
    }

    fn drawing(&self, frame: &Frame) -> ChartSvg {
        let (x, y) = (|value| frame.x(self.x.place(value)), |value| frame.y(self.y.place(value)));
        let tick = |at: f64, text: &String| Tick { at, text: text.clone() };
        ChartSvg {
            class: frame.class,
            width: frame.width,
            height: frame.height,
            left: Frame::LEFT,
            right: frame.right,
            top: Frame::TOP,
            bottom: frame.bottom(),
            x_label: self.x.label.clone(),
            y_label: self.y.label.clone(),
            x_ticks: self.x_ticks(frame),
            y_ticks: self.y.ticks.iter().map(|(at, text)| tick(y(*at), text)).collect(),
            dividers: self.dividers.iter().filter(|_| self.dividers.len() <= MAX_MARKS).map(|at| x(*at)).collect(),
            level: self.level.as_ref().map(|(at, _)| y(*at)),
            bars: self.bars.iter().map(|bar| rectangle(bar, &x, &y)).collect(),
            lines: self.series.iter().map(|series| line(series, &x, &y)).collect(),
            marks: self.series.iter().flat_map(|series| marks(series, &x, &y)).collect(),
            labels: self.labels(frame, &x, &y),
        }
    }

    /// The ticks that have room, chosen from the right, where the last one may be a word.
    fn x_ticks(&self, frame: &Frame) -> Vec<Tick> {
        let mut free = f64::INFINITY;
        let mut ticks = Vec::new();
        for (value, text) in self.x.ticks.iter().rev() {
            let half = text.chars().count() as f64 * LETTER_WIDTH / 2.0;
            let at = frame.x(self.x.place(*value)).min(round(frame.right + 6.0 - half));
            if at + half + 2.0 * LETTER_WIDTH <= free {
                ticks.push(Tick { at, text: text.clone() });
                free = at - half;
            }
        }
        ticks
    }

    /// The labels at the right end, moved apart where they would overlap, each with a line from its point.
    fn labels(&self, frame: &Frame, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> Vec<PlacedLabel> {
        let labelled = |series: &Series| {
            let (at, value) = *series.pieces.last()?.last()?;
            Some((series.class, [x(at) + 7.0, y(value)], series.label.clone()?))
        };
        let level = self.level.iter().map(|(value, label)| ("level", [frame.right, y(*value)], label.clone()));
        let mut labels: Vec<_> = self.series.iter().filter_map(labelled).chain(level).collect();
        labels.sort_by(|a, b| a.1[1].total_cmp(&b.1[1]));
        let mut places: Vec<f64> = labels.iter().map(|(_, [_, y], _)| *y).collect();
        spread(&mut places, Frame::TOP + 4.0, frame.bottom());
        let place = |((class, [x, y], label), at): ((_, [f64; 2], Label), f64)| {
            let (at, end) = (round(at), frame.right);
            let leader = format!("M{} {y}L{end} {y}L{} {at}", round(x), end + 8.0);
            PlacedLabel { class, y: at, value: label.value, name: label.name, leader }
        };
        labels.into_iter().zip(places).map(place).collect()
    }
}

/// The frame of a drawing: the rectangle within the axes.
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    right: f64,
}

impl Frame {
    const LEFT: f64 = 44.0;
    const TOP: f64 = 30.0;

    fn bottom(&self) -> f64 {
        self.height - 40.0
    }

    fn x(&self, share: f64) -> f64 {
        round(Self::LEFT + share * (self.right - Self::LEFT))
    }

    fn y(&self, share: f64) -> f64 {
        round(self.bottom() + share * (Self::TOP - self.bottom()))
    }
}

impl Shape {
    /// The outline of the mark around `(x, y)`; all marks look equally large.
    fn path(self, x: f64, y: f64) -> String {
        match self {
            Self::None => String::new(),
            Self::Circle => format!("M{} {y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", round(x - 4.0)),
            Self::Diamond => format!("M{x} {}l6 6l-6 6l-6 -6z", round(y - 6.0)),
            Self::Square => format!("M{} {}h9v9h-9z", round(x - 4.5), round(y - 4.5)),
        }
    }
}

fn rectangle(bar: &Bar, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> Rectangle {
    let ([left, right], [top, bottom]) = (bar.x.map(x), [y(bar.y[1]), y(bar.y[0])]);
    let (width, height) = (round(right - left), round(bottom - top));
    Rectangle { class: bar.class, x: left, y: top, width, height, title: bar.title.clone() }
}

fn line(series: &Series, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> Path {
    let mut d = String::new();
    for piece in &series.pieces {
        for (i, (at, value)) in piece.iter().enumerate() {
            let letter = if i == 0 { 'M' } else { 'L' };
            write!(d, "{letter}{} {}", x(*at), y(*value)).expect("writing to a string cannot fail");
        }
    }
    Path { class: series.class, d, title: series.name.clone() }
}

fn marks(series: &Series, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> Vec<Path> {
    let all: Vec<&(f64, f64)> = series.pieces.iter().flatten().filter(|_| series.shape != Shape::None).collect();
    let points = if all.len() > MAX_MARKS { &all[all.len() - 1..] } else { &all };
    let title = |value: f64| format!("{}: {}", series.name, crate::units::three_digits(value));
    let mark = |&(at, value): &(f64, f64)| Path {
        class: series.class,
        d: series.shape.path(x(at), y(value)),
        title: title(value),
    };
    points.iter().map(|point| mark(point)).collect()
}

/// Moves sorted places apart until each is [`LABEL_HEIGHT`] below the one before, within `top..=bottom` while there is room.
fn spread(places: &mut [f64], top: f64, bottom: f64) {
    let mut free = top;
    for place in places.iter_mut() {
        *place = place.max(free);
        free = *place + LABEL_HEIGHT;
    }
    let mut free = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(free);
        free = *place - LABEL_HEIGHT;
    }
}

/// Rounds to 0.1 pixels: SVG needs no more, and files stay small.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::super::chart_axis::Axis;
    use super::*;

    fn series(points: &[(f64, f64)]) -> Series {
        let label = Some(Label { value: "2.00".into(), name: "ensemble".into() });
        Series { class: "ensemble", name: "ensemble".into(), pieces: vec![points.into()], shape: Shape::Square, label }
    }

    fn plot(series: Vec<Series>) -> Plot {
        let (x, y) = (Axis::of_rounds("round", 1, 3, 0.0), Axis::from_zero("score", 0.0, 4.0));
        let level = Some((1.0, Label { value: "1.00".into(), name: "floor".into() }));
        Plot { title: "scores".into(), x, y, series, bars: vec![], level, dividers: vec![2.0], height: 270.0 }
    }

    #[test]
    fn coordinates_by_hand() {
        let chart = plot(vec![series(&[(1.0, 0.0), (3.0, 2.0)])]).draw();
        let wide = &chart.drawings[0];
        // Within the axes: x from 44 to 548, y from 230 (0) up to 30 (4).
        assert_eq!(wide.lines[0].d, "M44 230L548 130");
        assert_eq!((wide.level, wide.dividers[0]), (Some(180.0), 296.0));
        assert_eq!(wide.marks[1].d, "M543.5 125.5h9v9h-9z");
        assert_eq!((wide.labels[0].y, wide.labels[1].y, wide.marks.len()), (130.0, 180.0, 2));
        assert_eq!(chart.legend.len(), 2);
    }

    #[test]
    fn ticks_that_would_overlap_are_left_out() {
        let mut plot = plot(vec![]);
        plot.x = Axis::of_rounds("round", 1, 10, 0.0).name_last(10, "fine-tuning");
        let texts = |drawing: &ChartSvg| {
            drawing.x_ticks.iter().rev().map(|tick| tick.text.clone()).collect::<Vec<_>>().join(" ")
        };
        let [wide, narrow] = <[ChartSvg; 2]>::try_from(plot.draw().drawings).ok().unwrap();
        assert_eq!(texts(&wide), "1 2 3 4 5 6 7 8 fine-tuning");
        assert_eq!(texts(&narrow), "1 2 3 4 5 6 fine-tuning");
    }

    #[test]
    fn labels_at_the_same_place_are_moved_apart() {
        let same = || series(&[(1.0, 4.0)]);
        let chart = plot(vec![same(), same(), same()]).draw();
        for drawing in &chart.drawings {
            let places: Vec<f64> = drawing.labels.iter().map(|label| label.y).collect();
            assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_HEIGHT), "{places:?}");
        }
        let mut low = [99.0, 100.0];
        spread(&mut low, 0.0, 100.0);
        assert_eq!(low.map(|place| place as u32), [83, 100]);
    }
}
