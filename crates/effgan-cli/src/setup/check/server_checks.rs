//! The checks of a server folder.

use std::path::Path;

use anyhow::Context;
use effgan_gate::{SITES, Sites};
use effgan_run::failure::Result;

use super::{certificate_checks, file_access, gate_probe, right, superlink_check, versions};
use crate::setup::SUPEREXEC_SECRET;
use crate::setup::server_folder::ServerFolder;

/// Files that only their owner may read.
const SECRETS: [&str; 8] =
    ["ca.key", "server.key", SUPEREXEC_SECRET, SITES, "gate.json", "state.db", "state.db-wal", "flower"];
/// Bytes that the `SuperLink`'s state and a run's record need: a round's messages pass through `state.db`.
const DISK: u64 = 4_000_000_000;

pub(super) fn check(folder: &Path, server: &ServerFolder) -> Result<()> {
    versions(&server.effgan)?;
    if let Some(wheel) = &server.wheel {
        wheel.check(folder).context("wheel")?;
    }
    file_access::private(folder, &SECRETS)?;
    file_access::secret(&folder.join(SUPEREXEC_SECRET))?;
    right("files", "readable by their owner alone");
    let sites = Sites::read(&folder.join(SITES)).map_err(anyhow::Error::from)?;
    let admitted: Vec<&str> = sites.iter().filter(|site| site.key.is_some()).map(|site| site.name.as_str()).collect();
    let names = if admitted.is_empty() { String::new() } else { format!(": {}", admitted.join(", ")) };
    right("sites", &format!("{} of {} admitted{names}", admitted.len(), sites.iter().count()));
    file_access::room(folder, DISK)?;
    certificate_checks::of_server(folder, server)?;
    superlink_check::answers(folder, server)?;
    gate_probe::refuses_unknown_keys(folder, server)
}
