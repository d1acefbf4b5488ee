//! `effgan partition`

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use effgan_data::{Partition as Deal, heterogeneity};
use effgan_nn::checkpoint::write_file;

use crate::output::say;
use effgan_run::config::Config;
use effgan_run::failure::Result;
use effgan_run::record::pictures::{heat_map, save_png};
use effgan_run::record::run_dir::check_new_file;

/// Show who gets which images, without training
#[derive(Args)]
pub(super) struct Partition {
    /// The experiment
    config: PathBuf,
    /// Replace a value of the config; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Draw the heat map (clients × classes) as a PNG
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Save the partition, which `kind = "file"` reads again
    #[arg(long, value_name = "FILE.json")]
    save: Option<PathBuf>,
}

impl Partition {
    pub(super) fn run(self) -> Result<()> {
        for file in self.out.iter().chain(&self.save) {
            check_new_file(file)?;
        }
        let config = Config::load(&self.config, &self.settings)?;
        let dataset = config.load_dataset()?;
        if let Some(line) = dataset.left_out_line() {
            say(line);
        }
        let deal = config.deal(&dataset)?;
        let counts = deal.class_counts(&dataset.train);
        say(table(&deal, &counts).trim_end());
        let skew = heterogeneity::label_skew(&counts);
        say(format!(
            "label skew {skew:.3}: share of a client's images that would have to change class for it to look like everyone's"
        ));
        if let Some(out) = &self.out {
            let names: Vec<String> = deal.clients.iter().map(|share| share.name.to_string()).collect();
            save_png(out, &heat_map(&counts, &names, dataset.train.num_classes()))?;
            say(out.display());
        }
        if let Some(file) = &self.save {
            let json = serde_json::to_vec_pretty(&deal).expect("a partition is plain data");
            write_file(file, &json).with_context(|| format!("writing {}", file.display()))?;
            say(file.display());
        }
        Ok(())
    }
}

/// Classes that have a column each, as far as a terminal is wide.
const COLUMNS: usize = 16;

/// A row a client: training images by class, each with a shade of how many, their sum, and how many are held out. Many classes
/// are shades alone.
fn table(deal: &Deal, counts: &[Vec<u64>]) -> String {
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    let classes = counts.first().map_or(0, Vec::len);
    if classes > COLUMNS {
        return strips(deal, counts, most);
    }
    let name_width = deal.clients.iter().map(|share| share.name.as_str().len()).max().unwrap_or(0);
    let head: String = (0..classes).map(|class| format!("{class:>7}")).collect();
    let mut lines = format!("{:name_width$}{head}    train  held out\n", "client");
    for (share, row) in deal.clients.iter().zip(counts) {
        let cells: String = row.iter().map(|&count| cell(count, most)).collect();
        let (train, held_out) = (share.train.len(), share.held_out.len());
        lines += &format!("{:name_width$}{cells} {train:>8}  {held_out:>8}\n", share.name.as_str());
    }
    lines
}

/// A row a client: how many train, are held out and classes there are, and a shade for each class.
fn strips(deal: &Deal, counts: &[Vec<u64>], most: u64) -> String {
    let name_width = deal.clients.iter().map(|share| share.name.as_str().len()).max().unwrap_or(0);
    let mut lines = format!("{:name_width$}    train  held out  classes  images of each class\n", "client");
    for (share, row) in deal.clients.iter().zip(counts) {
        let (train, held_out) = (share.train.len(), share.held_out.len());
        let held = row.iter().filter(|&&count| count > 0).count();
        let strip: String = row.iter().map(|&count| shade(count, most)).collect();
        lines += &format!("{:name_width$} {train:>8}  {held_out:>8}  {held:>7}  {strip}\n", share.name.as_str());
    }
    lines
}

/// Seven columns; nothing where there is nothing.
fn cell(count: u64, most: u64) -> String {
    if count == 0 { format!("{:>7}", "·") } else { format!(" {}{count:>5}", shade(count, most)) }
}

fn shade(count: u64, most: u64) -> char {
    [' ', '░', '▒', '▓', '█'][(4 * count).div_ceil(most.max(1)) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_go_from_none_to_most() {
        assert_eq!([0, 1, 50, 99, 100].map(|count| shade(count, 100)), [' ', '░', '▒', '█', '█']);
        assert_eq!(shade(0, 0), ' ');
    }
}
