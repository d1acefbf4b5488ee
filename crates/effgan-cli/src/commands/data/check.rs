//! `effgan data check`

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use effgan_data::control_chars;
use effgan_data::datasets::{Contents, ContentsKind, LeftOut, Reading, Report};

use effgan_run::failure::{Failure, Result};

use crate::output::{advise, say};
use crate::terminal::ReadingBar;

/// Check a folder of images, an .npz or .npy file, or a data set's files, and describe it
#[derive(Args)]
#[command(after_help = "Examples:
  effgan data check images
  effgan data check scans.npz")]
pub(crate) struct Check {
    /// The folder or file
    path: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> Result<()> {
        let bar = ReadingBar::default();
        let report = |report: Report<'_>| bar.report(report, advise);
        let contents = Contents::read(&self.path, &Reading::reported_to(&report))?;
        say(describe(&self.path, &contents).trim_end());
        let (num_broken, num_images) = (contents.broken.len(), contents.num_images());
        if num_broken > 0 {
            let line = format!(
                "{num_broken} of {} images of {} cannot be read; repair or remove them, or set dataset.skip_broken = true \
                 to skip them",
                num_broken + num_images,
                self.path.display()
            );
            return Err(Failure::data(anyhow!(line)));
        }
        Ok(())
    }
}

/// Maximum number of sizes that are listed; of more, only the range is shown.
const MAX_SIZES: usize = 4;
/// Columns of the longest bar.
const BAR_COLUMNS: usize = 30;
/// Maximum number of characters of a class's name that are shown.
const NAME_COLUMNS: usize = 28;

/// Describes what is at `path`; the last lines are the `[dataset]` table that reads it.
fn describe(path: &Path, contents: &Contents) -> String {
    let kind = match contents.kind {
        ContentsKind::MnistOrFashion => "the files of mnist or fashion-mnist",
        ContentsKind::Mnist => "the files of mnist",
        ContentsKind::FashionMnist => "the files of fashion-mnist",
        ContentsKind::Idx => "a data set in IDX files",
        ContentsKind::Cifar10 => "the files of cifar10",
        ContentsKind::Folder => "a folder of pictures",
        ContentsKind::Npz => "arrays of images",
    };
    let [train, test] = [0, 1].map(|split| contents.classes.iter().map(|(_, counts)| counts[split]).sum::<usize>());
    let how = if contents.every_tenth { ", every tenth of each class" } else { "" };
    let mut lines = vec![
        format!("{}: {kind}", path.display()),
        String::new(),
        format!(
            "images   {}: {} to train and {} to test{how}",
            thousands(train + test),
            thousands(train),
            thousands(test)
        ),
        format!("pixels   {}", sizes(contents)),
        format!("modes    {}", modes(contents)),
    ];
    lines.extend(contents.notes.iter().map(|note| format!("note     {note}")));
    lines.push(String::new());
    lines.extend(histogram(&contents.classes));
    if !contents.broken.is_empty() {
        lines.extend([String::new(), "cannot be read:".into()]);
        let width = contents.broken.iter().map(|file| file.file.as_os_str().len()).max().unwrap_or(0);
        // A file's name may hold anything.
        let name = |file: &LeftOut| control_chars::without_control(&file.file.display().to_string());
        lines.extend(contents.broken.iter().map(|file| format!("  {:<width$}  {}", name(file), file.reason)));
    }
    lines.push(String::new());
    lines.extend(table(path, contents));
    lines.join("\n")
}

/// The one size, a list of a few, or the range of many.
fn sizes(contents: &Contents) -> String {
    let sizes = &contents.sizes;
    let named = |([w, h], count): &([usize; 2], usize)| format!("{} of {w} × {h}", thousands(*count));
    match &sizes[..] {
        [([w, h], _)] => format!("{w} × {h}"),
        few if few.len() <= MAX_SIZES => few.iter().map(named).collect::<Vec<_>>().join(", "),
        many => {
            let between = |side: usize| {
                let sides = || many.iter().map(|(size, _)| size[side]);
                format!("{} to {}", sides().min().unwrap_or(0), sides().max().unwrap_or(0))
            };
            format!("{} wide, {} high, in {} sizes", between(0), between(1), many.len())
        }
    }
}

