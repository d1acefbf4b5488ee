//! `effgan partition`

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use effgan_data::control_chars::without_control;
use effgan_data::{Dataset, Partition as Split, heterogeneity};
use effgan_nn::checkpoint::write_file;
use effgan_run::config::Config;
use effgan_run::failure::{Failure, Result};
use effgan_run::record::pictures::{heat_map, save_png};
use effgan_run::record::run_dir::check_new_file;

use crate::output::say;

/// Show which client gets which images, without training
#[derive(Args)]
#[command(after_help = "Examples:
  effgan partition configs/quickstart.toml
  effgan partition configs/quickstart.toml --set partition.classes_per_client=3 --out heatmap.png --save split.json")]
pub(super) struct Partition {
    /// The config file
    config: PathBuf,
    /// Override a value of the config; repeatable
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Write a heat map (clients × classes) as PNG
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Write the partition to a file that `[partition] kind = "file"` reads
    #[arg(long, value_name = "FILE.json")]
    save: Option<PathBuf>,
}

impl Partition {
    pub(super) fn run(self) -> Result<()> {
        for file in self.out.iter().chain(&self.save) {
            check_new_file(file)?;
        }
        self.check_picture()?;
        let config = Config::load_for(&self.config, &self.settings, Config::check_partition)?;
        let named = |failure: Failure| failure.of_config(&self.config);
        let dataset = config.load_dataset().map_err(|error| named(error.into()))?;
        dataset.notes.iter().for_each(say);
        let split = config.deal(&dataset).map_err(named)?;
        let (counts, classes) = (split.class_counts(&dataset.train), class_names(&dataset));
        say(table(&split, &counts, &classes).trim_end());
        let skew = heterogeneity::label_skew(&counts);
        say(format!(
            "label skew {skew:.3}: the share of a client's images that would have to change class to match the overall mix"
        ));
        if let Some(out) = &self.out {
            let names: Vec<String> = split.clients.iter().map(|share| share.name.to_string()).collect();
            save_png(out, &heat_map(&counts, &names, &classes))?;
            say(out.display());
        }
        if let Some(file) = &self.save {
            let json = serde_json::to_vec_pretty(&split).expect("a partition is plain data");
            write_file(file, &json).with_context(|| format!("writing {}", file.display()))?;
            say(file.display());
        }
        Ok(())
    }

    /// Checks that the heat map will not be a PNG file of another name.
    fn check_picture(&self) -> Result<()> {
        let is_png = |out: &&PathBuf| out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
        match self.out.as_ref().filter(|out| !is_png(out)) {
            Some(out) => {
                Err(Failure::usage(anyhow!("--out {} must end in .png; the heat map is a PNG file", out.display())))
            }
            None => Ok(()),
        }
    }
}

/// The name of each class; its number where it has none.
fn class_names(dataset: &Dataset) -> Vec<String> {
    let name =
        |class: usize| dataset.class_names.get(class).map_or_else(|| class.to_string(), |name| without_control(name));
    (0..dataset.train.num_classes()).map(name).collect()
}

/// Maximum number of classes that get a column each; more would be wider than a terminal.
const MAX_COLUMNS: usize = 16;
/// Maximum number of letters above a column.
const MAX_LETTERS: usize = 6;

/// A row per client: its training images per class, each with a shade, their sum, and the number held out; and the names of the classes
/// where they are too long for a heading. With many classes, the shades alone.
fn table(split: &Split, counts: &[Vec<u64>], classes: &[String]) -> String {
    let largest = counts.iter().flatten().copied().max().unwrap_or(0);
    if classes.len() > MAX_COLUMNS {
        return strips(split, counts, largest);
    }
    let name_width = split.clients.iter().map(|share| share.name.as_str().len()).max().unwrap_or(0);
    let head: String = classes.iter().map(|class| format!("{:>7}", heading(class))).collect();
    let mut lines = format!("{:name_width$}{head}    train  held out\n", "client");
    for (share, row) in split.clients.iter().zip(counts) {
        let cells: String = row.iter().map(|&count| cell(count, largest)).collect();
        let (train, held_out) = (share.train.len(), share.held_out.len());
        lines += &format!("{:name_width$}{cells} {train:>8}  {held_out:>8}\n", share.name.as_str());
    }
    if classes.iter().any(|class| heading(class) != *class) {
        lines += &format!("classes: {}\n", classes.join(", "));
    }
    lines
}

/// The beginning of the name of a class, as long as fits above its column.
fn heading(class: &str) -> String {
    match class.char_indices().nth(MAX_LETTERS) {
        Some(_) => class.chars().take(MAX_LETTERS - 1).chain(['…']).collect(),
        None => class.to_owned(),
    }
}

/// A row per client: training images, held-out images, classes, and a shade per class.
fn strips(split: &Split, counts: &[Vec<u64>], largest: u64) -> String {
    let name_width = split.clients.iter().map(|share| share.name.as_str().len()).max().unwrap_or(0);
    let mut lines = format!("{:name_width$}    train  held out  classes  images of each class\n", "client");
    for (share, row) in split.clients.iter().zip(counts) {
        let (train, held_out) = (share.train.len(), share.held_out.len());
        let held = row.iter().filter(|&&count| count > 0).count();
        let strip: String = row.iter().map(|&count| shade(count, largest)).collect();
        lines += &format!("{:name_width$} {train:>8}  {held_out:>8}  {held:>7}  {strip}\n", share.name.as_str());
    }
    lines
}

/// A count in seven columns; a dot for 0.
fn cell(count: u64, largest: u64) -> String {
    if count == 0 { format!("{:>7}", "·") } else { format!(" {}{count:>5}", shade(count, largest)) }
}

/// The shade of `count` on a scale up to `largest`.
fn shade(count: u64, largest: u64) -> char {
    [' ', '░', '▒', '▓', '█'][(4 * count).div_ceil(largest.max(1)) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_of_a_class_is_cut_to_its_column() {
        assert_eq!(["flags", "people", "symbols"].map(heading), ["flags", "people", "symbo…"]);
    }

    #[test]
    fn shades_go_from_blank_to_full() {
        assert_eq!([0, 1, 50, 99, 100].map(|count| shade(count, 100)), [' ', '░', '▒', '█', '█']);
        assert_eq!(shade(0, 0), ' ');
    }
}
