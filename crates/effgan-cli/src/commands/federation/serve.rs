//! `effgan federation serve`

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use effgan_gate::{Gate, GateConfig, Limits};
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::retention::lock_server;

use super::{bind_failure, log};
use crate::commands::interrupt::stop_flag;
use crate::setup::ServerFolder;

/// At the server: run the gate, to which the sites connect; start.sh runs this
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation serve federation/server
  effgan federation serve federation/server --host 127.0.0.1")]
pub(crate) struct Serve {
    /// The server folder
    #[arg(default_value = ".")]
    server: PathBuf,
    /// IP address of this machine to listen on [default: all addresses]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
}

impl Serve {
    pub(super) fn run(self) -> Result<()> {
        let Self { server: folder, host: address } = self;
        let ServerFolder { port, superlink_port, .. } = ServerFolder::read(&folder)?;
        let Some(_lock) = lock_server(&folder)? else {
            let line = format!(
                "{} is in use: another effgan serves or prunes it; wait until it ends, or stop it",
                folder.display()
            );
            return Err(Failure::usage(anyhow!(line)));
        };
        let config = GateConfig { folder, address, port, superlink_port, limits: Limits::default() };
        let stop = stop_flag()?;
        let advice = "stop what listens there, or set another port in server.toml and in the kits";
        let gate = Gate::bind(config, log()).map_err(|error| bind_failure(error, advice))?;
        gate.run(&stop).map_err(Failure::usage)
    }
}
