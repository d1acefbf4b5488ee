//! A cell of a sweep: one run, and its place in the grid.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::config::Config;

/// One run of a sweep.
pub struct Cell {
    /// The name of its run folder, as in `effgan-epochs-20-seed-1`.
    pub name: String,
    /// The line of the figures that it belongs to: the grid's `label`, or the algorithm.
    pub label: String,
    /// The first key of each axis of the grid, with its value in this cell.
    pub point: Vec<(String, Value)>,
    /// The keys of each axis.
    pub(super) axes: Vec<Vec<String>>,
    /// All keys of the axes that `--set` does not replace, with their values in this cell.
    pub(super) varied: Vec<(String, Value)>,
    /// The config of the run.
    pub config: Config,
    /// The config as a table with every key.
    pub(super) resolved: Table,
}

impl Cell {
    /// The run folder of the cell in the sweep's folder `out`.
    pub fn folder(&self, out: &Path) -> PathBuf {
        out.join("cells").join(&self.name)
    }

    /// The value of a dotted key in the config, or on an axis if it was replaced when the config was read, as `algorithm.share` is; `None`
    /// when neither has such a key.
    pub fn value(&self, key: &str) -> Option<&Value> {
        let on_axis = || self.varied.iter().find(|(of, _)| of == key).map(|(_, value)| value);
        self.resolved_value(key).or_else(on_axis)
    }

    fn resolved_value(&self, key: &str) -> Option<&Value> {
        let (last, tables) = key.split('.').collect::<Vec<_>>().split_last().map(|(l, t)| (*l, t.to_vec()))?;
        let table = tables.into_iter().try_fold(&self.resolved, |table, key| table.get(key)?.as_table())?;
        table.get(last)
    }

    /// The value of a dotted key in the config when it is a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.value(key).and_then(|value| value.as_float().or_else(|| value.as_integer().map(|n| n as f64)))
    }

    /// Whether both keys belong to the same axis.
    pub fn share_axis(&self, key: &str, other: &str) -> bool {
        self.axes.iter().any(|axis| [key, other].iter().all(|key| axis.iter().any(|of| of == key)))
    }

    /// Roughly, how much the cell trains: images that its clients see in all rounds. For estimates of the time left.
    pub fn work(&self) -> f64 {
        let number = |key: &str| self.value(key).and_then(Value::as_integer).map(|n| n as f64);
        let clients = number("partition.clients").unwrap_or(1.0);
        let images = number("dataset.limit").unwrap_or(60_000.0);
        let of_steps = |steps: f64| steps * clients * number("local.batch_size").unwrap_or(1.0);
        let of = |epochs: &str, steps: &str| {
            number(epochs).map(|n| n * images).or_else(|| number(steps).map(of_steps)).unwrap_or_default()
        };
        let rounds = number("algorithm.rounds").unwrap_or(1.0);
        let after = of("algorithm.fine_tune_epochs", "algorithm.fine_tune_steps");
        (rounds * of("local.epochs", "local.steps") + after).max(1.0)
    }
}

/// The name of a cell: `effgan-epochs-20-seed-1`.
pub(super) fn cell_name(label: &str, point: &[(String, Value)], seed: i64) -> String {
    let mut name = label.to_owned();
    for (key, value) in point {
        name += &format!("-{}-{}", key.rsplit('.').next().unwrap_or(key), short(value));
    }
    let fine = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{name}-seed-{seed}").chars().map(fine).collect()
}

/// A value as text, without the quotes of a string.
pub(super) fn short(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
