//! `ledgers.jsonl` in the run folder: the heads of the sites' ledgers, as they come with replies.
//!
//! With them at the server, and the ledgers at the sites, neither side can rewrite alone what was asked and answered. Every reply to a
//! request for work is noted, and every reply to a query until the site is known. The file is never cut back, not even when the run
//! returns to an earlier state.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_fl::FlError;
use effgan_nn::file::open_to_append;
use serde::{Deserialize, Serialize};

use crate::protocol::RequestId;

/// The file's name.
pub(crate) const LEDGERS: &str = "ledgers.jsonl";

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LedgerHead {
    /// Whose ledger it is.
    pub client: ClientName,
    /// What was requested: an exchange's kind, or `query`.
    pub kind: String,
    /// SHA-256 of the config in the request, in hex.
    pub config_hash: String,
    /// The round, from 1; `None` for a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// SHA-256 of the ledger's last line, in hex.
    pub head: String,
}

/// Writes the heads as they come, each once. Before there is a run folder they are kept in memory.
#[derive(Default)]
pub(super) struct LedgerHeads {
    file: Option<(PathBuf, File)>,
    /// Lines that came before the file was opened.
    early: String,
    /// The newest head of each site: a site that is waiting for approval repeats its head every 15 s.
    last: BTreeMap<ClientName, LedgerHead>,
}

/// Maximum number of bytes of lines that are kept in memory: enough for thousands of refusals.
const MAX_EARLY: usize = 1 << 22;

impl LedgerHeads {
    /// Opens or creates the file in `run`, and writes the lines that came before.
    ///
    /// # Errors
    /// [`FlError::Io`].
    pub(super) fn keep_in(&mut self, run: &Path) -> effgan_fl::Result<()> {
        let path = run.join(LEDGERS);
        match open_to_append(&path) {
            Ok(file) => self.file = Some((path, file)),
            Err(source) => return Err(FlError::Io { path, source }),
        }
        let early = std::mem::take(&mut self.early);
        self.write(&early)
    }

    /// Appends the head that came with the reply of `client` to `request`.
    ///
    /// # Errors
    /// [`FlError::Io`].
    pub(super) fn add(&mut self, client: &ClientName, request: &RequestId, head: &str) -> effgan_fl::Result<()> {
        let RequestId { kind, config_hash, round, .. } = request.clone();
        let line = LedgerHead {
            client: client.clone(),
            kind: kind.unwrap_or_default(),
            config_hash: config_hash.unwrap_or_default(),
            round: round.map(|round| round as u32),
            head: head.into(),
        };
        if self.last.get(client) == Some(&line) {
            return Ok(());
        }
        self.last.insert(client.clone(), line.clone());
        let line = serde_json::to_string(&line).expect("a head is plain data") + "\n";
        if self.file.is_none() && self.early.len() + line.len() <= MAX_EARLY {
            self.early += &line;
        }
        self.write(&line)
    }

    fn write(&mut self, lines: &str) -> effgan_fl::Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|source| FlError::Io { path: path.clone(), source })
    }
}
