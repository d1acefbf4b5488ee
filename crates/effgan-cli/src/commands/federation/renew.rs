//! `effgan federation renew`

use std::path::PathBuf;

use clap::Args;
use effgan_run::failure::Result;

use crate::output::say;
use crate::setup;

/// At the server: renew its certificate for two more years; kits stay valid
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation renew federation/server
  effgan federation renew")]
pub(crate) struct Renew {
    /// The server folder
    #[arg(default_value = ".")]
    server: PathBuf,
}

impl Renew {
    pub(super) fn run(self) -> Result<()> {
        setup::renew(&self.server)?;
        say(format!("{0}/server.crt is renewed; restart {0}/start.sh", self.server.display()));
        Ok(())
    }
}
