//! What `check` looks at in the server's folder.

use std::path::Path;

use anyhow::Context;
use effgan_gate::{SITES, Sites};

use super::super::SUPEREXEC_SECRET;
use super::super::server::Server;
use super::{files, right, tls, versions};
use effgan_run::failure::Result;

/// Of the server's folder: what nobody else is to read.
const SECRETS: [&str; 8] =
    ["ca.key", "server.key", SUPEREXEC_SECRET, SITES, "gate.json", "state.db", "state.db-wal", "flower"];
/// Room that the `SuperLink`'s state and a run's record need: a round's messages pass through `state.db`.
const ROOM: u64 = 4_000_000_000;

pub(super) fn check(folder: &Path, server: &Server) -> Result<()> {
    versions(&server.effgan)?;
    if let Some(wheel) = &server.wheel {
        wheel.check(folder).context("wheel")?;
    }
    files::private(folder, &SECRETS)?;
    files::secret(&folder.join(SUPEREXEC_SECRET))?;
    right("files", "for their owner alone");
    let sites = Sites::read(&folder.join(SITES)).map_err(anyhow::Error::from)?;
    let admitted: Vec<&str> = sites.iter().filter(|site| site.key.is_some()).map(|site| site.name.as_str()).collect();
    let names = if admitted.is_empty() { String::new() } else { format!(": {}", admitted.join(", ")) };
    right("sites", &format!("{} of {} admitted{names}", admitted.len(), sites.iter().count()));
    files::room(folder, ROOM)?;
    tls::certificate(folder, server)?;
    tls::superlink(folder, server)?;
    super::gate::refuses_strangers(folder, server)
}
