//! `effgan federation list`

use std::path::PathBuf;

use clap::Args;
use effgan_run::failure::Result;
use time::OffsetDateTime;

use crate::output::say;
use crate::setup::{self, Listed};

/// At the server: list the sites, their keys, and when each was last seen
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation list federation/server
  effgan federation list --server federation/server")]
pub(crate) struct List {
    /// The server folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The server folder, given as an option as in the other commands
    #[arg(long, value_name = "DIR", conflicts_with = "folder")]
    server: Option<PathBuf>,
}

impl List {
    pub(super) fn run(self) -> Result<()> {
        for Listed { name, fingerprint, admitted, seen } in setup::list(&self.server.unwrap_or(self.folder))? {
            let Some((fingerprint, admitted)) = fingerprint.zip(admitted) else {
                say(format!("{name}: not admitted"));
                continue;
            };
            let seen = seen.map_or_else(|| "never seen".into(), |seen| format!("last seen {}", minute(seen)));
            say(format!("{name}: admitted {}, {seen}\n  {fingerprint}", minute(admitted)));
        }
        Ok(())
    }
}

/// A time such as `2026-11-28 19:17 UTC`.
fn minute(time: OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}
