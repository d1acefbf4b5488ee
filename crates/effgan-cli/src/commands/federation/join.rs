//! `effgan federation join`

use std::path::PathBuf;

use clap::Args;
use effgan_run::failure::Result;

use crate::output::{advise, say};
use crate::setup::{self, Joined};

/// At a site: make its key, and print the public key and the fingerprint for the server operator
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation join kits/north
  effgan federation join")]
pub(crate) struct Join {
    /// The kit that the server operator sent
    #[arg(default_value = ".")]
    kit: PathBuf,
}

impl Join {
    pub(super) fn run(self) -> Result<()> {
        let Joined { key, fingerprint } = setup::join(&self.kit)?;
        say(key);
        advise("send this line to the server operator, for effgan federation admit,");
        advise(&format!("and read them the whole fingerprint by telephone:\n  {fingerprint}"));
        Ok(())
    }
}
