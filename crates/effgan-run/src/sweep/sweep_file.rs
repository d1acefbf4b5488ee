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
    /// The file that it was read from.
    pub file: PathBuf,
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
    /// Each a [`Grid`], which is read on its own so that an error names its key.
    grids: Vec<Value>,
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
    /// Reads and checks the file at `path`; `settings` apply to all cells. Where `seeds` are given, only the cells with these are in the sweep.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the file and the cell.
    pub fn load(path: &Path, settings: &[String], seeds: &[u64]) -> Result<Self> {
        let named = |failure: Failure| failure.context(path.display().to_string());
        let text = read(path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
        let table = table_of(&text).map_err(named)?;
        let file: File = typed("", &Value::Table(table)).map_err(|mistake| named(usage(mistake.line)))?;
        let base = path.parent().unwrap_or(Path::new("")).join(&file.config);
        Self::of(path, file, &base, settings, seeds).map_err(named)
    }

    fn of(path: &Path, file: File, base: &Path, settings: &[String], seeds: &[u64]) -> Result<Self> {
        check_name(&file.name)?;
        let grids: Vec<Grid> = file.grids.iter().map(Grid::of).collect::<Result<_>>()?;
        let evaluate = file.evaluate.map(num_evaluated).transpose()?;
        let mut cells = Vec::new();
        if grids.is_empty() {
            return Err(usage("grids = [] names no run; write at least one [[grids]]".into()));
        }
        for grid in &grids {
            grid.cells(&file, base, settings, &mut cells)?;
        }
        let known: BTreeSet<u64> = cells.iter().map(|cell| cell.config.seed).collect();
        if let Some(unknown) = seeds.iter().find(|seed| !known.contains(seed)) {
            let known = known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(usage(format!("--seeds has {unknown}, and the sweep's seeds are {known}")));
        }
        cells.retain(|cell| seeds.is_empty() || seeds.contains(&cell.config.seed));
        let mut names = BTreeSet::new();
        if let Some(cell) = cells.iter().find(|cell| !names.insert(&cell.name)) {
            return Err(usage(format!("two cells are called {}; give one of their grids a label", cell.name)));
        }
        let keys = keys(&grids);
        match file.facet {
            Some(key) if !keys.contains(&key) => Err(usage(format!("facet = {key:?} is not a key of any axis"))),
            facet => Ok(Self { file: path.into(), name: file.name, keys, evaluate, facet, cells }),
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
    fn of(grid: &Value) -> Result<Self> {
        let wrong = |key: &str, value: &Value| usage(format!("{key} = {value}, expected a table"));
        let table = grid.as_table().ok_or_else(|| wrong("grids", grid))?;
        let axes = table.get("axes").and_then(Value::as_array).into_iter().flatten().map(|axis| ("grids.axes", axis));
        let tables = table.get("set").map(|set| ("grids.set", set)).into_iter().chain(axes);
        match tables.into_iter().find(|(_, value)| !value.is_table()) {
            Some((key, value)) => Err(wrong(key, value)),
            None => typed("grids", grid).map_err(|mistake| usage(mistake.line)),
        }
    }

    fn cells(&self, file: &File, base: &Path, settings: &[String], cells: &mut Vec<Cell>) -> Result<()> {
        let seeds = self.seeds.as_ref().unwrap_or(&file.seeds);
        if seeds.is_empty() {
            return Err(usage("`seeds` is missing or empty, expected a list such as [1, 2, 3]".into()));
        }
        let axes: Vec<Vec<Point>> = self.axes.iter().map(points).collect::<Result<_>>()?;
        let size = axes.iter().map(Vec::len).fold(seeds.len(), usize::saturating_mul);
        let all = cells.len().saturating_add(size);
        if all > MAX_CELLS {
            return Err(usage(format!("{all} cells are more than {MAX_CELLS}")));
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
        // By its own name, or with the whole table that it is in.
        let is_set = |key: &str| {
            let names = settings.iter().filter_map(|setting| setting.split('=').next().map(str::trim));
            names
                .into_iter()
                .any(|set| key.strip_prefix(set).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        };
        let varied = points.iter().copied().flatten().filter(|(key, _)| !is_set(key)).cloned().collect();
        Ok(Cell { name, label, point, axes, varied, config, resolved })
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
    use crate::config::tests::{QUICKSTART, files_of_the_repository};

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
            let error = error_of(&path, &format!("{line}\n[[grids]]\n"));
            assert!(error.starts_with(&format!("{}: {said}", path.display())), "{error}");
        }
    }

    fn error_of(path: &Path, lines: &str) -> String {
        std::fs::write(path, format!("name = \"a\"\nconfig = \"b.toml\"\n{lines}")).unwrap();
        Sweep::load(path, &[], &[]).err().unwrap().line()
    }

    #[test]
    fn a_value_of_a_wrong_type_in_a_grid_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sweep.toml");
        for (lines, said) in [
            ("grids = 1", "grids = 1, expected a list"),
            ("grids = [1]", "grids = 1, expected a table"),
            ("grids = [[\"l\"]]", "grids = [\"l\"], expected a table"),
            ("[[grids]]\nset = 1", "grids.set = 1, expected a table"),
            ("[[grids]]\naxes = 1", "grids.axes = 1, expected a list"),
            ("[[grids]]\naxes = [1]", "grids.axes = 1, expected a table"),
            ("[[grids]]\naxes = [{}, []]", "grids.axes = [], expected a table"),
            ("[[grids]]\nlabel = 1", "grids.label = 1, expected a text"),
            ("[[grids]]\nseeds = 1", "grids.seeds = 1, expected a list"),
            ("[[grids]]\nseed = [1]", "[grids] unknown key `seed`, expected one of `label`, `seeds`, `set`, `axes`"),
        ] {
            assert_eq!(error_of(&path, lines), format!("{}: {said}", path.display()));
        }
    }

    #[test]
    fn a_sweep_has_at_least_one_cell_and_a_product_that_no_number_holds_is_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sweep.toml");
        assert!(error_of(&path, "grids = []").ends_with("grids = [] names no run; write at least one [[grids]]"));
        let axis = |i: usize| format!("[[grids.axes]]\na{i} = {:?}\n", vec![1; 1 << 16]);
        let axes: String = (0..4).map(axis).collect();
        let error = error_of(&path, &format!("seeds = [1]\n[[grids]]\n{axes}"));
        assert!(error.ends_with(&format!("{} cells are more than 100000", usize::MAX)), "{error}");
    }

    #[test]
    fn seeds_of_the_command_line_are_some_of_the_sweeps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sweep.toml");
        std::fs::write(folder.path().join("base.toml"), QUICKSTART).unwrap();
        let text = "name = \"a\"\nconfig = \"base.toml\"\nseeds = [1, 2]\n[[grids]]\nlabel = \"own\"\nseeds = [3, 1]\n[[grids]]\n";
        std::fs::write(&path, text).unwrap();
        let seeds = |seeds: &[u64]| -> Vec<u64> {
            Sweep::load(&path, &[], seeds).unwrap().cells.iter().map(|cell| cell.config.seed).collect()
        };
        assert_eq!((seeds(&[]), seeds(&[1]), seeds(&[2, 3])), (vec![3, 1, 1, 2], vec![1, 1], vec![3, 2]));
        let line = Sweep::load(&path, &[], &[1, 7]).err().unwrap().line();
        assert!(line.ends_with("--seeds has 7, and the sweep's seeds are 1, 2, 3"), "{line}");
    }

    #[test]
    fn every_sweep_of_the_repository_is_valid() {
        let files = files_of_the_repository();
        let sweeps: Vec<&PathBuf> =
            files.iter().filter(|file| file.to_string_lossy().ends_with(".sweep.toml")).collect();
        assert!(!sweeps.is_empty());
        for file in sweeps {
            let sweep = Sweep::load(file, &[], &[]).unwrap_or_else(|failure| panic!("{}", failure.line()));
            assert!(sweep.cells.len() > 1, "{}", file.display());
        }
    }
}
