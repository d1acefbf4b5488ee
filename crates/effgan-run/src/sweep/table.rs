//! The table of a sweep: a row for each cell and thing that was scored at its end.

use std::path::Path;

use effgan_fl::ExchangeKind;
use effgan_fl::ensemble::NormStatistics;
use effgan_nn::checkpoint::read_file;
use serde_json::{Map, Value, json};

use super::config::short;
use super::plan::{self, Source};
use super::{Cell, Sweep};
use crate::failure::Result;
use crate::record::csv_file;
use crate::record::events::{Score, Scored};
use crate::record::run_dir::MOST_BYTES;
use crate::record::run_info::Status;
use crate::report::folder::Folder;
use crate::scores::Evaluation;
use crate::units::{duration, three_digits};

/// Rows of all cells that are done, in the order of the sweep.
pub(super) struct Table<'a> {
    sweep: &'a Sweep,
    pub rows: Vec<Row>,
}

/// What a cell's generator scored.
pub(super) struct Row {
    /// Its place in the sweep.
    pub cell: usize,
    pub of: Scored,
    pub norm_statistics: Option<NormStatistics>,
    /// Whether it is what the cell is about: the ensemble where there is one, else the averaged generator with statistics of
    /// its own.
    pub is_main: bool,
    pub score: Score,
    /// Of real images in the same run.
    pub floor: Option<f64>,
    /// Tensors sent in the run, both directions, in 10⁶ bytes.
    pub megabytes: f64,
    /// Further scores, of what the cell is about.
    evaluation: Option<Evaluation>,
    model_hash: Option<String>,
    /// Where the scores come from, for a cell without a run of its own.
    from: Option<String>,
}

