//! The table of a sweep in Markdown: a row for each setting of the keys, with mean and range over the seeds.

use effgan_fl::ensemble::NormStatistics;
use effgan_metrics::{Metric, main_metric};

use super::cell::short;
use super::results_table::Table;
use super::rows::Row;
use super::spread::Spread;
use crate::record::events::Scored;
use crate::units::three_digits;

impl Table<'_> {
    /// The table as Markdown.
    pub(super) fn markdown(&self) -> String {
        let keys: Vec<&String> = self.sweep.keys.iter().filter(|key| self.has_several(key)).collect();
        let (in_run, evaluated) = (headings(self.in_run()), headings(self.asked()));
        let mut heads = vec![String::new()];
        heads.extend(keys.iter().map(|key| format!("`{key}`")));
        heads.extend(self.has_several_networks().then(|| "network".to_owned()));
        heads.extend(in_run.into_iter().chain(["MB sent"]).chain(evaluated).chain(["seeds"]).map(str::to_owned));
        let mut text = line(&heads) + &line(&vec!["---".into(); heads.len()]);
        for group in self.over_seeds() {
            text += &line(&self.markdown_row(&group, &keys));
        }
        if self.has_several_networks() {
            // Each network has a floor of its own, which table.csv has.
            return text + &self.numbers();
        }
        let floor = Spread::of(self.rows.iter().filter_map(|row| row.floor));
        let mut last = vec![String::new(); heads.len()];
        last[0] = "real images (floor)".into();
        let before = in_summary(self.in_run()).take_while(|(metric, _)| *metric != self.main()).count();
        last[1 + keys.len() + before] = floor.text(self.main().decimals);
        text + &line(&last) + &self.numbers()
    }

    /// A sentence with the numbers of images behind the scores.
    fn numbers(&self) -> String {
        let Some(row) = self.rows.iter().find(|row| row.is_main) else { return String::new() };
        let in_run = headings(self.in_run());
        let (last, others) = in_run.split_last().expect("a run computes the main metric");
        let in_run = if others.is_empty() { (*last).into() } else { format!("{} and {last}", others.join(", ")) };
        let evaluated = match (&row.evaluation, headings(self.asked()).first()) {
            (Some(found), Some(first)) => format!("; {first} and the columns after it of {}", found.scores.n),
            _ => String::new(),
        };
        let networks = if self.has_several_networks() {
            " Rows of different networks are not comparable: each data set has a network and a scale of its own."
        } else {
            ""
        };
        format!("\n{in_run} of {} images{evaluated}.{networks}\n", row.score.scores.n)
    }

    /// Whether the cells were scored by different networks.
    fn has_several_networks(&self) -> bool {
        self.marks().len() > 1
    }

    /// The metrics of `effgan evaluate` that the sweep asks for.
    fn asked(&self) -> impl Iterator<Item = &'static Metric> {
        self.evaluated().filter(|_| self.sweep.evaluate.is_some())
    }

    fn markdown_row(&self, group: &[&Row], keys: &[&String]) -> Vec<String> {
        let (first, cell) = (group[0], &self.sweep.cells[group[0].cell]);
        let label = match first.norm_statistics {
            Some(NormStatistics::Average) => format!("{}, averaged statistics", cell.label),
            _ => cell.label.clone(),
        };
        let of_run = |metric: &Metric| self.over(metric, group.iter().filter_map(|row| row.score.scores.get(metric)));
        let evaluation =
            |metric: &Metric| self.over(metric, group.iter().filter_map(|row| row.evaluation.as_ref()?.value(metric)));
        let mut columns = vec![label];
        columns.extend(keys.iter().map(|key| cell.value(key).map_or(String::new(), short)));
        columns.extend(self.has_several_networks().then(|| first.mark().to_owned()));
        columns.extend(in_summary(self.in_run()).map(|(metric, _)| of_run(metric)));
        columns.push(three_digits(first.megabytes));
        columns.extend(in_summary(self.asked()).map(|(metric, _)| evaluation(metric)));
        columns.push(group.len().to_string());
        columns
    }

    /// Whether the cells have different values for `key`.
    fn has_several(&self, key: &str) -> bool {
        let mut values = self.sweep.cells.iter().map(|cell| cell.value(key));
        let first = values.next();
        values.any(|value| Some(value) != first)
    }

    /// Groups the rows that differ in their seeds alone: the main scores, and those of averaged generators with averaged statistics,
    /// next to which an ensemble could look better than it is.
    fn over_seeds(&self) -> Vec<Vec<&Row>> {
        let mut groups: Vec<(String, Vec<&Row>)> = Vec::new();
        let shown = |row: &&Row| row.is_main || (row.of != Scored::Floor && self.is_of_main_generator(row));
        for row in self.rows.iter().filter(shown) {
            let cell = &self.sweep.cells[row.cell];
            let values: Vec<_> = self.sweep.keys.iter().map(|key| cell.value(key)).collect();
            let key = format!("{} {:?} {:?} {values:?}", cell.label, row.norm_statistics, row.mark());
            match groups.iter_mut().find(|(other, _)| *other == key) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((key, vec![row])),
            }
        }
        groups.into_iter().map(|(_, rows)| rows).collect()
    }

    /// The mean of `metric` over the seeds, for the main metric with its range; empty where it was not computed.
    fn over(&self, metric: &Metric, values: impl Iterator<Item = f64>) -> String {
        let spread = Spread::of(values);
        match spread.n {
            0 => String::new(),
            _ if self.networks().iter().any(|network| metric == main_metric(*network)) => {
                spread.text(metric.brief_decimals())
            }
            _ => metric.brief(spread.mean),
        }
    }

    /// Whether the row scores the same generator as the main score of its cell.
    fn is_of_main_generator(&self, row: &Row) -> bool {
        self.rows.iter().any(|main| main.cell == row.cell && main.is_main && main.of == row.of)
    }
}

