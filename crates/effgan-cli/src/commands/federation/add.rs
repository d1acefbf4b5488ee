//! `effgan federation add`

use std::path::PathBuf;

use clap::Args;
use effgan_data::ClientName;
use effgan_run::failure::Result;

use crate::output::{advise, say};
use crate::setup;

/// At the server: make a kit for a new site, or a new kit for a site that lost its own
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation add west --server federation/server
  effgan federation add north --server federation/server --out north-again")]
pub(crate) struct Add {
    /// The site's name: 1 to 64 characters of a-z, 0-9 and `-`
    #[arg(value_parser = |name: &str| ClientName::new(name))]
    name: ClientName,
    /// The kit to make [default: kits/NAME beside the server folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The server folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

impl Add {
    pub(super) fn run(self) -> Result<()> {
        let Self { name, out, server } = self;
        let out = out.unwrap_or_else(|| setup::default_kit(&name, &server));
        let is_known = setup::add(&name, &server, &out)?;
        say(format!("send {} to {name}; it holds no secret", out.display()));
        advise(&if is_known {
            format!("{name} was on the list already: its key, if it has one, stays admitted")
        } else {
            format!("{name} takes part in runs whose federation.sites names it, or names no site")
        });
        Ok(())
    }
}
