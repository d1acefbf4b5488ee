//! `ledger-heads.json` in the server's folder: of each site's ledger the newest head that counts, over all runs.
//!
//! They are the heads after answers to private runs. The server sends a site its head with each request. A site whose ledger lacks that line
//! has restored it from a backup: what its private training has cost since is missing there, and it trains no more privately. A head belongs
//! to a key: a site that was admitted anew, with another key, begins another ledger.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_fl::FlError;
use effgan_nn::file::{read_file, write_file};
use serde::{Deserialize, Serialize};

const KNOWN_HEADS: &str = "ledger-heads.json";
/// Maximum number of bytes that are read: enough for tens of thousands of sites.
const MAX_BYTES: u64 = 1 << 24;

/// The newest heads; in memory alone where the server has no folder.
#[derive(Default)]
pub(super) struct KnownHeads {
    path: Option<PathBuf>,
    sites: BTreeMap<ClientName, KnownHead>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KnownHead {
    /// Fingerprint of the site's key on the server's list; `None` where the server has none.
    key: Option<String>,
    /// SHA-256 of the ledger's last line, in hex.
    head: String,
}

impl KnownHeads {
    /// Those of the folder `server`.
    ///
    /// # Errors
    /// [`FlError::Io`] for a file that cannot be read or was not written by effgan: without it, a ledger from a backup would go unnoticed.
    pub(super) fn of(server: &Path) -> effgan_fl::Result<Self> {
        let path = server.join(KNOWN_HEADS);
        let failed = |source| FlError::Io { path: path.clone(), source };
        let sites = match read_file(&path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            bytes => serde_json::from_slice(&bytes.map_err(failed)?).map_err(|error| failed(damaged(&error)))?,
        };
        Ok(Self { path: Some(path), sites })
    }

    /// The newest head of the ledger of `client`, whose key is `key`.
    pub(super) fn newest(&self, client: &ClientName, key: Option<&String>) -> Option<&str> {
        self.sites.get(client).filter(|known| known.key.as_ref() == key).map(|known| &*known.head)
    }

    /// Keeps the head that came with a reply of `client`.
    ///
    /// # Errors
    /// [`FlError::Io`] when it cannot be written.
    pub(super) fn keep(&mut self, client: &ClientName, key: Option<String>, head: &str) -> effgan_fl::Result<()> {
        let known = KnownHead { key, head: head.into() };
        if self.sites.get(client) == Some(&known) {
            return Ok(());
        }
        self.sites.insert(client.clone(), known);
        let Some(path) = &self.path else { return Ok(()) };
        let text = serde_json::to_vec(&self.sites).expect("heads are plain data");
        write_file(path, &text).map_err(|source| FlError::Io { path: path.clone(), source })
    }
}

fn damaged(error: &serde_json::Error) -> io::Error {
    let line = "restore it from a backup; without it, a site's ledger from a backup would go unnoticed in private runs";
    io::Error::other(format!("is not as effgan wrote it ({error}); {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_outlive_the_run_and_belong_to_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let north = ClientName::new("north").unwrap();
        let (key, other) = (Some("SHA256:a".to_owned()), Some("SHA256:b".to_owned()));
        let mut first = KnownHeads::of(folder.path()).unwrap();
        assert_eq!(first.newest(&north, key.as_ref()), None);
        first.keep(&north, key.clone(), "11").unwrap();
        first.keep(&north, key.clone(), "22").unwrap();
        let later = KnownHeads::of(folder.path()).unwrap();
        assert_eq!(later.newest(&north, key.as_ref()), Some("22"));
        assert_eq!(later.newest(&north, other.as_ref()), None, "a site that was admitted anew");
        std::fs::write(folder.path().join(KNOWN_HEADS), "{").unwrap();
        let error = KnownHeads::of(folder.path()).err().unwrap().to_string();
        assert!(error.contains("ledger-heads.json") && error.contains("is not as effgan wrote it ("), "{error}");
    }
}
