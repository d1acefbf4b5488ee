//! The file of a sweep: a config, and the keys that vary.
//!
//! ```toml
//! name = "epochs"
//! config = "fashion.toml"            # everything that does not vary; relative to this file
//! seeds = [1, 2, 3]
//! evaluate = 2000                    # samples per cell for the scores of `effgan evaluate`; absent: only the scores of the runs
//! facet = "partition.alpha"          # one figure per value of this key; absent: one figure
//!
//! [[grids]]
//! [[grids.axes]]                     # keys of one axis vary together; the grid is the product of its axes
//! "local.epochs" = [5, 20]
//! "algorithm.rounds" = [19, 4]
//!
//! [[grids]]
//! set = { algorithm = { kind = "central", rounds = 5 } }
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use effgan_metrics::Prdc;
use serde::Deserialize;
use toml::{Table, Value};

use super::cell::{Cell, cell_name};
use crate::config::{Config, check_name, read, table_of, typed};
use crate::failure::{Failure, Result};

/// Maximum number of cells of a sweep.
const MAX_CELLS: usize = 100_000;

/// A sweep whose cells have all been checked.
pub struct Sweep {
    /// The name of the sweep, and by default of its folder.
    pub name: String,
    /// The keys that vary, in the order of the file.
    pub keys: Vec<String>,
    /// Samples per cell for the scores of `effgan evaluate`; absent for the scores of the runs alone.
    pub evaluate: Option<usize>,
    /// The key that has a set of figures for each of its values.
    pub facet: Option<String>,
    /// The runs of the sweep.
    pub cells: Vec<Cell>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    config: PathBuf,
    #[serde(default)]
    seeds: Vec<i64>,
    #[serde(default)]
    evaluate: Option<i64>,
    #[serde(default)]
    facet: Option<String>,
    grids: Vec<Grid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grid {
    #[serde(default)]
    label: Option<String>,
    /// Replaces the sweep's seeds.
    #[serde(default)]
    seeds: Option<Vec<i64>>,
    /// Settings of all its cells.
    #[serde(default)]
    set: Table,
    #[serde(default)]
    axes: Vec<Table>,
}

/// The keys of an axis with their values at one point of it.
type Point = Vec<(String, Value)>;

impl Sweep {
    /// Reads and checks the file at `path`; `settings` apply to all cells.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the file and the cell.
    pub fn load(path: &Path, settings: &[String]) -> Result<Self> {
        let named = |failure: Failure| failure.context(path.display().to_string());
        let text = read(path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
        let table = table_of(&text).map_err(named)?;
        let file: File = typed("", &Value::Table(table)).map_err(|mistake| named(usage(mistake.line)))?;
        let base = path.parent().unwrap_or(Path::new("")).join(&file.config);
        Self::of(file, &base, settings).map_err(named)
    }

    fn of(file: File, base: &Path, settings: &[String]) -> Result<Self> {
        check_name(&file.name)?;
        let evaluate = file.evaluate.map(num_evaluated).transpose()?;
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
            Some(key) if !keys.contains(&key) => Err(usage(format!("facet = {key:?} is not a key of any axis"))),
            facet => Ok(Self { name: file.name, keys, evaluate, facet, cells }),
        }
    }
}

/// `evaluate`, which must be enough images for all scores; that there are as many is checked once they are read.
fn num_evaluated(n: i64) -> Result<usize> {
    let least = Prdc::NEAREST_K + 1;
    usize::try_from(n).ok().filter(|n| *n >= least).ok_or_else(|| {
        usage(format!("evaluate = {n} must be at least {least}, the fewest images for precision and recall"))
    })
}

/// The keys of all axes in the order of the file, each once.
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
        let axes: Vec<Vec<Point>> = self.axes.iter().map(points).collect::<Result<_>>()?;
        let size = axes.iter().map(Vec::len).product::<usize>().saturating_mul(seeds.len());
        if cells.len() + size > MAX_CELLS {
            return Err(usage(format!("{} cells are more than {MAX_CELLS}", cells.len() + size)));
        }
        for &seed in seeds {
            for i in 0..size / seeds.len() {
                cells.push(self.cell(base, settings, seed, &nth(&axes, i))?);
            }
        }
        Ok(())
    }

    fn cell(&self, base: &Path, settings: &[String], seed: i64, points: &[&Point]) -> Result<Cell> {
        let set = self.set.iter().map(|(key, value)| format!("{key}={value}"));
        let varied = points.iter().copied().flatten().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<String> = set.chain(varied).chain([format!("seed={seed}")]).chain(settings.to_vec()).collect();
        let config =
            Config::load_for(base, &all, Config::check_simulated).map_err(|failure| failure.context(all.join(", ")))?;
        let label = self.label.clone().unwrap_or_else(|| config.algorithm.name().into());
        let point: Vec<(String, Value)> = points.iter().filter_map(|point| point.first().cloned()).collect();
        let name = cell_name(&label, &point, seed);
        let resolved = config.to_toml().parse().expect("written as TOML a line above");
        let axes = self.axes.iter().map(|axis| axis.keys().cloned().collect()).collect();
        Ok(Cell { name, label, point, axes, config, resolved })
    }
}

/// The points of an axis: the values of its keys side by side.
fn points(axis: &Table) -> Result<Vec<Point>> {
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
    let point = |i: usize| lists.iter().map(|(key, values)| (key.clone(), values[i].clone())).collect();
    Ok((0..values.len()).map(point).collect())
}

/// The `i`-th combination of points; the last axis varies fastest.
fn nth(axes: &[Vec<Point>], mut i: usize) -> Vec<&Point> {
    let mut points: Vec<&Point> = Vec::new();
    for axis in axes.iter().rev() {
        points.push(&axis[i % axis.len()]);
        i /= axis.len();
    }
    points.reverse();
    points
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::files_of_the_repository;

    #[test]
    fn a_wrong_value_is_refused_when_the_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sweep.toml");
        for (line, said) in [
            ("evaluate = 5", "evaluate = 5 must be at least 6, the fewest images for precision and recall"),
            ("evaluate = -1", "evaluate = -1 must be at least 6, the fewest images for precision and recall"),
            ("evaluate = []", "evaluate = [], expected a whole number"),
            ("seeds = 1", "seeds = 1, expected a list"),
            ("evalute = 5", "unknown key `evalute`, expected one of `name`, `config`, "),
        ] {
            std::fs::write(&path, format!("name = \"a\"\nconfig = \"b.toml\"\n{line}\n[[grids]]\n")).unwrap();
            let error = Sweep::load(&path, &[]).err().unwrap().line();
            assert!(error.starts_with(&format!("{}: {said}", path.display())), "{error}");
        }
    }

    #[test]
    fn every_sweep_of_the_repository_is_valid() {
        let files = files_of_the_repository();
        let sweeps: Vec<&PathBuf> =
            files.iter().filter(|file| file.to_string_lossy().ends_with(".sweep.toml")).collect();
        assert!(!sweeps.is_empty());
        for file in sweeps {
            let sweep = Sweep::load(file, &[]).unwrap_or_else(|failure| panic!("{}", failure.line()));
            assert!(sweep.cells.len() > 1, "{}", file.display());
        }
    }
}
