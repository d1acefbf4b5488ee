//! `effgan federation init`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, value_parser};
use effgan_data::ClientName;
use effgan_run::failure::{Failure, Result};

use crate::output::{advise, say};
use crate::setup::{self, Host, Plan, SUPERLINK_PORT};

/// Make the server folder and a kit for each site
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation init --sites north,south,east --host fl.hospital.example --out federation
  effgan federation init --sites north,south --host 10.0.0.5 --port 9000 --wheel effgan-0.1.0-cp310-abi3-linux_x86_64.whl --out federation")]
pub(crate) struct Init {
    /// Names of the sites, separated by commas; 1 to 64 characters each, of a-z, 0-9 and `-`
    #[arg(long, value_delimiter = ',', required = true, value_name = "NAMES")]
    sites: Vec<String>,
    /// DNS name or IP address by which the sites reach the server
    #[arg(long)]
    host: Host,
    /// Port of the server, the only one that must be open
    #[arg(long, default_value_t = 8000, value_parser = value_parser!(u16).range(1..))]
    port: u16,
    /// Port of Flower's `SuperLink`, which only this machine reaches
    #[arg(long, default_value_t = SUPERLINK_PORT, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    superlink_port: u16,
    /// effgan's Python wheel, which is put into the kits with the SHA-256 of all its dependencies
    #[arg(long, value_name = "FILE")]
    wheel: Option<PathBuf>,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> Result<()> {
        let Self { sites, host, port, superlink_port, wheel, out } = self;
        let name = |site: &String| ClientName::new(site).map_err(|error| Failure::usage(anyhow!("--sites: {error}")));
        let sites = sites.iter().map(name).collect::<Result<Vec<_>>>()?;
        let plan = Plan { sites, host, port, superlink_port, wheel, out };
        setup::init(&plan)?;
        let folder = plan.out.display();
        say(format!("{folder}/server stays here; {folder}/server/start.sh starts it"));
        for site in &plan.sites {
            say(format!("send {folder}/kits/{site} to {site}; it holds no secret"));
        }
        if plan.host.is_loopback() {
            advise(&format!("{} is this machine itself: sites on other machines cannot call it", plan.host));
        }
        if plan.wheel.is_none() {
            advise("the kits hold no wheel (--wheel): send it to the sites, and tell them its SHA-256 by telephone");
        }
        Ok(())
    }
}
