//! What the gate knows of the sites that called it, `gate.json` in the server's folder: whose node is which, and when it was last seen.

use std::collections::BTreeMap;
use std::path::Path;

use effgan_data::ClientName;
use serde::{Deserialize, Serialize};

use crate::error::GateError;
use crate::file;

/// Most bytes of `gate.json`.
const MOST: u64 = 16 << 20;

/// `gate.json`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateState {
    /// By name: sites that called, were let in and are on the list still.
    pub sites: BTreeMap<ClientName, SiteState>,
}

/// What is known of one site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteState {
    /// Flower's number for its node.
    pub node_id: u64,
    /// Of the key with which it called, as [`fingerprint`](crate::fingerprint) writes it.
    pub fingerprint: String,
    /// Its last request, RFC 3339; a few seconds old at most while the gate runs.
    pub last_seen: String,
    /// Questions that it took, the newest last: what it may answer, also to a gate that was started again meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Question>,
}

/// A message that a site pulled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Flower's id of the message.
    pub message_id: String,
    /// Flower's number of its run.
    pub run_id: u64,
    /// Flower's type of the message, which an answer repeats: `query`, `train`, ….
    pub message_type: String,
}

/// Of the server's folder.
pub const GATE_STATE: &str = "gate.json";

impl GateState {
    /// Reads `gate.json`; nobody called where there is none.
    ///
    /// # Errors
    /// [`GateError::File`], [`GateError::Content`].
    pub fn read(path: &Path) -> Result<Self, GateError> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let wrong = |error: serde_json::Error| GateError::Content { path: path.to_owned(), reason: error.to_string() };
        serde_json::from_str(&file::read(path, MOST)?).map_err(wrong)
    }

    /// The site whose node it is.
    pub fn name_of(&self, node_id: u64) -> Option<&ClientName> {
        self.sites.iter().find(|(_, site)| site.node_id == node_id).map(|(name, _)| name)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), GateError> {
        file::write(path, &serde_json::to_vec(self).expect("numbers and text are JSON"))
    }
}
