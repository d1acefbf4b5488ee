//! The state that clients keep between their exchanges: in memory up to a bound, in files beyond it, and in a file for each position from
//! which the run may resume. One file per position, so that a server state and the client states that belong to it are never mixed up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use effgan_data::ClientName;
use effgan_nn::sealed;
use serde::{Deserialize, Serialize};

use super::{Checkpoints, RunId, RunPosition, list, make_folder, remove};
use crate::state::ClientState;
use crate::{FlError, Result};

/// Bytes of client state that stay in memory. A discriminator with 64 base channels and its Adam moments are 1.7 MB, and MD-GAN
/// needs them a thousand times per round.
const MAX_BYTES: u64 = 256 << 20;

/// The states of all clients.
pub(crate) struct ClientStates<'a> {
    checkpoints: &'a Checkpoints,
    held: Mutex<Held>,
    max_bytes: u64,
}

struct Held {
    by_client: BTreeMap<ClientName, ClientState>,
    bytes: u64,
    /// Clients for whose state there was no room in memory. It is in a file, which `write` turns into the file of the next position.
    spilled: BTreeSet<ClientName>,
    /// Files of later positions are ignored: the run has gone back behind them.
    now: RunPosition,
}

/// The head of a client state's file.
#[derive(PartialEq, Serialize, Deserialize)]
struct Head {
    run: RunId,
    client: ClientName,
    /// `None` in the file of a spilled state.
    #[serde(rename = "moment")]
    position: Option<RunPosition>,
}

impl<'a> ClientStates<'a> {
    /// The client states as they were at `now`.
    pub(crate) fn at(now: RunPosition, checkpoints: &'a Checkpoints) -> Self {
        let held = Held { by_client: BTreeMap::new(), bytes: 0, spilled: BTreeSet::new(), now };
        Self { checkpoints, held: Mutex::new(held), max_bytes: MAX_BYTES }
    }

    /// Takes the state of `client`; empty for a new client.
    ///
    /// # Errors
    /// When its file cannot be read or has been changed.
    pub(crate) fn take(&self, client: &ClientName) -> Result<ClientState> {
        let (held, spilled, now) = self.lock(|held| (held.take(client), held.spilled.contains(client), held.now));
        match held {
            Some(state) => Ok(state),
            None if spilled => self.load(client, None),
            None => match self.positions(client)?.into_iter().filter(|&position| position <= now).max() {
                Some(position) => self.load(client, Some(position)),
                None => Ok(ClientState::new()),
            },
        }
    }

    /// Stores the state of `client`.
    ///
    /// # Errors
    /// When there is no room in memory and its file cannot be written.
    pub(crate) fn put(&self, client: &ClientName, state: ClientState) -> Result<()> {
        if state.is_empty() {
            return Ok(());
        }
        match self.lock(|held| held.put(client, state, self.max_bytes)) {
            None => Ok(()),
            Some(state) => self.save(client, None, &state),
        }
    }

    /// Writes all states that changed since the last call to files of `position`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(&self, position: RunPosition) -> Result<()> {
        self.lock(|held| {
            for (client, state) in &held.by_client {
                self.save(client, Some(position), state)?;
            }
            for client in &held.spilled {
                self.save(client, Some(position), &self.load(client, None)?)?;
                remove(fs::remove_file, &self.file(client, None))?;
            }
            *held = Held { by_client: BTreeMap::new(), bytes: 0, spilled: BTreeSet::new(), now: position };
            Ok(())
        })
    }

    /// Removes the states saved after `now`: the run has gone back behind them.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub(crate) fn discard_after(&self, now: RunPosition) -> Result<()> {
        for folder in list(&self.checkpoints.folder.join("clients"))? {
            for path in
                list(&folder)?.iter().filter(|path| RunPosition::of_file(path).is_some_and(|position| position > now))
            {
                remove(fs::remove_file, path)?;
            }
        }
        Ok(())
    }

    /// Removes the states that a run which resumes from `oldest` or later does not need.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub(crate) fn prune(&self, oldest: RunPosition) -> Result<()> {
        for folder in list(&self.checkpoints.folder.join("clients"))? {
            let mut positions: Vec<RunPosition> =
                list(&folder)?.iter().filter_map(|path| RunPosition::of_file(path)).collect();
            positions.retain(|&position| position <= oldest);
            positions.sort_unstable();
            // The newest of them belongs to the oldest state that is kept.
            positions.pop();
            positions.iter().try_for_each(|position| remove(fs::remove_file, &folder.join(position.file_name())))?;
        }
        Ok(())
    }

    fn save(&self, client: &ClientName, position: Option<RunPosition>, state: &ClientState) -> Result<()> {
        make_folder(&self.folder(client))?;
        Ok(sealed::save(&self.file(client, position), &self.head(client, position), state)?)
    }

    fn load(&self, client: &ClientName, position: Option<RunPosition>) -> Result<ClientState> {
        let path = self.file(client, position);
        let (head, state) = sealed::load::<Head>(&path)?;
        self.checkpoints.run.check_arithmetic(&head.run, &path)?;
        if head == self.head(client, position) {
            Ok(state)
        } else {
            Err(FlError::ForeignCheckpoint { path, what: "client or round" })
        }
    }

    fn head(&self, client: &ClientName, position: Option<RunPosition>) -> Head {
        Head { run: self.checkpoints.run.clone(), client: client.clone(), position }
    }

    fn positions(&self, client: &ClientName) -> Result<Vec<RunPosition>> {
        Ok(list(&self.folder(client))?.iter().filter_map(|path| RunPosition::of_file(path)).collect())
    }

    fn folder(&self, client: &ClientName) -> PathBuf {
        self.checkpoints.folder.join("clients").join(client.as_str())
    }

    fn file(&self, client: &ClientName, position: Option<RunPosition>) -> PathBuf {
        self.folder(client).join(position.map_or("aside.safetensors".into(), RunPosition::file_name))
    }

    fn lock<R>(&self, what: impl FnOnce(&mut Held) -> R) -> R {
        what(&mut self.held.lock().expect("no thread panics while it holds the client states"))
    }
}

