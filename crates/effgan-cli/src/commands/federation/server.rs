//! `effgan federation init`, `renew` and `run`: the server's folder.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, value_parser};
use effgan_data::ClientName;

use crate::commands::run::interrupt;
use crate::output::say;
use crate::setup::{self, Host, Launch, Plan, SUPERLINK_PORT};
use effgan_run::failure::{Failure, Result};

/// Make the server's folder and a kit for each site
#[derive(Args)]
pub(crate) struct Init {
    /// Names of the sites: 1 to 64 of a-z, 0-9 and `-` each
    #[arg(long, value_delimiter = ',', required = true, value_name = "NAMES")]
    sites: Vec<String>,
    /// DNS name or IP address by which the sites reach the server
    #[arg(long)]
    host: Host,
    /// Port of the server; the only one that must be open
    #[arg(long, default_value_t = 8000, value_parser = value_parser!(u16).range(1..))]
    port: u16,
    /// Port of Flower's `SuperLink`, which only this machine reaches
    #[arg(long, default_value_t = SUPERLINK_PORT, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    superlink_port: u16,
    /// effgan's wheel, which the kits bring then, with the SHA-256 of all that it needs
    #[arg(long, value_name = "FILE")]
    wheel: Option<PathBuf>,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// At the server: make its certificate good for two more years; kits stay as they are
#[derive(Args)]
pub(crate) struct Renew {
    /// The server's folder
    #[arg(default_value = ".")]
    server: PathBuf,
}

/// At the server: run a config over the federation, or go on with the run that is there
#[derive(Args)]
pub(crate) struct Run {
    /// The config
    config: PathBuf,
    /// The run folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The server's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

impl Init {
    pub(crate) fn run(self) -> Result<()> {
        let Self { sites, host, port, superlink_port, wheel, out } = self;
        let name = |site: &String| ClientName::new(site).map_err(|error| Failure::usage(anyhow!("--sites: {error}")));
        let sites = sites.iter().map(name).collect::<Result<Vec<_>>>()?;
        let plan = Plan { sites, host, port, superlink_port, wheel, out };
        setup::init(&plan)?;
        let folder = plan.out.display();
        say(format!("{folder}/server stays here: {folder}/server/start.sh starts it"));
        for site in &plan.sites {
            say(format!("{folder}/kits/{site} goes to {site}; it holds no secret"));
        }
        if plan.host.is_loopback() {
            eprintln!("{} is this machine itself: sites on other machines cannot call it", plan.host);
        }
        if plan.wheel.is_none() {
            eprintln!(
                "the kits bring no wheel (--wheel): send it to the sites, and tell them its SHA-256 by telephone"
            );
        }
        Ok(())
    }
}

impl Renew {
    pub(crate) fn run(self) -> Result<()> {
        setup::renew(&self.server)?;
        say(format!("{0}/server.crt is renewed; start {0}/start.sh again", self.server.display()));
        Ok(())
    }
}

impl Run {
    pub(crate) fn run(self) -> Result<()> {
        let Self { config, out, server } = self;
        let stop = interrupt()?;
        setup::launch(&Launch { config, out, server }, &stop)
    }
}
