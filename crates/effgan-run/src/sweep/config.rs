//! `SWEEP.toml`: a config, and what is varied.
//!
//! ```toml
//! name = "epochs"
//! config = "fashion.toml"            # all that is the same, relative to this file
//! seeds = [1, 2, 3]
//! evaluate = 2000                    # samples of each cell for the scores of `effgan evaluate`; absent: the runs' scores alone
//! facet = "partition.alpha"          # one figure for each value of this key; absent: one for all
//!
//! [[grids]]
//! [[grids.axes]]                     # keys of one axis vary together; axes are multiplied
//! "local.epochs" = [5, 20]
//! "algorithm.rounds" = [19, 4]
//!
//! [[grids]]
//! set = { algorithm = { kind = "central", rounds = 5 } }
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Deserialize;
use toml::{Table, Value};

use crate::config::{Config, read};
use crate::failure::{Failure, Result};
use effgan_data::control_chars::is_control;

/// Most cells of one sweep.
const MOST_CELLS: usize = 100_000;

/// A sweep, every cell of it checked.
pub struct Sweep {
    /// Names its folder.
    pub name: String,
    /// Keys that are varied, in the order of the file.
    pub keys: Vec<String>,
    /// Samples of each cell's generators whose further scores are taken; none where it is absent.
    pub evaluate: Option<usize>,
    /// The key with one set of figures for each of its values.
    pub facet: Option<String>,
    pub cells: Vec<Cell>,
}

