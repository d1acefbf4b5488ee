//! The server's folder as the other commands see it: `server.toml`, and the lock on the list of sites.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use effgan_data::ClientName;
use effgan_run::failure::{Failure, Result};
use serde::{Deserialize, Serialize};

use super::host::Host;
use super::site_kit::SiteKit;
use super::wheel::Wheel;

/// File in the server's folder.
pub(super) const SERVER: &str = "server.toml";

/// Default port of the `SuperLink`.
pub(crate) const SUPERLINK_PORT: u16 = 9091;

/// `server.toml`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerFolder {
    /// Name or address by which sites reach the server.
    pub(crate) host: Host,
    /// Port of the gate.
    pub(crate) port: u16,
    /// Port of the `SuperLink`, on 127.0.0.1.
    #[serde(default = "superlink_port")]
    pub(crate) superlink_port: u16,
    /// Version of effgan that server and sites must have.
    pub(crate) effgan: String,
    /// The wheel in the kits; it is in the same folder as this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wheel: Option<Wheel>,
}

fn superlink_port() -> u16 {
    SUPERLINK_PORT
}

impl ServerFolder {
    /// Reads `server.toml` in `folder`.
    ///
    /// # Errors
    /// [`Kind::Usage`](effgan_run::Kind::Usage) when it is not a server folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(SERVER);
        let read = || -> anyhow::Result<Self> { Ok(toml::from_str(&effgan_run::config::read(&path)?)?) };
        let what = || format!("{} is not a server folder made by `effgan federation init`", folder.display());
        read().with_context(what).map_err(Failure::usage)
    }

    /// `host:port` as sites call it.
    pub(crate) fn address(&self) -> String {
        self.host.at(self.port)
    }

    /// `site.toml` of the kit of `site`.
    pub(super) fn kit(&self, site: &ClientName) -> SiteKit {
        let (server, effgan) = (self.address(), self.effgan.clone());
        SiteKit { name: site.clone(), server, effgan, wheel: self.wheel.clone() }
    }
}

/// Keeps other processes from changing the list of sites while the returned file is open.
pub(super) fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(SERVER);
    let locked = File::open(&path).and_then(|file| file.lock().map(|()| file));
    locked.with_context(|| format!("locking {}", path.display()))
}
