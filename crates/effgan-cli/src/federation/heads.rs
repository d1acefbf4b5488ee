//! `ledgers.jsonl` of a run folder: the head of each site's ledger as it came with each answer, so that neither side can rewrite what was
//! asked and answered by itself. It is never cut back, not even when the run goes back to an earlier state.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_fl::FlError;
use effgan_nn::file::open_to_append;
use serde::{Deserialize, Serialize};

use super::Tie;

/// The file.
pub const LEDGERS: &str = "ledgers.jsonl";

/// Its line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadLine {
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

/// Appends lines.
pub struct Heads {
    path: PathBuf,
    file: File,
}

impl Heads {
    /// Opens or makes the file in `run`.
    ///
    /// # Errors
    /// [`FlError::Io`].
    pub fn open(run: &Path) -> effgan_fl::Result<Self> {
        let path = run.join(LEDGERS);
        match open_to_append(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(FlError::Io { path, source }),
        }
    }

    /// Appends what came with the answer of `client` to the question that `tie` is of.
    ///
    /// # Errors
    /// [`FlError::Io`].
    pub fn add(&mut self, client: &ClientName, tie: &Tie, head: &str) -> effgan_fl::Result<()> {
        let Tie { kind, config_hash, round, .. } = tie.clone();
        let line = HeadLine {
            client: client.clone(),
            kind: kind.unwrap_or_default(),
            config_hash: config_hash.unwrap_or_default(),
            round: round.map(|round| round as u32),
            head: head.into(),
        };
        let line = serde_json::to_string(&line).expect("a head is plain data") + "\n";
        self.write(&line).map_err(|source| FlError::Io { path: self.path.clone(), source })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()
    }
}
