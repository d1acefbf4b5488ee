//! The mean and the range of a number over seeds.

/// Mean and range of a number over the seeds.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) n: usize,
}

impl Spread {
    /// Of `values`; NaN where there are none.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (least, most) = (
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        Self { mean, least, most, n: values.len() }
    }

    /// The mean, followed by the range where values differ: `21.3 (20.9–21.8)`.
    pub(super) fn text(self, decimals: usize) -> String {
        let Self { mean, least, most, n } = self;
        if n > 1 && least < most {
            format!("{mean:.decimals$} ({least:.decimals$}–{most:.decimals$})")
        } else {
            format!("{mean:.decimals$}")
        }
    }
}