impl<'a> Table<'a> {
    /// Reads the cells' folders.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(super) fn of(sweep: &'a Sweep, out: &Path) -> Result<Self> {
        let mut rows = Vec::new();
        for (i, source) in plan::sources(&sweep.cells).into_iter().enumerate() {
            let run = if let Source::MeanOfMembers(effgan) = source { effgan } else { i };
            let path = sweep.cells[run].folder(out);
            if super::status(&path) != Some(Status::Done) {
                continue;
            }
            let folder = Folder::read(&path)?;
            let mut of_cell = match source {
                Source::Run => of_run(i, &folder),
                Source::MeanOfMembers(effgan) => of_mean(i, &folder, &sweep.cells[effgan].name),
            };
            if source == Source::Run && sweep.evaluate.is_some() {
                let evaluation = evaluation(&path);
                for row in of_cell.iter_mut().filter(|row| row.is_main) {
                    row.evaluation.clone_from(&evaluation);
                }
            }
            rows.extend(of_cell);
        }
        Ok(Self { sweep, rows })
    }

    /// As a spreadsheet: what does not apply is empty.
    ///
    /// # Errors
    /// None: it is written to memory.
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

    /// The same rows as objects.
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
            for (name, value) in FURTHER {
                put(name, json!(row.evaluation.as_ref().and_then(value)));
            }
        }
        put("megabytes", json!(row.megabytes));
        put("model_hash", json!(row.model_hash));
        put("from", json!(row.from));
        object
    }

    /// For a page: a row for each setting of the keys, mean and range over the seeds.
    pub(super) fn markdown(&self) -> String {
        let keys: Vec<&String> = self.sweep.keys.iter().filter(|key| self.has_several(key)).collect();
        let further: &[Shown] = if self.sweep.evaluate.is_some() { &SHOWN } else { &[] };
        let heads = [""].into_iter().map(str::to_owned).chain(keys.iter().map(|key| format!("`{key}`")));
        let heads = heads.chain(["fd_small", "class KL", "modes", "MB sent"].map(str::to_owned));
        let heads: Vec<String> =
            heads.chain(further.iter().map(|(head, ..)| (*head).into())).chain(["seeds".into()]).collect();
        let mut text = line(&heads) + &line(&vec!["---".into(); heads.len()]);
        for group in self.over_seeds() {
            text += &line(&self.markdown_row(&group, &keys, further));
        }
        let floor = Spread::of(self.rows.iter().filter_map(|row| row.floor));
        let mut last = vec![String::new(); heads.len()];
        last[0] = "real images (floor)".into();
        last[1 + keys.len()] = floor.text(2);
        text + &line(&last) + &self.numbers()
    }

    /// How many images the scores are of.
    fn numbers(&self) -> String {
        let Some(row) = self.rows.iter().find(|row| row.is_main) else { return String::new() };
        let further = row
            .evaluation
            .as_ref()
            .map(|evaluation| format!("; precision and what follows of {}", evaluation.scores.n));
        format!("\nfd_small, class KL and modes of {} images{}.\n", row.score.scores.n, further.unwrap_or_default())
    }

    fn markdown_row(&self, group: &[&Row], keys: &[&String], further: &[Shown]) -> Vec<String> {
        let (first, cell) = (group[0], &self.sweep.cells[group[0].cell]);
        let label = match first.norm_statistics {
            Some(NormStatistics::Average) => format!("{}, averaged statistics", cell.label),
            _ => cell.label.clone(),
        };
        let values = keys.iter().map(|key| cell.value(key).map_or(String::new(), short));
        let of = |value: fn(&Row) -> f64| Spread::of(group.iter().map(|row| value(row)));
        let mut columns: Vec<String> = [label].into_iter().chain(values).collect();
        columns.push(of(|row| row.score.scores.fd_small).text(1));
        columns.push(format!("{:.3}", of(|row| row.score.scores.class_kl).mean));
        columns.push(format!("{:.1}", of(|row| row.score.scores.modes as f64).mean).trim_end_matches(".0").into());
        columns.push(three_digits(first.megabytes));
        for (_, decimals, value) in further {
            let values = group.iter().filter_map(|row| row.evaluation.as_ref()).filter_map(value);
            columns.push(
                Some(Spread::of(values))
                    .filter(|spread| spread.n > 0)
                    .map_or(String::new(), |s| format!("{:.*}", decimals, s.mean)),
            );
        }
        columns.push(group.len().to_string());
        columns
    }

    fn has_several(&self, key: &str) -> bool {
        let mut values = self.sweep.cells.iter().map(|cell| cell.value(key));
        let first = values.next();
        values.any(|value| Some(value) != first)
    }

    /// The rows that differ in their seeds alone: what cells are about, and averages with averaged statistics, which flatter
    /// an ensemble where they are poor.
    fn over_seeds(&self) -> Vec<Vec<&Row>> {
        let mut groups: Vec<(String, Vec<&Row>)> = Vec::new();
        let shown = |row: &&Row| row.is_main || (row.of != Scored::Floor && self.is_about_average(row));
        for row in self.rows.iter().filter(shown) {
            let cell = &self.sweep.cells[row.cell];
            let values: Vec<_> = self.sweep.keys.iter().map(|key| cell.value(key)).collect();
            let key = format!("{} {:?} {values:?}", cell.label, row.norm_statistics);
            match groups.iter_mut().find(|(other, _)| *other == key) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((key, vec![row])),
            }
        }
        groups.into_iter().map(|(_, rows)| rows).collect()
    }

    /// Whether the cell of `row` is about an averaged generator, and so is the row.
    fn is_about_average(&self, row: &Row) -> bool {
        self.rows.iter().any(|main| main.cell == row.cell && main.is_main && main.of == row.of)
    }
}

fn of_run(cell: usize, folder: &Folder) -> Vec<Row> {
    let of = if folder.latest(Scored::Ensemble).is_some() { Scored::Ensemble } else { Scored::Average };
    let megabytes = folder.bytes_until(u32::MAX) as f64 / 1e6;
    rows(cell, folder, of, megabytes, None, &[Scored::Average, Scored::MeanOfMembers, Scored::Ensemble])
}

/// The `fedgan` that an `effgan` run holds: its last round is the fine-tuning, averaged.
fn of_mean(cell: usize, folder: &Folder, effgan: &str) -> Vec<Row> {
    let clients = folder.info.partition.clients.len() as u64;
    let network = &folder.info.network;
    let round = clients * 2 * 4 * (network.generator_values + network.discriminator_values);
    let rounds = folder.rounds.values().filter(|round| round.kind != ExchangeKind::Collect);
    let sent: u64 = rounds.map(|round| round.bytes_down + round.bytes_up).sum();
    let from = format!("mean of the members of {effgan}");
    let megabytes = (sent + round) as f64 / 1e6;
    rows(cell, folder, Scored::MeanOfMembers, megabytes, Some(&from), &[Scored::MeanOfMembers])
}