/// One run of a sweep.
pub struct Cell {
    /// Of its folder.
    pub name: String,
    /// The line that it belongs to in figures: the grid's `label`, or the algorithm.
    pub label: String,
    /// First keys of the grid's axes, with what they have here.
    pub point: Vec<(String, Value)>,
    /// All keys of each axis.
    axes: Vec<Vec<String>>,
    pub config: Config,
    /// The config with every key.
    resolved: Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    config: PathBuf,
    #[serde(default)]
    seeds: Vec<i64>,
    #[serde(default)]
    evaluate: Option<usize>,
    #[serde(default)]
    facet: Option<String>,
    grids: Vec<Grid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grid {
    #[serde(default)]
    label: Option<String>,
    /// Instead of the sweep's.
    #[serde(default)]
    seeds: Option<Vec<i64>>,
    /// Keys that are the same in all its cells.
    #[serde(default)]
    set: Table,
    #[serde(default)]
    axes: Vec<Table>,
}

/// Keys and their values at one place of an axis.
type Place = Vec<(String, Value)>;

impl Sweep {
    /// Reads `path`; `settings` hold for all cells.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the file and the cell.
    pub fn load(path: &Path, settings: &[String]) -> Result<Self> {
        let named = |failure: Failure| failure.context(path.display().to_string());
        let text = read(path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
        let file: File = toml::from_str(&text).map_err(|error| named(usage(one_line(&error))))?;
        let base = path.parent().unwrap_or(Path::new("")).join(&file.config);
        Self::of(file, &base, settings).map_err(named)
    }

    fn of(file: File, base: &Path, settings: &[String]) -> Result<Self> {
        crate::config::check_name(&file.name)?;
        let mut cells = Vec::new();
        for grid in &file.grids {
            grid.cells(&file, base, settings, &mut cells)?;
        }
        let mut names = BTreeSet::new();
        if let Some(cell) = cells.iter().find(|cell| !names.insert(&cell.name)) {
            return Err(usage(format!("two cells are called {}; give one of their grids a label", cell.name)));
        }
        let keys = keys(&file.grids);
        match file.facet {
            Some(key) if !keys.contains(&key) => Err(usage(format!("facet = {key:?} is no key of an axis"))),
            facet => Ok(Self { name: file.name, keys, evaluate: file.evaluate, facet, cells }),
        }
    }
}

/// In the order of the file, each once.
fn keys(grids: &[Grid]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for key in grids.iter().flat_map(|grid| &grid.axes).flat_map(Table::keys) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

impl Grid {
    fn cells(&self, file: &File, base: &Path, settings: &[String], cells: &mut Vec<Cell>) -> Result<()> {
        let seeds = self.seeds.as_ref().unwrap_or(&file.seeds);
        if seeds.is_empty() {
            return Err(usage("`seeds` is missing or empty, expected a list such as [1, 2, 3]".into()));
        }
        let axes: Vec<Vec<Place>> = self.axes.iter().map(places).collect::<Result<_>>()?;
        let size = axes.iter().map(Vec::len).product::<usize>().saturating_mul(seeds.len());
        if cells.len() + size > MOST_CELLS {
            return Err(usage(format!("{} cells are more than {MOST_CELLS}", cells.len() + size)));
        }
        for &seed in seeds {
            for i in 0..size / seeds.len() {
                cells.push(self.cell(base, settings, seed, &nth(&axes, i))?);
            }
        }
        Ok(())
    }

    fn cell(&self, base: &Path, settings: &[String], seed: i64, places: &[&Place]) -> Result<Cell> {
        let set = self.set.iter().map(|(key, value)| format!("{key}={value}"));
        let varied = places.iter().copied().flatten().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<String> = set.chain(varied).chain([format!("seed={seed}")]).chain(settings.to_vec()).collect();
        let config = Config::load(base, &all).map_err(|failure| failure.context(all.join(", ")))?;
        let label = self.label.clone().unwrap_or_else(|| config.algorithm.name().into());
        let point: Vec<(String, Value)> = places.iter().filter_map(|place| place.first().cloned()).collect();
        let name = cell_name(&label, &point, seed);
        let resolved = config.to_toml().parse().expect("written as TOML a line above");
        let axes = self.axes.iter().map(|axis| axis.keys().cloned().collect()).collect();
        Ok(Cell { name, label, point, axes, config, resolved })
    }
}

/// Its values side by side: all keys have as many.
fn places(axis: &Table) -> Result<Vec<Place>> {
    let list = |(key, value): (&String, &Value)| match value.as_array() {
        Some(values) if !values.is_empty() => Ok((key.clone(), values.clone())),
        _ => Err(usage(format!("axis {key} = {value}, expected a list of values"))),
    };
    let lists: Vec<(String, Vec<Value>)> = axis.iter().map(list).collect::<Result<_>>()?;
    let Some((first, values)) = lists.first() else { return Err(usage("an axis has no keys".into())) };
    if let Some((key, other)) = lists.iter().find(|(_, other)| other.len() != values.len()) {
        let (n, m) = (values.len(), other.len());
        return Err(usage(format!("axis {first} has {n} values and {key} has {m}; keys of one axis vary together")));
    }
    let place = |i: usize| lists.iter().map(|(key, values)| (key.clone(), values[i].clone())).collect();
    Ok((0..values.len()).map(place).collect())
}

/// The `i`-th of all combinations; the last axis goes quickest.
fn nth(axes: &[Vec<Place>], mut i: usize) -> Vec<&Place> {
    let mut places: Vec<&Place> = Vec::new();
    for axis in axes.iter().rev() {
        places.push(&axis[i % axis.len()]);
        i /= axis.len();
    }
    places.reverse();
    places
}

/// `effgan-epochs-20-seed-1`.
fn cell_name(label: &str, point: &[(String, Value)], seed: i64) -> String {
    let mut name = label.to_owned();
    for (key, value) in point {
        name += &format!("-{}-{}", key.rsplit('.').next().unwrap_or(key), short(value));
    }
    let fine = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{name}-seed-{seed}").chars().map(fine).collect()
}

/// Without the quotes of a string.
pub(super) fn short(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Cell {
    pub fn folder(&self, out: &Path) -> PathBuf {
        out.join("cells").join(&self.name)
    }

    /// What the config has for a dotted key; nothing for a key that it does not have.
    pub fn value(&self, key: &str) -> Option<&Value> {
        let (last, tables) = key.split('.').collect::<Vec<_>>().split_last().map(|(l, t)| (*l, t.to_vec()))?;
        let table = tables.into_iter().try_fold(&self.resolved, |table, key| table.get(key)?.as_table())?;
        table.get(last)
    }

    /// Whether two keys are of one axis.
    pub fn goes_along(&self, key: &str, other: &str) -> bool {
        self.axes.iter().any(|axis| [key, other].iter().all(|key| axis.iter().any(|of| of == key)))
    }

    /// How much it trains, roughly: images that its clients see.
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

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace(is_control, " ")
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}
