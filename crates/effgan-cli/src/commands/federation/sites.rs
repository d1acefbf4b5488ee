//! `effgan federation add`, `admit`, `list` and `remove`: who may connect, at the server.

use std::path::PathBuf;

use clap::Args;
use effgan_data::ClientName;
use time::OffsetDateTime;

use crate::output::say;
use crate::setup::{self, Admitted, Listed};
use effgan_run::failure::Result;

/// At the server: make a kit for one more site, or another one for a site that lost its own
#[derive(Args)]
pub(crate) struct Add {
    /// Its name: 1 to 64 of a-z, 0-9 and `-`
    #[arg(value_parser = |name: &str| ClientName::new(name))]
    name: ClientName,
    /// The kit to make [default: kits/NAME beside the server's folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The server's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

/// At the server: let a site in, by the line that its join printed
#[derive(Args)]
pub(crate) struct Admit {
    /// The line, or a file with it
    key: String,
    /// The fingerprint that the site told you; another key than that is refused
    #[arg(long)]
    fingerprint: Option<String>,
    /// The server's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

/// At the server: who may connect, by which key, and who was seen when
#[derive(Args)]
pub(crate) struct List {
    /// The server's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The same, as the other commands take it
    #[arg(long, value_name = "DIR", conflicts_with = "folder")]
    server: Option<PathBuf>,
}

/// At the server: take a site's key away; it is refused at once, also while it is connected
#[derive(Args)]
pub(crate) struct Remove {
    /// The site
    #[arg(value_parser = |name: &str| ClientName::new(name))]
    name: ClientName,
    /// The server's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

impl Add {
    pub(crate) fn run(self) -> Result<()> {
        let Self { name, out, server } = self;
        let out = out.unwrap_or_else(|| setup::kit_of(&name, &server));
        let is_known = setup::add(&name, &server, &out)?;
        say(format!("{} goes to {name}; it holds no secret", out.display()));
        if is_known {
            eprintln!("{name} was on the list already: its key, if it has one, is admitted as before");
        } else {
            eprintln!("{name} takes part in runs whose config names it in federation.sites, or names no sites");
        }
        Ok(())
    }
}

impl Admit {
    pub(crate) fn run(self) -> Result<()> {
        let Admitted { name, fingerprint, is_new } =
            setup::admit(&self.key, &self.server, self.fingerprint.as_deref())?;
        let already = if is_new { "" } else { " already" };
        say(format!("{name} is admitted{already}, with the key\n  {fingerprint}"));
        if self.fingerprint.is_none() {
            eprintln!("if {name} reads you another one by telephone: effgan federation remove {name}");
        }
        Ok(())
    }
}

impl List {
    pub(crate) fn run(self) -> Result<()> {
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

/// Such as `2026-11-28 19:17 UTC`.
fn minute(time: OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}

impl Remove {
    pub(crate) fn run(self) -> Result<()> {
        setup::remove(&self.name, &self.server)?;
        say(format!("{} is removed: it is refused from now on. effgan federation admit lets it in again", self.name));
        Ok(())
    }
}
