//! The table of a sweep in Markdown: a row for each setting of the keys, with mean and range over the seeds.

use effgan_fl::ensemble::NormStatistics;

use super::cell::short;
use super::rows::Row;
use super::spread::Spread;
use super::table::Table;
use crate::record::events::Scored;
use crate::scores::Evaluation;
use crate::units::three_digits;

/// Heading, decimals and value of a column.
type Column = (&'static str, usize, fn(&Evaluation) -> Option<f64>);

/// Columns of the scores of `effgan evaluate`.
const EVALUATED: [Column; 6] = [
    ("precision", 2, |e| Some(e.scores.precision)),
    ("recall", 2, |e| Some(e.scores.recall)),
    ("density", 2, |e| Some(e.scores.density)),
    ("coverage", 2, |e| Some(e.scores.coverage)),
    ("accuracy of a classifier trained on samples", 3, |e| {
        e.train_on_synthetic.as_ref().map(|trained| trained.accuracy)
    }),
    ("memorisation AUC", 2, |e| e.memorisation.first().map(|found| found.memorisation.auc)),
];

impl Table<'_> {
    /// The table as Markdown.
    pub(super) fn markdown(&self) -> String {
        let keys: Vec<&String> = self.sweep.keys.iter().filter(|key| self.has_several(key)).collect();
        let further: &[Column] = if self.sweep.evaluate.is_some() { &EVALUATED } else { &[] };
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

    /// A sentence with the numbers of images behind the scores.
    fn numbers(&self) -> String {
        let Some(row) = self.rows.iter().find(|row| row.is_main) else { return String::new() };
        let further = row
            .evaluation
            .as_ref()
            .map(|evaluation| format!("; precision and the columns after it of {}", evaluation.scores.n));
        format!("\nfd_small, class KL and modes of {} images{}.\n", row.score.scores.n, further.unwrap_or_default())
    }

    fn markdown_row(&self, group: &[&Row], keys: &[&String], further: &[Column]) -> Vec<String> {
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
            let key = format!("{} {:?} {values:?}", cell.label, row.norm_statistics);
            match groups.iter_mut().find(|(other, _)| *other == key) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((key, vec![row])),
            }
        }
        groups.into_iter().map(|(_, rows)| rows).collect()
    }

    /// Whether the row scores the same generator as the main score of its cell.
    fn is_of_main_generator(&self, row: &Row) -> bool {
        self.rows.iter().any(|main| main.cell == row.cell && main.is_main && main.of == row.of)
    }
}

/// A line of the table.
fn line(columns: &[String]) -> String {
    format!("| {} |\n", columns.join(" | "))
}
