//! What a chart shows, in the units of its data. `chart.rs` turns it into coordinates.

use super::chart_axis::Axis;

/// The data of a chart.
pub(crate) struct Plot {
    /// A description for screen readers.
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Drawn in this order, later ones on top.
    pub(crate) series: Vec<Series>,
    /// Bars, drawn below the series.
    pub(crate) bars: Vec<Bar>,
    /// A horizontal line to compare with, and its label.
    pub(crate) level: Option<(f64, Label)>,
    /// Places of vertical dotted lines on the x axis.
    pub(crate) dividers: Vec<f64>,
    /// Height of the wide drawing, in pixels.
    pub(crate) height: f64,
}

/// A line, or points, in one colour.
pub(crate) struct Series {
    /// Its class in the style sheet.
    pub(crate) class: &'static str,
    /// Its name in the legend; without an entry there when empty.
    pub(crate) name: String,
    /// Unbroken pieces of the line, each of points `(x, y)`.
    pub(crate) pieces: Vec<Vec<(f64, f64)>>,
    pub(crate) shape: Shape,
    /// The label beside the last point.
    pub(crate) label: Option<Label>,
}

/// The mark at the points of a series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    None,
    Circle,
    Diamond,
    Square,
}

/// A label beside a line.
#[derive(Clone)]
pub(crate) struct Label {
    pub(crate) value: String,
    /// Written after the value in the wide drawing.
    pub(crate) name: String,
}

/// A bar: a rectangle between two values on each axis.
pub(crate) struct Bar {
    pub(crate) class: &'static str,
    pub(crate) x: [f64; 2],
    pub(crate) y: [f64; 2],
    pub(crate) title: String,
}
