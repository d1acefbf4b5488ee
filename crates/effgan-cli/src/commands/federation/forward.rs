//! `effgan federation forward`

use std::path::PathBuf;

use clap::{Args, value_parser};
use effgan_gate::{Bundle, Destination, Forwarder, ForwarderConfig, MAX_MESSAGE};
use effgan_run::failure::{Failure, Result};

use super::{bind_failure, log};
use crate::BUNDLE_SHA256;
use crate::commands::interrupt::stop_flag;
use crate::setup::SiteKit;

/// At a site: forward the requests of the site's `SuperNode` to the server; start.sh runs this
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation forward kits/north
  effgan federation forward kits/north --port 9195")]
pub(crate) struct Forward {
    /// The site's kit
    #[arg(default_value = ".")]
    kit: PathBuf,
    /// Port of 127.0.0.1 to listen on
    #[arg(long, default_value_t = 9095, value_parser = value_parser!(u16).range(1..))]
    port: u16,
}

impl Forward {
    pub(super) fn run(self) -> Result<()> {
        let Self { kit, port } = self;
        let server = SiteKit::read(&kit)?.server;
        let destination = Destination::of_kit(&kit, &server).map_err(Failure::usage)?;
        let bundle = Bundle::new(BUNDLE_SHA256).map_err(Failure::usage)?;
        let config = ForwarderConfig { kit, port, destination, bundle, max_message: MAX_MESSAGE };
        let stop = stop_flag()?;
        let advice = "stop what listens there, or start with another FORWARD_PORT, as when two sites share a machine";
        let forwarder = Forwarder::bind(config, log()).map_err(|error| bind_failure(error, advice))?;
        forwarder.run(&stop).map_err(Failure::usage)
    }
}
