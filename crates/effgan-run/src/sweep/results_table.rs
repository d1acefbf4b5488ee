//! The table of a sweep as CSV and JSON: a row for each cell and score.

use std::collections::BTreeSet;
use std::path::Path;

use effgan_metrics::metric::Network;
use effgan_metrics::{METRICS, Metric, main_metric};
use serde_json::{Map, Value, json};

use super::Sweep;
use super::rows::{self, Row};
use crate::failure::Result;
use crate::record::csv_file;

/// The scores of all finished cells, in the order of the sweep.
pub(super) struct Table<'a> {
    pub(super) sweep: &'a Sweep,
    pub(super) rows: Vec<Row>,
}

impl<'a> Table<'a> {
    /// Reads the table from the cells' folders in `out`.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(super) fn read(sweep: &'a Sweep, out: &Path) -> Result<Self> {
        Ok(Self { sweep, rows: rows::read(sweep, out)? })
    }

    /// The kinds of networks that the cells were scored with, in the order of the rows; without scores, the usual one.
    pub(super) fn networks(&self) -> Vec<Network> {
        let found = distinct(self.rows.iter().filter_map(|row| row.score.main_metric().network));
        if found.is_empty() { vec![Network::Small] } else { found }
    }

    /// The main metric of the cells; of the first where they were scored with networks of several kinds.
    pub(super) fn main(&self) -> &'static Metric {
        main_metric(self.networks()[0])
    }

    /// The metrics that a run computes with any of the networks.
    pub(super) fn in_run(&self) -> impl Iterator<Item = &'static Metric> + use<> {
        let networks = self.networks();
        METRICS.iter().copied().filter(move |metric| networks.iter().any(|network| metric.is_in_run(*network)))
    }

    /// The metrics that only `effgan evaluate` computes with any of the networks.
    pub(super) fn evaluated(&self) -> impl Iterator<Item = &'static Metric> + use<> {
        let networks = self.networks();
        let is_evaluated = |metric: &Metric, network: Network| metric.is_of(network) && !metric.is_in_run(network);
        METRICS.iter().copied().filter(move |metric| networks.iter().any(|network| is_evaluated(metric, *network)))
    }

    /// What tells the networks apart by which the cells were scored, in the order of the rows. Rows of different networks are not
    /// comparable.
    pub(super) fn marks(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(Row::mark))
    }

    /// The table as CSV, its columns in alphabetical order; values that do not apply are empty.
    ///
    /// # Errors
    /// When a row does not serialise.
    pub(super) fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let objects: Vec<Map<String, Value>> = self.rows.iter().map(|row| self.object(row)).collect();
        let columns: BTreeSet<&String> = objects.iter().flat_map(Map::keys).collect();
        let table = csv_file::write(|table| {
            table.write_record(&columns)?;
            let row = |object: &Map<String, Value>| -> Vec<String> {
                columns.iter().map(|column| object.get(*column).map_or(String::new(), text)).collect()
            };
            objects.iter().try_for_each(|object| table.write_record(row(object)))
        })?;
        Ok(table)
    }

    /// The table as a JSON array of objects, with their keys in the same order.
    pub(super) fn json(&self) -> Vec<u8> {
        let objects: Vec<Map<String, Value>> = self.rows.iter().map(|row| self.object(row)).collect();
        serde_json::to_vec_pretty(&objects).expect("rows are plain data")
    }

    fn object(&self, row: &Row) -> Map<String, Value> {
        let cell = &self.sweep.cells[row.cell];
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| drop(object.insert(key.into(), value));
        put("cell", json!(cell.name));
        put("label", json!(cell.label));
        put("algorithm", json!(cell.config.algorithm.name()));
        put("seed", json!(cell.config.seed));
        for key in &self.sweep.keys {
            put(key, cell.value(key).map_or(Value::Null, |value| json!(value)));
        }
        put("main", json!(row.is_main));
        put("round", json!(row.score.round));
        put("of", json!(row.of.name()));
        put("norm_statistics", json!(row.norm_statistics));
        put("n", json!(row.score.scores.n));
        for metric in self.in_run() {
            put(metric.name, json!(row.score.scores.get(metric).map(|value| metric.number(value))));
        }
        for network in self.networks() {
            let floor = row.floor.filter(|_| row.score.main_metric().network == Some(network));
            put(&format!("floor_{}", main_metric(network).name), json!(floor));
        }
        if self.rows.iter().any(|row| row.score.scores.settings.own_network.is_some()) {
            put("own_network", json!(row.score.scores.settings.own_network.as_ref().map(|own| &own.sha256)));
        }
        if self.sweep.evaluate.is_some() {
            let evaluation = row.evaluation.as_ref();
            put("evaluated_n", json!(evaluation.map(|evaluation| evaluation.scores.n as f64)));
            for metric in self.evaluated() {
                put(metric.name, json!(evaluation.and_then(|found| found.value(metric)).map(|v| metric.number(v))));
                if let Some((name, _)) = metric.beside {
                    put(name, json!(evaluation.and_then(|found| found.beside(metric))));
                }
            }
        }
        put("megabytes", json!(row.megabytes));
        put("model_hash", json!(row.model_hash));
        put("from", json!(row.from));
        object
    }
}

/// Each value once, in the order of their first places.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut found, value| {
        if !found.contains(&value) {
            found.push(value);
        }
        found
    })
}

/// A value as text, without the quotes of a string.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
