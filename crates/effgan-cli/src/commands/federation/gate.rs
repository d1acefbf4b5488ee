//! `effgan federation serve` and `forward`: the way between a site and the server.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, value_parser};
use effgan_gate::{
    Bundle, Destination, ForwardConfig, Forwarder, Gate, GateConfig, GateError, Limits, MAX_QUESTION, Say,
};

use crate::BUNDLE_SHA256;
use crate::commands::run::interrupt;
use crate::output::warn;
use crate::setup::{kit, server};
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::retention::lock_server;

/// At the server: the gate, the port that sites call; start.sh runs it
#[derive(Args)]
pub(crate) struct Serve {
    /// The server's folder
    #[arg(default_value = ".")]
    server: PathBuf,
    /// IP address of this machine to listen at [default: all of them]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
}

/// At a site: passes on to the server what the site's `SuperNode` says; start.sh runs it
#[derive(Args)]
pub(crate) struct Forward {
    /// The kit
    #[arg(default_value = ".")]
    kit: PathBuf,
    /// Port of 127.0.0.1 to listen at
    #[arg(long, default_value_t = 9095, value_parser = value_parser!(u16).range(1..))]
    port: u16,
}

impl Serve {
    pub(crate) fn run(self) -> Result<()> {
        let Self { server: folder, host: address } = self;
        let known = server::read(&folder)?;
        let Some(_lock) = lock_server(&folder)? else {
            let line = format!(
                "{} is in use: another effgan serves or prunes it; wait for its end, or stop it",
                folder.display()
            );
            return Err(Failure::usage(anyhow!(line)));
        };
        let (port, superlink_port) = (known.port, known.superlink_port);
        let config = GateConfig { folder, address, port, superlink_port, limits: Limits::default() };
        let stop = interrupt()?;
        let other = "stop what listens there, or set another port in server.toml and in the kits";
        let gate = Gate::bind(config, log()).map_err(|error| not_bound(error, other))?;
        gate.run(&stop).map_err(failure)
    }
}

impl Forward {
    pub(crate) fn run(self) -> Result<()> {
        let Self { kit, port } = self;
        let server = kit::read(&kit)?.server;
        let destination = Destination::of_kit(&kit, &server).map_err(failure)?;
        let bundle = Bundle::new(BUNDLE_SHA256).map_err(failure)?;
        let config = ForwardConfig { kit, port, destination, bundle, max_question: MAX_QUESTION };
        let stop = interrupt()?;
        let other = "stop what listens there, or start with another FORWARD_PORT, as where two sites share a machine";
        let forwarder = Forwarder::bind(config, log()).map_err(|error| not_bound(error, other))?;
        forwarder.run(&stop).map_err(failure)
    }
}

fn log() -> Say {
    Arc::new(|line: &str| warn(line))
}

/// With what to do where the port is taken.
fn not_bound(error: GateError, advice: &str) -> Failure {
    match error {
        GateError::Listen { .. } => Failure::usage(anyhow!("{error}; {advice}")),
        error => failure(error),
    }
}

fn failure(error: GateError) -> Failure {
    Failure::usage(error)
}