/// Those of `metrics` that the table shows, with their headings.
fn in_summary(metrics: impl Iterator<Item = &'static Metric>) -> impl Iterator<Item = (&'static Metric, &'static str)> {
    metrics.filter_map(|metric| Some((metric, metric.summary.as_ref()?.heading)))
}

fn headings(metrics: impl Iterator<Item = &'static Metric>) -> Vec<&'static str> {
    in_summary(metrics).map(|(_, heading)| heading).collect()
}

/// A line of the table.
fn line(columns: &[String]) -> String {
    format!("| {} |\n", columns.join(" | "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::config::tests::QUICKSTART;
    use crate::sweep::Sweep;

    fn by_own(hash: &str) -> Value {
        json!({
            "round": 1, "of": "ensemble", "n": 50, "fd_own": 5.0, "class_kl": 0.0, "modes": 2, "class_counts": [9, 9], "seconds": 1.0,
            "own_network": {"sha256": hash.repeat(8), "test_accuracy": 0.75},
        })
    }

    /// The table of two cells with these scores.
    fn table(scores: [Value; 2]) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("quickstart.toml"), QUICKSTART).unwrap();
        let file = folder.path().join("sizes.sweep.toml");
        let text = "name = \"sizes\"\nconfig = \"quickstart.toml\"\nseeds = [1]\n[[grids]]\n[[grids.axes]]\n\"dataset.size\" = [16, 32]\n";
        fs::write(&file, text).unwrap();
        let sweep = Sweep::load(&file, &[], &[]).unwrap_or_else(|failure| panic!("{}", failure.line()));
        let row = |(cell, score): (usize, Value)| Row {
            cell,
            of: Scored::Ensemble,
            norm_statistics: None,
            is_main: true,
            score: serde_json::from_value(score).unwrap(),
            floor: Some(2.0),
            megabytes: 1.0,
            evaluation: None,
            model_hash: None,
            from: None,
        };
        let table = Table { sweep: &sweep, rows: scores.into_iter().enumerate().map(row).collect() };
        (table.markdown(), String::from_utf8(table.csv().unwrap()).unwrap())
    }

    #[test]
    fn rows_that_different_networks_scored_are_marked_and_have_no_common_floor() {
        let (markdown, csv) = table(["0123abcd", "fedc9876"].map(by_own));
        let heads: Vec<&str> = markdown.lines().next().unwrap().split('|').map(str::trim).collect();
        assert_eq!(heads[..5], ["", "", "`dataset.size`", "network", "fd_own"]);
        for (line, network) in [(2, "0123abcd"), (3, "fedc9876")] {
            let cells: Vec<&str> = markdown.lines().nth(line).unwrap().split('|').map(str::trim).collect();
            assert_eq!((cells[3], cells.len()), (network, heads.len()), "{markdown}");
        }
        assert!(
            markdown.contains("Rows of different networks are not comparable") && !markdown.contains("floor"),
            "{markdown}"
        );
        assert!(csv.contains("own_network") && csv.contains(&"fedc9876".repeat(8)), "{csv}");
    }

    #[test]
    fn rows_with_different_distances_have_a_column_each() {
        let small = json!({
            "round": 1, "of": "ensemble", "n": 50, "fd_small": 7.25, "class_kl": 0.0, "modes": 2, "class_counts": [9, 9], "seconds": 1.0,
        });
        let (markdown, csv) = table([by_own("0123abcd"), small]);
        let heads: Vec<&str> = markdown.lines().next().unwrap().split('|').map(str::trim).collect();
        assert_eq!(heads[3..6], ["network", "fd_small", "fd_own"], "{markdown}");
        let cells =
            |line: usize| -> Vec<&str> { markdown.lines().nth(line).unwrap().split('|').map(str::trim).collect() };
        assert_eq!((&cells(2)[3..6], &cells(3)[3..6]), (&["0123abcd", "", "5.0"][..], &["fd_small", "7.2", ""][..]));
        let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        let column =
            |name: &str| lines[0].iter().position(|head| *head == name).unwrap_or_else(|| panic!("{name}: {csv}"));
        assert_eq!([1, 2].map(|row: usize| lines[row][column("floor_fd_own")]), ["2.0", ""]);
        assert_eq!([1, 2].map(|row: usize| lines[row][column("floor_fd_small")]), ["", "2.0"]);
    }

    #[test]
    fn rows_of_one_network_have_no_mark_in_the_table_for_people() {
        let (markdown, csv) = table(["0123abcd"; 2].map(by_own));
        assert!(!markdown.contains("network") && markdown.contains("real images (floor)"), "{markdown}");
        assert!(csv.contains(&"0123abcd".repeat(8)), "{csv}");
    }
}
