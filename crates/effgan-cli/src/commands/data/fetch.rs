//! `effgan data fetch`

use std::path::PathBuf;

use clap::Args;
use effgan_data::download::{self, Item, Outcome, Source};
use effgan_run::failure::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::megabytes;
use crate::output::{can_draw, say};

/// Download a data set or the weights of FID's network, and verify their SHA-256
///
/// Existing files are not overwritten, and an interrupted download is continued.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan data fetch fashion-mnist
  effgan data fetch inception --to weights")]
pub(crate) struct Fetch {
    /// mnist, fashion-mnist, cifar10 or inception
    name: Item,
    /// The folder for the files [default: NAME in `$EFFGAN_DATA`, or else in `~/.cache/effgan`]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// URL of a folder that holds the files, used instead of the built-in URLs; repeatable, tried in turn
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
}

impl Fetch {
    pub(super) fn run(self) -> Result<()> {
        let Self { name, to, mirrors } = self;
        let source = Source::find(name)?;
        let dir = match &to {
            Some(dir) => dir.clone(),
            None => download::cache_dir()?.join(name.as_str()),
        };
        let bar = bar();
        let mut watch = |progress: download::Progress| {
            bar.set_length(progress.len);
            bar.set_position(progress.have);
            bar.set_message(progress.file.to_owned());
        };
        let mut done = |file: &str, outcome: &Outcome| {
            let how = match outcome {
                Outcome::AlreadyHere => "already here".into(),
                Outcome::From(mirror) => format!("from {mirror}"),
            };
            let size = source.files.iter().find(|known| known.name == file).map(|known| megabytes(known.len));
            bar.suspend(|| say(format!("{file:<26} {:>9}  {how}", size.unwrap_or_default())));
        };
        let outcome = download::fetch(name, &dir, &mirrors, &mut watch, &mut done);
        bar.finish_and_clear();
        outcome?;
        let usage = match (name, &to) {
            (Item::Inception, Some(_)) => "pass it to effgan evaluate --features inception with --weights".into(),
            (Item::Inception, None) => "effgan evaluate --features inception finds it there".into(),
            (Item::Dataset(_), Some(_)) => {
                format!("a config needs name = \"{name}\" and dataset.dir = {:?}", dir.display().to_string())
            }
            (Item::Dataset(_), None) => format!("a config needs name = \"{name}\" and no dataset.dir"),
        };
        say(format!("{name} is in {}; {usage}", dir.display()));
        Ok(())
    }
}

/// A progress bar with the time left, hidden unless standard error is a terminal.
fn bar() -> ProgressBar {
    let bar = if can_draw() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let template = "{bar:30} {decimal_bytes:>9} of {decimal_total_bytes}  {msg}  {decimal_bytes_per_sec}, {eta} left";
    bar.with_style(ProgressStyle::with_template(template).expect("the template is fixed").progress_chars("━╸─"))
}