impl Held {
    fn take(&mut self, client: &ClientName) -> Option<ClientState> {
        let state = self.by_client.remove(client)?;
        self.bytes -= state.num_bytes();
        Some(state)
    }

    /// Stores `state`, or returns it, to be spilled to a file, when all together would be more than `max_bytes`.
    fn put(&mut self, client: &ClientName, state: ClientState, max_bytes: u64) -> Option<ClientState> {
        let bytes = self.bytes + state.num_bytes();
        if bytes > max_bytes {
            self.spilled.insert(client.clone());
            return Some(state);
        }
        self.spilled.remove(client);
        self.bytes = bytes;
        self.by_client.insert(client.clone(), state);
        None
    }
}

#[cfg(test)]
mod tests {
    use effgan_nn::{ArithmeticVersion, Array};

    use super::*;
    use crate::checkpoints::CheckpointConfig;
    use crate::state::ServerState;

    fn client_state(value: f32) -> ClientState {
        [("w".to_owned(), Array::new([2], vec![value; 2]))].into_iter().collect()
    }

    fn checkpoints(folder: &tempfile::TempDir, keep: usize) -> Checkpoints {
        let config = CheckpointConfig { keep, every_steps: None };
        Checkpoints::new(folder.path().join("checkpoints"), RunId::default(), config, |line| panic!("{line}"))
    }

    fn after(round: u32) -> ServerState {
        ServerState::after_round(round, client_state(0.0))
    }

    fn taken(states: &ClientStates, clients: &[ClientName]) -> Vec<ClientState> {
        clients.iter().map(|client| states.take(client).unwrap()).collect()
    }

    /// Three rounds in which `a` stores 10, 20, 30, and `b`, which takes part in the first two only, 11 and 21.
    #[test]
    fn client_states_are_restored_as_they_were_at_each_kept_moment() {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoints, clients) = (checkpoints(&folder, 2), ["a", "b"].map(|name| ClientName::new(name).unwrap()));
        // 15 bytes are room for one state of eight bytes.
        let states = ClientStates { max_bytes: 15, ..ClientStates::at(RunPosition::of(&after(0)), &checkpoints) };
        for round in 1..=3 {
            for (client, i) in clients.iter().zip([0.0, 1.0]).take(if round < 3 { 2 } else { 1 }) {
                states.take(client).unwrap();
                states.put(client, client_state(10.0 * round as f32 + i)).unwrap();
            }
            states.write(RunPosition::of(&after(round))).unwrap();
            checkpoints.save(&after(round), None, serde_json::Value::Null).unwrap();
            states.prune(checkpoints.oldest().unwrap().unwrap()).unwrap();
        }
        assert_eq!(taken(&states, &clients), [client_state(30.0), client_state(21.0)]);
        for (round, expected) in
            [(2, [client_state(20.0), client_state(21.0)]), (3, [client_state(30.0), client_state(21.0)])]
        {
            assert_eq!(taken(&ClientStates::at(RunPosition::of(&after(round)), &checkpoints), &clients), expected);
        }
        let files = |client: &ClientName| list(&states.folder(client)).unwrap().len();
        assert_eq!(clients.each_ref().map(files), [2, 1], "files that no kept state needs are removed");
    }

    #[test]
    fn a_new_client_has_no_state_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoints, client) = (checkpoints(&folder, 1), ClientName::new("a").unwrap());
        let states = ClientStates::at(RunPosition::of(&after(0)), &checkpoints);
        assert!(states.take(&client).unwrap().is_empty());
        states.put(&client, ClientState::new()).unwrap();
        states.write(RunPosition::of(&after(1))).unwrap();
        assert!(!folder.path().join("checkpoints").exists());
    }

    #[test]
    fn a_client_state_of_another_arithmetic_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (earlier, client) = (checkpoints(&folder, 1), ClientName::new("a").unwrap());
        let now = RunPosition::of(&after(1));
        let states = ClientStates::at(now, &earlier);
        states.put(&client, client_state(1.0)).unwrap();
        states.write(now).unwrap();
        let run = RunId { arithmetic_version: ArithmeticVersion::OURS, ..earlier.run.clone() };
        let error =
            ClientStates::at(now, &Checkpoints { run, ..earlier.clone() }).take(&client).unwrap_err().to_string();
        assert!(error.contains("a/round_0001.safetensors is of arithmetic version 1, and this program"), "{error}");
    }

    #[test]
    fn a_client_state_under_another_clients_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoints, [a, b]) = (checkpoints(&folder, 1), ["a", "b"].map(|name| ClientName::new(name).unwrap()));
        let states = ClientStates::at(RunPosition::of(&after(0)), &checkpoints);
        states.put(&a, client_state(1.0)).unwrap();
        states.write(RunPosition::of(&after(1))).unwrap();
        fs::rename(states.folder(&a), states.folder(&b)).unwrap();
        let error = states.take(&b).unwrap_err().to_string();
        assert!(error.contains("b/round_0001.safetensors belongs to another client or round"), "{error}");
    }
}
