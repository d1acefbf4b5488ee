//! `ledgers.jsonl` of a run folder: the head of each site's ledger as it came with answers (all to letters, and those to the
//! first question until the site is known), so that neither side can rewrite what was
//! asked and answered by itself. It is never cut back, not even when the run goes back to an earlier state.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_fl::FlError;
use effgan_nn::file::open_to_append;
use serde::{Deserialize, Serialize};

use super::Tie;

/// The file.
pub(crate) const LEDGERS: &str = "ledgers.jsonl";

/// Its line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadLine {
    /// Whose ledger.
    pub client: ClientName,
    /// What was asked, with which config.
    pub kind: String,
    pub config_hash: String,
    /// Of the run; none for a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// SHA-256 of the ledger's last line, as hex.
    pub head: String,
}

/// The heads as they come, each once; held until there is a run folder.
#[derive(Default)]
pub(super) struct Heads {
    file: Option<(PathBuf, File)>,
    /// Lines from before.
    early: String,
    /// Of each site, the newest: one that waits for a yes says the same every 15 s.
    last: BTreeMap<ClientName, HeadLine>,
}

/// Most bytes of lines that are held: thousands of refusals.
const MOST_EARLY: usize = 1 << 22;

impl Heads {
    /// Opens or makes the file in `run`, and writes what came before.
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

    /// Appends what came with the answer of `client` to the question that `tie` is of.
    ///
    /// # Errors
    /// [`FlError::Io`].
    pub(super) fn add(&mut self, client: &ClientName, tie: &Tie, head: &str) -> effgan_fl::Result<()> {
        let Tie { kind, config_hash, round, .. } = tie.clone();
        let line = HeadLine {
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
        if self.file.is_none() && self.early.len() + line.len() <= MOST_EARLY {
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
