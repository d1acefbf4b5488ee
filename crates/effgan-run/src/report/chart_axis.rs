//! Axes: from numbers to places in 0..1, and their ticks.

use effgan_metrics::Metric;

/// One axis of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) label: String,
    /// Whether the scale is logarithmic.
    pub(crate) log: bool,
    low: f64,
    high: f64,
    /// Labelled numbers with their texts.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to a round number above `values`; logarithmic when all are positive and they differ by more than a factor of 20.
    pub(crate) fn of_sizes(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| value.is_finite());
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if low > 0.0 && high > 20.0 * low { Self::decades(label, low, high) } else { Self::from_zero(label, low, high) }
    }

    /// The same for values of `metric`, with its direction.
    pub(crate) fn of_metric(metric: &Metric, values: impl Iterator<Item = f64>) -> Self {
        let mut axis = Self::of_sizes(metric.label, values);
        axis.label += &format!("{}, {}", if axis.log { " (log scale)" } else { "" }, metric.better.phrase());
        axis
    }

    /// From 0, or from a round number below `low` where that is negative.
    pub(crate) fn from_zero(label: &str, low: f64, high: f64) -> Self {
        let low = if low.is_finite() { low.min(0.0) } else { 0.0 };
        let high = if high > low { high } else { low + 1.0 };
        let step = nice_step((high - low) / 4.0);
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let tick = |i: i64| (i as f64 * step, format!("{:.decimals$}", i as f64 * step));
        let ticks = (first..=last).map(tick).collect();
        Self { label: label.into(), log: false, low: first as f64 * step, high: last as f64 * step, ticks }
    }

    fn decades(label: &str, low: f64, high: f64) -> Self {
        let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let digits: &[f64] = if high / low > 1e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all: Vec<f64> = exponents.flat_map(|e| digits.iter().map(move |digit| digit * 10_f64.powi(e))).collect();
        let first = all.iter().rposition(|tick| *tick <= low).unwrap_or(0);
        let last = all.iter().position(|tick| *tick >= high).unwrap_or(all.len() - 1);
        let ticks: Vec<(f64, String)> = all[first..=last].iter().map(|tick| (*tick, plain(*tick))).collect();
        Self { label: label.into(), log: true, low: all[first], high: all[last], ticks }
    }

    /// Rounds `first..=last` with a margin of `around` rounds on both sides, and at most 10 ticks.
    pub(crate) fn of_rounds(label: &str, first: u32, last: u32, around: f64) -> Self {
        let step = nice_step(f64::from(last.saturating_sub(first)) / 9.0).max(1.0) as u32;
        let named = (first.next_multiple_of(step)..=last).step_by(step as usize);
        let ticks = named.map(|round| (f64::from(round), round.to_string())).collect();
        Self { label: label.into(), log: false, low: f64::from(first) - around, high: f64::from(last) + around, ticks }
    }

    /// Labels the last round with `text`.
    pub(crate) fn name_last(mut self, last: u32, text: &str) -> Self {
        let last = f64::from(last);
        self.ticks.retain(|(tick, _)| *tick < last);
        self.ticks.push((last, text.into()));
        self
    }

    /// The difference between its ends.
    pub(crate) fn span(&self) -> f64 {
        self.high - self.low
    }

    /// The place of `value` from 0 (the low end) to 1 (the high end); values outside are moved to the nearer end.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let on = |value: f64| if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        ((on(value) - on(self.low)) / (on(self.high) - on(self.low))).clamp(0.0, 1.0)
    }
}

/// The smallest of 1, 2, 5, 10, 20, … (and tenths of them) that is at least `step`.
fn nice_step(step: f64) -> f64 {
    let step = step.max(f64::MIN_POSITIVE);
    let unit = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0].map(|digit| digit * unit).into_iter().find(|nice| *nice >= step * 0.999).unwrap_or(10.0 * unit)
}

/// The text of a tick of a logarithmic axis.
fn plain(tick: f64) -> String {
    let decimals = (-tick.log10().floor()).max(0.0) as usize;
    format!("{tick:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn similar_numbers_get_a_linear_axis_from_zero() {
        let axis = Axis::of_sizes("", [3.1, 17.0].into_iter());
        assert_eq!(texts(&axis), ["0", "5", "10", "15", "20"]);
        assert!((axis.place(5.0) - 0.25).abs() < 1e-12 && axis.place(99.0) >= 1.0);
        assert_eq!(texts(&Axis::of_sizes("", [0.62].into_iter())), ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(texts(&Axis::from_zero("", -0.4, 1.1)), ["-0.5", "0.0", "0.5", "1.0", "1.5"]);
    }

    #[test]
    fn numbers_far_apart_get_a_logarithmic_axis() {
        let axis = Axis::of_sizes("", [1.9, 88.0, f64::NAN].into_iter());
        assert!(axis.log);
        assert_eq!(texts(&axis), ["1", "2", "5", "10", "20", "50", "100"]);
        assert!((axis.place(10.0) - 0.5).abs() < 1e-12);
        assert_eq!(texts(&Axis::of_sizes("", [0.3, 50_000.0].into_iter())).first(), Some(&"0.1"));
    }

    #[test]
    fn of_many_rounds_only_some_have_ticks() {
        assert_eq!(texts(&Axis::of_rounds("", 1, 4, 0.5)), ["1", "2", "3", "4"]);
        assert_eq!(texts(&Axis::of_rounds("", 1, 100, 0.5)), ["20", "40", "60", "80", "100"]);
        assert_eq!(texts(&Axis::of_rounds("", 1, 1, 0.5)), ["1"]);
    }

    #[test]
    fn the_last_round_can_have_a_label() {
        assert_eq!(texts(&Axis::of_rounds("", 1, 3, 0.5).name_last(3, "last")), ["1", "2", "last"]);
        assert_eq!(
            texts(&Axis::of_rounds("", 1, 41, 0.5).name_last(41, "last")),
            ["5", "10", "15", "20", "25", "30", "35", "40", "last"]
        );
    }

    #[test]
    fn empty_and_flat_data_have_an_axis() {
        assert_eq!(texts(&Axis::of_sizes("", std::iter::empty())), ["0.0", "0.5", "1.0"]);
        assert!(Axis::of_sizes("", [0.0].into_iter()).place(0.0) <= 0.0);
    }
}
