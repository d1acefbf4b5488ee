//! `effgan federation prune`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use effgan_fl::Policy;

use crate::output::say;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::POLICY;
use effgan_run::protocol::retention::prune;
use effgan_run::units::counted;

/// What lies here longer than some days and may go: what a site remembers of runs, checkpoints of finished runs, Flower's state
///
/// It lists, and removes nothing without --really. Ledger, keys, records and models are never touched.
#[derive(Args)]
pub(crate) struct Prune {
    /// A site's kit, the server's folder or a run folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Days [default: `keep_days` of the kit's policy.toml; 90]
    #[arg(long, value_name = "DAYS", value_parser = value_parser!(u64).range(..=36_500))]
    older_than: Option<u64>,
    /// Remove it
    #[arg(long)]
    really: bool,
}

impl Prune {
    pub(crate) fn run(self) -> Result<()> {
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
            (true, _) => format!("nothing that may go is older than {}", counted(days, "day")),
            (false, true) => format!("{all} bytes are removed"),
            (false, false) => format!("{all} bytes may go; --really removes them"),
        });
        Ok(())
    }
}
