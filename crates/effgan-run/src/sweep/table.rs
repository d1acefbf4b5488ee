//! The table of a sweep as CSV and JSON: a row for each cell and score.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::Sweep;
use super::rows::{self, Row};
use crate::failure::Result;
use crate::record::csv_file;
use crate::scores::Evaluation;

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

    /// The table as CSV; values that do not apply are empty.
    ///
    /// # Errors
    /// When a row does not serialise.
    pub(super) fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let objects: Vec<Map<String, Value>> = self.rows.iter().map(|row| self.object(row)).collect();
        let mut columns: Vec<&String> = Vec::new();
        for key in objects.iter().flat_map(Map::keys) {
            if !columns.contains(&key) {
                columns.push(key);
            }
        }
        let table = csv_file::write(|table| {
            table.write_record(&columns)?;
            let row = |object: &Map<String, Value>| -> Vec<String> {
                columns.iter().map(|column| object.get(*column).map_or(String::new(), text)).collect()
            };
            objects.iter().try_for_each(|object| table.write_record(row(object)))
        })?;
        Ok(table)
    }

    /// The table as a JSON array of objects.
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
        let scores = json!(row.score.scores);
        for (key, value) in scores.as_object().into_iter().flatten().filter(|(key, _)| *key != "class_counts") {
            put(key, value.clone());
        }
        put("floor_fd_small", json!(row.floor));
        if self.sweep.evaluate.is_some() {
            for (name, value) in EVALUATED {
                put(name, json!(row.evaluation.as_ref().and_then(value)));
            }
        }
        put("megabytes", json!(row.megabytes));
        put("model_hash", json!(row.model_hash));
        put("from", json!(row.from));
        object
    }
}

/// Name and value of a column.
type Column = (&'static str, fn(&Evaluation) -> Option<f64>);

/// Columns of the scores of `effgan evaluate`, with the n that they are of.
const EVALUATED: [Column; 12] = [
    ("evaluated_n", |e| Some(e.scores.n as f64)),
    ("kd_small", |e| e.scores.kd_small),
    ("kd_std", |e| Some(e.scores.kd_std)),
    ("precision", |e| Some(e.scores.precision)),
    ("recall", |e| Some(e.scores.recall)),
    ("density", |e| Some(e.scores.density)),
    ("coverage", |e| Some(e.scores.coverage)),
    ("accuracy", |e| e.train_on_synthetic.as_ref().map(|trained| trained.accuracy)),
    ("accuracy_of_real", |e| e.train_on_synthetic.as_ref().and_then(|trained| trained.accuracy_of_real)),
    ("memorisation_ratio", |e| e.memorisation.first().map(|found| found.memorisation.ratio)),
    ("memorisation_auc", |e| e.memorisation.first().map(|found| found.memorisation.auc)),
    // Of the member that is closest to its own training images.
    ("memorisation_auc_of_members", |e| {
        e.memorisation.iter().skip(1).map(|found| found.memorisation.auc).max_by(f64::total_cmp)
    }),
];

/// A value as text, without the quotes of a string.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
