//! `effgan federation remove`

use std::path::PathBuf;

use clap::Args;
use effgan_data::ClientName;
use effgan_run::failure::Result;

use crate::output::say;
use crate::setup;

/// At the server: remove a site's key; the site is refused at once, even while it is connected
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation remove north --server federation/server
  effgan federation remove north")]
pub(crate) struct Remove {
    /// The site
    #[arg(value_parser = |name: &str| ClientName::new(name))]
    name: ClientName,
    /// The server folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

impl Remove {
    pub(super) fn run(self) -> Result<()> {
        setup::remove(&self.name, &self.server)?;
        say(format!("{} is removed and refused from now on; effgan federation admit admits it again", self.name));
        Ok(())
    }
}
