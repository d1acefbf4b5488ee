//! `checkpoints/`: everything that a run needs to resume where it was cut off, with bit-identical results.
//!
//! ```text
//! round_0003.safetensors               the server's state after round 3
//! round_0003+000200.safetensors        the server's state after round 3 and 200 exchanges of round 4
//! round_0004/north.safetensors         a finished reply of the open round
//! round_0004/north.work.safetensors    the unfinished training of a client
//! round_0004/north.kept_0000000120.safetensors   at a site: its networks after 120 steps of its fine-tuning
//! clients/north/round_0003.safetensors a client's state, for algorithms with client state
//! ```
//! Every file is [`sealed`], and its head says which run it belongs to and what it holds, so a file that is torn, edited, renamed or of
//! another run is detected. Whatever is lost is computed again: an unusable reply costs its client's work, an unusable state costs the
//! rounds since the state before it. Failed replies are not saved, because their cause may be gone when the run is resumed.

mod checkpoint_config;
mod client_states;
mod open_round;
mod run_position;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use effgan_data::ClientName;
use effgan_nn::file::make_private_folder;
use effgan_nn::{ArithmeticVersion, NnError, Params, sealed};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::checkpoint_config::CheckpointConfig;
pub(crate) use self::client_states::ClientStates;
pub use self::run_position::RunPosition;
use self::run_position::round_name;
use crate::loss_history::LossHistory;
use crate::record::RoundRecord;
use crate::state::ServerState;
use crate::{FlError, Result};

/// Identifies the run of a checkpoint by everything that its results depend on. The hashes are SHA-256, in hex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId {
    /// Hash of the config, without the keys that may change when a run is resumed.
    pub config: String,
    /// Hash of the images and of their partition.
    pub data: String,
    /// The version of the arithmetic of the run.
    #[serde(default)]
    pub arithmetic_version: ArithmeticVersion,
}

impl RunId {
    /// Identifies a run of this program by the hashes of its config and its data.
    pub fn new(config: String, data: String) -> Self {
        Self { config, data, arithmetic_version: ArithmeticVersion::OURS }
    }

    /// Checks that the run `of_file`, to which the file at `path` belongs, was begun with the arithmetic of this run.
    fn check_arithmetic(&self, of_file: &Self, path: &Path) -> Result<()> {
        let version = of_file.arithmetic_version;
        if version == self.arithmetic_version {
            Ok(())
        } else {
            Err(FlError::OtherArithmetic { path: path.into(), version })
        }
    }
}

/// A saved state from which a run can resume.
#[derive(Debug)]
pub struct Checkpoint {
    /// The server's state.
    pub state: ServerState,
    /// The unfinished round, where the state was saved within one.
    pub open_round: Option<OpenRound>,
    /// What the [`RoundObserver`](crate::RoundObserver) saved with it.
    pub notes: Value,
}

/// A round that has begun and is not finished.
#[derive(Debug)]
pub struct OpenRound {
    /// Its record so far.
    pub(crate) record: RoundRecord,
    /// The losses of each client's steps, in rounds of many exchanges.
    pub(crate) steps: BTreeMap<ClientName, LossHistory>,
}

/// The head of a state's file.
#[derive(Serialize, Deserialize)]
struct Head {
    run: RunId,
    #[serde(flatten)]
    position: RunPosition,
    record: Option<RoundRecord>,
    steps: BTreeMap<ClientName, [u64; 2]>,
    notes: Value,
}

/// Prefixes of the tensors in a state's file.
const SERVER: &str = "server";
const LOSSES: &str = "losses";

