//! What clients remember between their exchanges: in memory up to a bound, and in files beyond it and between rounds.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use effgan_data::ClientName;
use effgan_nn::{Params, checkpoint};

use crate::algorithm::ClientState;
use crate::{FlError, Result};

/// A discriminator of base 64 and its moments are 1.7 MB; its client may be asked a thousand times a round.
const MOST_BYTES: u64 = 256 << 20;

/// The memories of all clients.
pub(crate) struct Memories {
    folder: PathBuf,
    held: Mutex<Held>,
    most_bytes: u64,
}

#[derive(Default)]
struct Held {
    by_client: BTreeMap<ClientName, ClientState>,
    bytes: u64,
}

impl Memories {
    /// Those that lie in `folder`, which is made when there is something to keep.
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { folder, held: Mutex::default(), most_bytes: MOST_BYTES }
    }

    /// Takes what `client` remembers; nothing when it is new.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(crate) fn take(&self, client: &ClientName) -> Result<ClientState> {
        if let Some(memory) = self.lock(|held| held.take(client)) {
            return Ok(memory);
        }
        let file = self.file(client);
        Ok(if file.exists() { checkpoint::load(&file)? } else { Params::new() })
    }

    /// Keeps what `client` is to remember.
    ///
    /// # Errors
    /// When there is no room in memory and its file cannot be written.
    pub(crate) fn put(&self, client: &ClientName, memory: ClientState) -> Result<()> {
        if memory.is_empty() {
            return Ok(());
        }
        match self.lock(|held| held.put(client, memory, self.most_bytes)) {
            None => Ok(()),
            Some(memory) => self.save(client, &memory),
        }
    }

    /// Writes what is in memory to files, as a round ends; the next may be other clients'.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(crate) fn write(&self) -> Result<()> {
        self.lock(|held| {
            held.by_client.iter().try_for_each(|(client, memory)| self.save(client, memory))?;
            *held = Held::default();
            Ok(())
        })
    }

    fn save(&self, client: &ClientName, memory: &ClientState) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|source| FlError::Io { path: self.folder.clone(), source })?;
        Ok(checkpoint::save(&self.file(client), memory)?)
    }

    fn file(&self, client: &ClientName) -> PathBuf {
        self.folder.join(format!("{client}.safetensors"))
    }

    fn lock<R>(&self, what: impl FnOnce(&mut Held) -> R) -> R {
        what(&mut self.held.lock().expect("no thread panics while it holds the memories"))
    }
}

impl Held {
    fn take(&mut self, client: &ClientName) -> Option<ClientState> {
        let memory = self.by_client.remove(client)?;
        self.bytes -= memory.num_bytes();
        Some(memory)
    }

    /// Keeps `memory`, or gives it back when there would be more than `most_bytes`.
    fn put(&mut self, client: &ClientName, memory: ClientState, most_bytes: u64) -> Option<ClientState> {
        let bytes = self.bytes + memory.num_bytes();
        if bytes > most_bytes {
            return Some(memory);
        }
        self.bytes = bytes;
        self.by_client.insert(client.clone(), memory);
        None
    }
}

#[cfg(test)]
mod tests {
    use effgan_nn::Array;

    use super::*;

    fn memory(value: f32) -> ClientState {
        [("w".to_owned(), Array::new([2], vec![value; 2]))].into_iter().collect()
    }

    #[test]
    fn memories_come_back_from_memory_from_files_and_after_a_round() {
        let folder = tempfile::tempdir().unwrap();
        let clients = ["a", "b"].map(|name| ClientName::new(name).unwrap());
        // Room for one of eight bytes.
        let memories = Memories { most_bytes: 15, ..Memories::in_folder(folder.path().join("clients")) };
        for round in [1.0, 2.0] {
            for (client, i) in clients.iter().zip([0.0, 1.0]) {
                memories.take(client).unwrap();
                memories.put(client, memory(10.0 * round + i)).unwrap();
            }
            memories.write().unwrap();
        }
        let again = Memories::in_folder(folder.path().join("clients"));
        for memories in [memories, again] {
            let taken = clients.clone().map(|client| memories.take(&client).unwrap());
            assert_eq!(taken, [memory(20.0), memory(21.0)]);
        }
    }

    #[test]
    fn a_new_client_remembers_nothing_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (memories, client) = (Memories::in_folder(folder.path().join("clients")), ClientName::new("a").unwrap());
        assert!(memories.take(&client).unwrap().is_empty());
        memories.put(&client, Params::new()).unwrap();
        memories.write().unwrap();
        assert!(!folder.path().join("clients").exists());
    }
}
