//! `effgan federation prune`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use effgan_fl::Policy;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::POLICY;
use effgan_run::protocol::retention::prune;
use effgan_run::units::counted;

use crate::output::say;

/// List old files that may be removed, and remove them with --really
///
/// The files are the state that a site keeps of old runs, the checkpoints of finished runs, and Flower's database at the server. Ledgers, keys,
/// records and models are never removed.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation prune kits/north
  effgan federation prune runs/first --older-than 30 --really")]
pub(crate) struct Prune {
    /// A site's kit, the server folder or a run folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Days since a file was last written [default: `keep_days` in the kit's policy.toml, or else 90]
    #[arg(long, value_name = "DAYS", value_parser = value_parser!(u64).range(..=36_500))]
    older_than: Option<u64>,
    /// Remove the files instead of listing them
    #[arg(long)]
    really: bool,
}

impl Prune {
    pub(super) fn run(self) -> Result<()> {
        let Self { folder, older_than, really } = self;
        let days = match older_than {
            Some(days) => days,
            None => Policy::read(&folder.join(POLICY)).map_err(Failure::usage)?.keep_days,
        };
        let gone = prune(&folder, Duration::from_hours(24 * days), really)?;
        for (path, bytes) in &gone {
            say(format!("{:>12} bytes  {}", bytes, path.display()));
        }
        let all: u64 = gone.iter().map(|(_, bytes)| bytes).sum();
        say(match (gone.is_empty(), really) {
            (true, _) => format!("nothing that may be removed is older than {}", counted(days, "day")),
            (false, true) => format!("{all} bytes removed"),
            (false, false) => format!("{all} bytes may be removed; --really removes them"),
        });
        Ok(())
    }
}