/// The folder `checkpoints/` of a run.
#[derive(Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    run: RunId,
    config: CheckpointConfig,
    /// Called with one line of text for each file that is found unusable.
    warn: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Checkpoints {
    /// The checkpoints of `run` in `folder`, which is created when there is something to save. `warn` is called with one line of
    /// text for each file that is found unusable.
    pub fn new(
        folder: PathBuf,
        run: RunId,
        config: CheckpointConfig,
        warn: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { folder, run, config, warn: Arc::new(warn) }
    }

    /// Where the files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Number of training steps after which unfinished work is saved.
    pub(crate) fn every_steps(&self) -> Option<u64> {
        self.config.every_steps
    }

    /// Saves `state`, and removes states that are older than the config asks for as well as the replies of finished rounds.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    pub fn save(&self, state: &ServerState, open_round: Option<&OpenRound>, notes: Value) -> Result<()> {
        let position = RunPosition::of(state);
        let steps = open_round.map(|open| &open.steps).into_iter().flatten();
        let head = Head {
            run: self.run.clone(),
            position,
            record: open_round.map(|open| open.record.clone()),
            steps: steps.clone().map(|(client, steps)| (client.clone(), steps.head())).collect(),
            notes,
        };
        let losses: Params = steps.map(|(client, steps)| (format!("{LOSSES}.{client}"), steps.to_array())).collect();
        make_folder(&self.folder)?;
        let params = state.params.clone().named_under(SERVER).merged_with(losses);
        sealed::save(&self.folder.join(position.file_name()), &head, &params)?;
        self.prune(position)
    }

    /// The newest state that is intact and for which `usable` returns `Ok`; `None` when no state was saved yet.
    ///
    /// # Errors
    /// [`FlError::ForeignCheckpoint`] for a state of another run, [`FlError::OtherArithmetic`] for one that another version of the
    /// arithmetic computed, [`FlError::NoCheckpoint`] when there are states and none is usable.
    pub fn latest(
        &self,
        usable: impl Fn(&Checkpoint) -> std::result::Result<(), String>,
    ) -> Result<Option<Checkpoint>> {
        let positions = self.positions()?;
        let some = !positions.is_empty();
        for position in positions {
            let path = self.folder.join(position.file_name());
            match self.load(position)?.and_then(|checkpoint| usable(&checkpoint).map(|()| checkpoint)) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(reason) => (self.warn)(&format!("{} {reason}; trying the checkpoint before it", path.display())),
            }
        }
        if some { Err(FlError::NoCheckpoint { folder: self.folder.clone() }) } else { Ok(None) }
    }

    /// The states that are intact, newest first. Each is read when it is asked for.
    ///
    /// # Errors
    /// When the folder cannot be listed; of a state, as [`latest`](Self::latest).
    pub fn intact(&self) -> Result<impl Iterator<Item = Result<Checkpoint>>> {
        Ok(self
            .positions()?
            .into_iter()
            .filter_map(|position| self.load(position).map(std::result::Result::ok).transpose()))
    }

    /// Copies the newest state between two rounds, of at most `max_rounds` rounds, from the folder `donor` into this run. Returns
    /// whether there was one of the same arithmetic. The caller guarantees that the first rounds of both runs are the same.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn adopt(&self, donor: &Path, max_rounds: u32) -> Result<bool> {
        let other = Self { folder: donor.into(), ..self.clone() };
        let whole =
            other.positions()?.into_iter().filter(|position| position.exchanges == 0 && position.round <= max_rounds);
        for position in whole {
            let (head, params) = match sealed::load::<Head>(&donor.join(position.file_name())) {
                Ok(whole) => whole,
                // An unusable state is not copied; this run then computes those rounds itself.
                Err(NnError::Sealed { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let is_alike = head.run.arithmetic_version == self.run.arithmetic_version;
            if head.position == position && head.record.is_none() && is_alike {
                make_folder(&self.folder)?;
                let head = Head { run: RunId { config: self.run.config.clone(), ..head.run }, ..head };
                sealed::save(&self.folder.join(position.file_name()), &head, &params)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The state at `position`, or why it is unusable.
    fn load(&self, position: RunPosition) -> Result<std::result::Result<Checkpoint, String>> {
        let path = self.folder.join(position.file_name());
        match sealed::load::<Head>(&path) {
            Ok((head, params)) => self.checked(&path, position, head, &params),
            Err(NnError::Sealed { reason, .. }) => Ok(Err(reason)),
            Err(error) => Err(error.into()),
        }
    }

    fn checked(
        &self,
        path: &Path,
        position: RunPosition,
        head: Head,
        params: &Params,
    ) -> Result<std::result::Result<Checkpoint, String>> {
        self.run.check_arithmetic(&head.run, path)?;
        if head.run != self.run {
            let what = if head.run.config == self.run.config { "data" } else { "config" };
            return Err(FlError::ForeignCheckpoint { path: path.into(), what });
        }
        if head.position != position {
            return Ok(Err("was renamed: it is the state of another round".into()));
        }
        let steps = head.steps.into_iter().map(|(client, about)| {
            let losses = params.get(&format!("{LOSSES}.{client}"))?;
            Ok((client, LossHistory::of(about, losses)))
        });
        let steps = steps.collect::<Result<_>>()?;
        let RunPosition { round, exchanges } = position;
        let state = ServerState { round, exchanges, params: params.under(SERVER) };
        let open_round = head.record.map(|record| OpenRound { record, steps });
        Ok(Ok(Checkpoint { state, open_round, notes: head.notes }))
    }

    /// All states, newest first.
    fn positions(&self) -> Result<Vec<RunPosition>> {
        let mut positions: Vec<RunPosition> =
            list(&self.folder)?.iter().filter_map(|path| RunPosition::of_file(path)).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        Ok(positions)
    }

    /// Keeps the newest states up to `now`, and removes the replies of finished rounds. States later than `now` are removed too:
    /// the run has gone back behind them, and computes them again.
    fn prune(&self, now: RunPosition) -> Result<()> {
        let (past, future): (Vec<_>, Vec<_>) = self.positions()?.into_iter().partition(|&position| position <= now);
        for position in past.iter().skip(self.config.keep).chain(&future) {
            remove(fs::remove_file, &self.folder.join(position.file_name()))?;
        }
        self.remove_rounds_up_to(now.round)
    }

    /// Removes the replies of the rounds up to `last`.
    pub(crate) fn remove_rounds_up_to(&self, last: u32) -> Result<()> {
        let done = list(&self.folder)?.into_iter().filter(|path| round_of_folder(path).is_some_and(|r| r <= last));
        done.into_iter().try_for_each(|folder| remove(fs::remove_dir_all, &folder))
    }

    /// The position of the oldest state that is kept.
    pub(crate) fn oldest(&self) -> Result<Option<RunPosition>> {
        Ok(self.positions()?.pop())
    }
}

fn round_of_folder(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("round_")?.parse().ok()
}

fn make_folder(folder: &Path) -> Result<()> {
    make_private_folder(folder).map_err(|source| FlError::Io { path: folder.into(), source })
}

/// The entries of `folder`; none when it does not exist.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| FlError::Io { path: folder.into(), source };
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Removes a file or folder, which may be gone already.
fn remove(how: fn(PathBuf) -> std::io::Result<()>, path: &Path) -> Result<()> {
    match how(path.into()) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(FlError::Io { path: path.into(), source }),
        _ => Ok(()),
    }
}
