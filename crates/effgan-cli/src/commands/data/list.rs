//! `effgan data list`

use clap::Args;
use effgan_data::DatasetName;
use effgan_data::download::{self, Item, Origin};
use effgan_run::failure::Result;

use super::megabytes;
use crate::output::say;

/// List the data sets and weights, and where each is
#[derive(Args)]
#[command(after_help = "Examples:
  effgan data list
  effgan data list > datasets.txt")]
pub(crate) struct List {}

impl List {
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "like every command")]
    pub(super) fn run(self) -> Result<()> {
        say(format!("{:<14}{:>7}{:>8}  {:<14}{:>7}  where", "data set", "train", "test", "image", "classes"));
        for name in DatasetName::ALL {
            let [train, test, image, classes] = match name {
                DatasetName::MnistMini => ["10,000", "2,000", "28 × 28 grey", "10"],
                DatasetName::Mnist | DatasetName::FashionMnist => ["60,000", "10,000", "28 × 28 grey", "10"],
                DatasetName::Cifar10 => ["50,000", "10,000", "32 × 32 colour", "10"],
                DatasetName::Folder | DatasetName::Npz | DatasetName::Idx => ["", "", "yours", ""],
            };
            say(format!("{name:<14}{train:>7}{test:>8}  {image:<14}{classes:>7}  {}", place(name.into())));
        }
        say("");
        let weights = download::inception_weights().map(|file| file.display().to_string());
        say(format!("weights of Inception-2015, for FID: {}", weights.unwrap_or_else(|| place(Item::Inception))));
        for name in DatasetName::ALL {
            let classes = name.classes();
            if classes.iter().enumerate().any(|(label, class)| *class != label.to_string()) {
                say(format!("classes of {name}: {}", classes.join(", ")));
            }
        }
        if let Ok(cache) = download::cache_dir() {
            say(format!("fetched files are in {} (set EFFGAN_DATA for another folder)", cache.display()));
        }
        Ok(())
    }
}

/// Where an item is, or how to get it.
fn place(name: Item) -> String {
    let source = match Origin::of(name) {
        Origin::Builtin => return "built in".into(),
        Origin::Yours(what) => return what.into(),
        Origin::Mirrors(source) => source,
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
