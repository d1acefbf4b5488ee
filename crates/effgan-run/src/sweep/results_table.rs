//! The table of a sweep as CSV and JSON: a row for each cell and score.

use std::collections::BTreeSet;
use std::path::Path;

use effgan_metrics::metric::Network;
use effgan_metrics::{METRICS, Metric, main_metric, metrics_in_run};
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

    /// The kind of network that the cells were scored with; without scores, the usual one.
    pub(super) fn network(&self) -> Network {
        self.rows.iter().find_map(|row| row.score.main_metric().network).unwrap_or(Network::Small)
    }

    /// The main metric of the cells.
    pub(super) fn main(&self) -> &'static Metric {
        main_metric(self.network())
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
        for metric in metrics_in_run(self.network()) {
            put(metric.name, json!(row.score.scores.get(metric).map(|value| metric.number(value))));
        }
        put(&format!("floor_{}", self.main().name), json!(row.floor));
        if self.sweep.evaluate.is_some() {
            let evaluation = row.evaluation.as_ref();
            put("evaluated_n", json!(evaluation.map(|evaluation| evaluation.scores.n as f64)));
            for metric in evaluated(self.network()) {
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

/// The metrics that only `effgan evaluate` computes with `network`.
pub(super) fn evaluated(network: Network) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().copied().filter(move |metric| metric.is_of(network) && !metric.is_in_run(network))
}

/// A value as text, without the quotes of a string.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