fn modes(contents: &Contents) -> String {
    match &contents.modes[..] {
        [(mode, _)] => mode.to_string(),
        modes => {
            modes.iter().map(|(mode, count)| format!("{} {mode}", thousands(*count))).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A row per class: label, name, images, and a bar in proportion to them.
fn histogram(classes: &[(String, [usize; 2])]) -> Vec<String> {
    let short = |name: &str| name.chars().take(NAME_COLUMNS).collect::<String>();
    let width = classes.iter().map(|(name, _)| short(name).chars().count()).max().unwrap_or(0).max(5);
    let largest = classes.iter().map(|(_, [train, test])| train + test).max().unwrap_or(0);
    let head = format!("label  {:<width$}  {:>9}  {:>7}", "class", "train", "test");
    let row = |(label, (name, [train, test])): (usize, &(String, [usize; 2]))| {
        let bar = bar_of(train + test, largest);
        format!("{label:>5}  {:<width$}  {:>9}  {:>7}  {bar}", short(name), thousands(*train), thousands(*test))
    };
    [head].into_iter().chain(classes.iter().enumerate().map(row)).collect()
}

/// A bar in eighths of a column; at least one eighth unless `count` is 0.
fn bar_of(count: usize, largest: usize) -> String {
    let eighths = (8 * BAR_COLUMNS * count).div_ceil(largest.max(1));
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + rest
}

/// The `[dataset]` table that reads what is there.
fn table(path: &Path, contents: &Contents) -> Vec<String> {
    let name = match contents.kind {
        ContentsKind::MnistOrFashion => "name = \"mnist\"             # or \"fashion-mnist\"",
        ContentsKind::Mnist => "name = \"mnist\"",
        ContentsKind::FashionMnist => "name = \"fashion-mnist\"",
        ContentsKind::Idx => "name = \"idx\"",
        ContentsKind::Cifar10 => "name = \"cifar10\"",
        ContentsKind::Folder => "name = \"folder\"",
        ContentsKind::Npz => "name = \"npz\"",
    };
    let mut lines = vec!["[dataset]".to_owned(), name.into(), format!("dir = {:?}", path.display().to_string())];
    if contents.sizes.len() > 1 {
        lines.push(format!("size = {:<20}# sizes differ: choose the pixels per side", suggested_size(contents)));
    }
    let colours = |colour| contents.modes.iter().any(|(mode, _)| mode.colour == colour);
    if colours(true) && colours(false) {
        lines.push("channels = 3               # some are grey and some have colours: choose 1 or 3".into());
    }
    if !contents.broken.is_empty() {
        lines.push(format!("skip_broken = true         # {} cannot be read", contents.broken.len()));
    }
    if let Some([black, white]) = contents.levels {
        if black > 0 {
            lines.push(format!("black = {black:<19}# the least value of the 16-bit images"));
        }
        lines
            .push(format!("white = {white:<19}# the largest value of the 16-bit images, which would be dark or alike"));
    }
    lines
}

/// The largest image size of a network that at least half of the images reach.
fn suggested_size(contents: &Contents) -> usize {
    let mut sides: Vec<(usize, usize)> = contents.sizes.iter().map(|([w, h], count)| (*w.min(h), *count)).collect();
    sides.sort_unstable();
    let (mut seen, half) = (0, contents.num_images() / 2);
    let median = sides.iter().find(|(_, count)| {
        seen += count;
        seen > half
    });
    let median = median.map_or(0, |(side, _)| *side);
    [64, 32].into_iter().find(|&size| size <= median).unwrap_or(28)
}

/// A number with commas between groups of three digits.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let comma = |i: usize| if i > 0 && (digits.len() - i).is_multiple_of(3) { "," } else { "" };
    digits.char_indices().map(|(i, digit)| format!("{}{digit}", comma(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_groups_of_three_digits() {
        assert_eq!([0, 999, 1000, 60_000, 1_234_567].map(thousands), ["0", "999", "1,000", "60,000", "1,234,567"]);
    }

    #[test]
    fn bars_are_in_proportion_to_the_images() {
        assert_eq!(bar_of(100, 100), "█".repeat(30));
        assert_eq!(bar_of(50, 100), "█".repeat(15));
        assert_eq!([bar_of(1, 10_000), bar_of(0, 10), bar_of(0, 0)], ["▏", "", ""]);
    }

    #[test]
    fn the_largest_size_that_half_of_the_images_reach_is_suggested() {
        let of = |sizes: &[([usize; 2], usize)]| {
            let mode = effgan_data::datasets::Mode { colour: false, alpha: false, deep: false };
            suggested_size(&Contents {
                kind: ContentsKind::Folder,
                classes: Vec::new(),
                every_tenth: true,
                sizes: sizes.to_vec(),
                modes: vec![(mode, sizes.iter().map(|(_, count)| count).sum())],
                broken: Vec::new(),
                levels: None,
                notes: Vec::new(),
            })
        };
        assert_eq!(of(&[([640, 480], 9), ([20, 20], 8)]), 64);
        assert_eq!(of(&[([640, 40], 9), ([20, 20], 8)]), 32);
        assert_eq!(of(&[([640, 480], 8), ([20, 20], 9)]), 28);
    }
}