/// The latest scores of each `kinds`; `main` is what the cell is about.
fn rows(cell: usize, folder: &Folder, main: Scored, megabytes: f64, from: Option<&str>, kinds: &[Scored]) -> Vec<Row> {
    let floor = folder.latest(Scored::Floor).map(|floor| floor.scores.fd_small);
    let ways = [None, Some(NormStatistics::Recompute), Some(NormStatistics::Average)];
    let all = kinds.iter().flat_map(|&of| ways.map(|way| (of, way)));
    let latest = |(of, way)| {
        let of_kind = folder.scores.iter().filter(move |((kind, norm, _), _)| (*kind, *norm) == (of, way));
        of_kind.max_by_key(|((.., round), _)| *round).map(|(_, score)| score.clone())
    };
    let row = |score: Score| Row {
        cell,
        of: score.of,
        norm_statistics: score.norm_statistics,
        is_main: score.of == main && score.norm_statistics != Some(NormStatistics::Average),
        score,
        floor,
        megabytes,
        evaluation: None,
        model_hash: folder.info.model_hash.clone().filter(|_| from.is_none()),
        from: from.map(str::to_owned),
    };
    all.filter_map(latest).map(row).collect()
}

/// The file of a run folder with its further scores.
pub(super) const EVALUATION: &str = "evaluation.json";

/// What it says; nothing where it is not there or of another version.
pub(super) fn evaluation(folder: &Path) -> Option<Evaluation> {
    serde_json::from_slice(&read_file(&folder.join(EVALUATION), MOST_BYTES).ok()?).ok()
}

type Further = (&'static str, fn(&Evaluation) -> Option<f64>);

/// Columns of the further scores, with the n that they are of.
const FURTHER: [Further; 12] = [
    ("evaluated_n", |e| Some(e.scores.n as f64)),
    ("kd_small", |e| e.scores.kd_small),
    ("kd_std", |e| Some(e.scores.kd_std)),
    ("precision", |e| Some(e.scores.precision)),
    ("recall", |e| Some(e.scores.recall)),
    ("density", |e| Some(e.scores.density)),
    ("coverage", |e| Some(e.scores.coverage)),
    ("accuracy", |e| e.train_on_synthetic.as_ref().map(|lessons| lessons.accuracy)),
    ("accuracy_of_real", |e| e.train_on_synthetic.as_ref().and_then(|lessons| lessons.accuracy_of_real)),
    ("memorisation_ratio", |e| e.memorisation.first().map(|found| found.memorisation.ratio)),
    ("memorisation_auc", |e| e.memorisation.first().map(|found| found.memorisation.auc)),
    // The member that is most like its own training images.
    ("memorisation_auc_of_members", |e| {
        e.memorisation.iter().skip(1).map(|found| found.memorisation.auc).max_by(f64::total_cmp)
    }),
];

/// What a run came to, in a few words.
pub(super) fn headline(folder: &Path) -> String {
    let Ok(folder) = Folder::read(folder) else { return "done".into() };
    let took = duration(folder.info.seconds);
    let score = [Scored::Ensemble, Scored::Average].into_iter().find_map(|of| folder.latest(of));
    score.map_or(took.clone(), |score| format!("{} fd_small {:.2}, {took}", score.of.title(), score.scores.fd_small))
}

/// Mean and range over seeds.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub mean: f64,
    pub least: f64,
    pub most: f64,
    n: usize,
}

impl Spread {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (least, most) = (
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        Self { mean, least, most, n: values.len() }
    }

    fn text(self, decimals: usize) -> String {
        let Self { mean, least, most, n } = self;
        if n > 1 && least < most {
            format!("{mean:.decimals$} ({least:.decimals$}–{most:.decimals$})")
        } else {
            format!("{mean:.decimals$}")
        }
    }
}

/// Heading, decimals and value of a further score in the Markdown table.
type Shown = (&'static str, usize, fn(&Evaluation) -> Option<f64>);

const SHOWN: [Shown; 6] = [
    ("precision", 2, |e| Some(e.scores.precision)),
    ("recall", 2, |e| Some(e.scores.recall)),
    ("density", 2, |e| Some(e.scores.density)),
    ("coverage", 2, |e| Some(e.scores.coverage)),
    ("accuracy of a classifier trained on samples", 3, |e| {
        e.train_on_synthetic.as_ref().map(|lessons| lessons.accuracy)
    }),
    ("memorisation AUC", 2, |e| e.memorisation.first().map(|found| found.memorisation.auc)),
];

/// A line of a Markdown table.
fn line(columns: &[String]) -> String {
    format!("| {} |\n", columns.join(" | "))
}

/// A number as it is, a text without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Cell {
    /// A number that the config has for a key.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.value(key).and_then(|value| value.as_float().or_else(|| value.as_integer().map(|n| n as f64)))
    }
}
