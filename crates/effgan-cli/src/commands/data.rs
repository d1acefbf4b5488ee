//! `effgan data`

mod check;

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use effgan_data::download::{self, Item, Outcome, Source};
use effgan_data::{DataError, DatasetName};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::say;
use effgan_run::failure::Result;

/// Data sets: what there is, what is wrong with files, fetching
#[derive(Subcommand)]
pub(super) enum Data {
    /// List the data sets and weights, and where each is
    List,
    Fetch(Fetch),
    Check(check::Check),
}

/// Fetch the files of a data set or the weights of FID's network, hold them against their SHA-256, and put them where they are found
///
/// What is there is not overwritten, and a download that broke off is continued.
#[derive(Args)]
pub(super) struct Fetch {
    /// mnist, fashion-mnist, cifar10 or inception
    name: Item,
    /// The folder for the files [default: a folder of its name in `$EFFGAN_DATA`, else in `~/.cache/effgan`]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Address of a folder with the files, instead of the known ones; may be repeated, tried in turn
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
}

impl Data {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::List => list(),
            Self::Fetch(fetch) => fetch.run()?,
            Self::Check(check) => check.run()?,
        }
        Ok(())
    }
}

fn list() {
    say(format!("{:<14}{:>7}{:>8}  {:<14}{:>7}  where", "data set", "train", "test", "image", "classes"));
    for name in DatasetName::ALL {
        let [train, test, image, classes] = match name {
            DatasetName::MnistMini => ["10,000", "2,000", "28 × 28 grey", "10"],
            DatasetName::Mnist | DatasetName::FashionMnist => ["60,000", "10,000", "28 × 28 grey", "10"],
            DatasetName::Cifar10 => ["50,000", "10,000", "32 × 32 colour", "10"],
            DatasetName::Folder | DatasetName::Npz => ["", "", "yours", ""],
        };
        say(format!("{name:<14}{train:>7}{test:>8}  {image:<14}{classes:>7}  {}", place(name.into())));
    }
    say("");
    let weights = download::inception_weights().map(|file| file.display().to_string());
    say(format!("weights of Inception-2015, for FID: {}", weights.unwrap_or_else(|| place(Item::Inception))));
    for name in [DatasetName::FashionMnist, DatasetName::Cifar10] {
        say(format!("classes of {name}: {}", name.classes().join(", ")));
    }
    if let Ok(cache) = download::cache_dir() {
        say(format!("fetched files lie in {} (EFFGAN_DATA names another folder)", cache.display()));
    }
}

/// Where an item is, or how it gets here.
fn place(name: Item) -> String {
    let Some(source) = Source::of(name) else {
        return match name {
            Item::Dataset(DatasetName::MnistMini) => "in the program".into(),
            Item::Dataset(DatasetName::Npz) => "an .npz or .npy file, given by dataset.dir".into(),
            _ => "PNG and JPEG files in dataset.dir, one folder for each class".into(),
        };
    };
    let here = download::cache_dir().ok().map(|cache| cache.join(name.as_str()));
    match here.filter(|dir| download::is_fetched(name, dir)) {
        Some(dir) => dir.display().to_string(),
        None => {
            format!("`effgan data fetch {name}`: {} from {}", megabytes(source.num_bytes()), host(source.mirrors[0]))
        }
    }
}

fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap_or(url)
}

fn megabytes(bytes: u64) -> String {
    if bytes < 100_000 { format!("{:.1} kB", bytes as f64 / 1e3) } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}

impl Fetch {
    fn run(self) -> Result<()> {
        let Self { name, to, mirrors } = self;
        let source = Source::of(name).ok_or(DataError::NotFetched { name: name.as_str() })?;
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
                Outcome::AlreadyHere => "is here already".into(),
                Outcome::From(mirror) => format!("from {mirror}"),
            };
            let size = source.files.iter().find(|known| known.name == file).map(|known| megabytes(known.len));
            bar.suspend(|| say(format!("{file:<26} {:>9}  {how}", size.unwrap_or_default())));
        };
        let outcome = download::fetch(name, &dir, &mirrors, &mut watch, &mut done);
        bar.finish_and_clear();
        outcome?;
        let use_by = match (name, &to) {
            (Item::Inception, Some(_)) => "effgan evaluate --features inception takes it by --weights".into(),
            (Item::Inception, None) => "effgan evaluate --features inception finds it there".into(),
            (Item::Dataset(_), Some(_)) => {
                format!("a config needs name = \"{name}\" and dataset.dir = {:?}", dir.display().to_string())
            }
            (Item::Dataset(_), None) => format!("a config needs name = \"{name}\" and no dataset.dir"),
        };
        say(format!("{name} is in {}; {use_by}", dir.display()));
        Ok(())
    }
}

/// A bar with time left where somebody watches.
fn bar() -> ProgressBar {
    let bar = if stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let template = "{bar:30} {decimal_bytes:>9} of {decimal_total_bytes}  {msg}  {decimal_bytes_per_sec}, {eta} left";
    bar.with_style(ProgressStyle::with_template(template).expect("the template is fixed").progress_chars("━╸─"))
}
