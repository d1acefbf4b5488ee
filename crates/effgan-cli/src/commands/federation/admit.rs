//! `effgan federation admit`

use std::path::PathBuf;

use clap::Args;
use effgan_run::failure::Result;

use crate::output::{advise, say};
use crate::setup::{self, Admitted};

/// At the server: admit a site by the public key that `effgan federation join` printed at the site
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation admit 'ecdsa-sha2-nistp384 AAAA… north' --server federation/server
  effgan federation admit north.pub --server federation/server")]
pub(crate) struct Admit {
    /// The line that `effgan federation join` printed, or a file that holds it
    key: String,
    /// The fingerprint that the site read to you; a key with another fingerprint is refused
    #[arg(long)]
    fingerprint: Option<String>,
    /// The server folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

impl Admit {
    pub(super) fn run(self) -> Result<()> {
        let Admitted { name, fingerprint, is_new } =
            setup::admit(&self.key, &self.server, self.fingerprint.as_deref())?;
        let already = if is_new { "" } else { " already" };
        say(format!("{name} is admitted{already}, with the key\n  {fingerprint}"));
        if self.fingerprint.is_none() {
            advise(&format!("if {name} reads you another one by telephone: effgan federation remove {name}"));
        }
        Ok(())
    }
}
