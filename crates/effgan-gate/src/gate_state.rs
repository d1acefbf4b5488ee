//! `gate.json` in the server folder: the node of each site, when the site was last seen, and the messages that it may reply to.

use std::collections::BTreeMap;
use std::path::Path;

use effgan_data::ClientName;
use serde::{Deserialize, Serialize};

use crate::error::GateError;
use crate::small_file;

/// Maximum number of bytes of `gate.json`.
const MAX_BYTES: u64 = 16 << 20;

/// `gate.json`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateState {
    /// By name: the sites that have connected and are still on the list.
    pub sites: BTreeMap<ClientName, SiteState>,
}

/// The state of one site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteState {
    /// Flower's id of its node.
    pub node_id: u64,
    /// Fingerprint of the key with which it connected, as [`fingerprint`](crate::fingerprint) writes it.
    pub fingerprint: String,
    /// Time of its last request (RFC 3339); at most a few seconds old while the gate runs.
    pub last_seen: String,
    /// The messages that it has pulled, the newest last: it may reply to them even after the gate has restarted.
    #[serde(rename = "asked", default, skip_serializing_if = "Vec::is_empty")]
    pub pulled: Vec<PulledMessage>,
}

/// A message that a site has pulled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PulledMessage {
    /// Flower's id of the message.
    pub message_id: String,
    /// Flower's id of its run.
    pub run_id: u64,
    /// Flower's type of the message, which the reply repeats: `query`, `train`, ….
    pub message_type: String,
}

/// File in the server folder.
pub const GATE_STATE: &str = "gate.json";

impl GateState {
    /// Reads `gate.json`. Without the file, no site has connected yet.
    ///
    /// # Errors
    /// [`GateError::File`], [`GateError::Content`].
    pub fn read(path: &Path) -> Result<Self, GateError> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let wrong = |error: serde_json::Error| GateError::Content { path: path.to_owned(), reason: error.to_string() };
        serde_json::from_str(&small_file::read(path, MAX_BYTES)?).map_err(wrong)
    }

    /// The site that the node belongs to.
    pub fn name_of(&self, node_id: u64) -> Option<&ClientName> {
        self.sites.iter().find(|(_, site)| site.node_id == node_id).map(|(name, _)| name)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), GateError> {
        small_file::write(path, &serde_json::to_vec(self).expect("numbers and text are JSON"))
    }
}
