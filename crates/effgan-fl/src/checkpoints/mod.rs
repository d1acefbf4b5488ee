//! `checkpoints/`: all that a run needs to go on where it was cut off, and come to the same bits.
//!
//! ```text
//! round_0003.safetensors            the server's state after round 3; round_0003+000200: and 200 exchanges of round 4
//! round_0004/north.safetensors      replies of the open round, as they are finished
//! round_0004/north.work.safetensors what a client at work has come to
//! clients/north/round_0003.safetensors what a client remembers, for algorithms whose clients do
//! ```
//! Every file is [`sealed`], and its head says which run it belongs to and what it is: one that is torn,
//! edited, renamed or another run's is never taken for what it is not. Whatever can be computed again is: a reply that is
//! unusable costs its client's work, a state that is unusable the rounds since the one before.

mod memory;
mod reply;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use effgan_data::ClientName;
use effgan_nn::file::make_private_folder;
use effgan_nn::{NnError, Params, sealed};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::memory::Memories;
pub(crate) use self::reply::Kept;
use crate::loss_history::LossHistory;
use crate::record::RoundRecord;
use crate::state::ServerState;
use crate::{FlError, Result};

/// The `[checkpoint]` table. It changes no result, and may be changed when a run is resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// States that are kept, ≥ 1: of the newest rounds; default 2.
    pub keep: usize,
    /// A client's work is also kept every so many training steps, ≥ 1, and where the generator is the server's, the
    /// whole round. When absent, a run that is killed loses the work of the clients at work (one that is interrupted by
    /// Ctrl-C or SIGTERM does not), or the round of MD-GAN and UA-GAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<u64>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { keep: 2, every_steps: None }
    }
}

impl CheckpointConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        let keys = [("keep", self.keep == 0), ("every_steps", self.every_steps == Some(0))];
        match keys.into_iter().find(|(_, zero)| *zero) {
            Some((key, _)) => Err(FlError::Config(format!("checkpoint.{key} = 0 must be at least 1"))),
            None => Ok(()),
        }
    }
}

/// Which run a checkpoint belongs to: SHA-256, as hex, of what its bits depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId {
    /// Of the config, but for keys that may change when a run is resumed.
    pub config: String,
    /// Of the images and who has which.
    pub data: String,
}

/// Where a run can go on from.
#[derive(Debug)]
pub struct Checkpoint {
    /// The server's state.
    pub state: ServerState,
    /// The round that was begun and not ended, where the state is inside of one.
    pub open: Option<OpenRound>,
    /// What the driver's owner keeps with it.
    pub notes: Value,
}

/// A round that has begun.
#[derive(Debug)]
pub struct OpenRound {
    /// What is known of it so far.
    pub(crate) record: RoundRecord,
    /// LossHistory of each client, where the round is of many exchanges.
    pub(crate) steps: BTreeMap<ClientName, LossHistory>,
}

/// The head of a state's file.
#[derive(Serialize, Deserialize)]
struct Head {
    run: RunId,
    #[serde(flatten)]
    moment: Moment,
    record: Option<RoundRecord>,
    steps: BTreeMap<ClientName, [u64; 2]>,
    notes: Value,
}

/// Prefixes of the tensors in a state's file.
const SERVER: &str = "server";
const LOSSES: &str = "losses";

/// How far a run is: rounds done, and exchanges of the one after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// Rounds done.
    pub round: u32,
    /// Exchanges done of the round after those.
    pub exchanges: u64,
}

impl Moment {
    /// Of the server.
    pub fn of(state: &ServerState) -> Self {
        Self { round: state.round, exchanges: state.exchanges }
    }

    fn file_name(self) -> String {
        let Self { round, exchanges } = self;
        let inside = if exchanges > 0 { format!("+{exchanges:06}") } else { String::new() };
        format!("{}{inside}.safetensors", round_name(round))
    }

    /// Of a file with the name [`file_name`](Self::file_name).
    fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_prefix("round_")?.strip_suffix(".safetensors")?;
        let (round, exchanges) = name.split_once('+').unwrap_or((name, "0"));
        Some(Self { round: round.parse().ok()?, exchanges: exchanges.parse().ok()? })
    }
}

fn round_name(round: u32) -> String {
    format!("round_{round:04}")
}

/// The folder `checkpoints/` of a run.
#[derive(Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    run: RunId,
    config: CheckpointConfig,
    /// OnStep what is found unusable.
    say: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Checkpoints {
    /// Those of `run` in `folder`, which is made when there is something to keep; `say` is told in a line of each file
    /// that is found unusable.
    pub fn new(
        folder: PathBuf,
        run: RunId,
        config: CheckpointConfig,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { folder, run, config, say: Arc::new(say) }
    }

    /// Training steps after which a client's work is kept.
    pub(crate) fn every_steps(&self) -> Option<u64> {
        self.config.every_steps
    }

    /// Keeps `state`, and lets go what is older than the config says and what the round that ended has left.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    pub fn save(&self, state: &ServerState, open: Option<&OpenRound>, notes: Value) -> Result<()> {
        let moment = Moment::of(state);
        let steps = open.map(|open| &open.steps).into_iter().flatten();
        let head = Head {
            run: self.run.clone(),
            moment,
            record: open.map(|open| open.record.clone()),
            steps: steps.clone().map(|(client, steps)| (client.clone(), [steps.total, steps.batch_size])).collect(),
            notes,
        };
        let losses: Params = steps.map(|(client, steps)| (format!("{LOSSES}.{client}"), steps.to_array())).collect();
        make_folder(&self.folder)?;
        let params = state.params.clone().named_under(SERVER).merged_with(losses);
        sealed::save(&self.folder.join(moment.file_name()), &head, &params)?;
        self.prune(moment)
    }

    /// The newest state that is whole and `usable`, which gives the reason when it is not; nothing when none was kept yet.
    ///
    /// # Errors
    /// [`FlError::ForeignCheckpoint`] for one of another run, [`FlError::NoCheckpoint`] when there are some and all are
    /// unusable.
    pub fn latest(
        &self,
        usable: impl Fn(&Checkpoint) -> std::result::Result<(), String>,
    ) -> Result<Option<Checkpoint>> {
        let moments = self.moments()?;
        let some = !moments.is_empty();
        for moment in moments {
            let path = self.folder.join(moment.file_name());
            let whole = match sealed::load::<Head>(&path) {
                Ok((head, params)) => self.checked(&path, moment, head, &params)?,
                Err(NnError::Sealed { reason, .. }) => Err(reason),
                Err(error) => return Err(error.into()),
            };
            match whole.and_then(|checkpoint| usable(&checkpoint).map(|()| checkpoint)) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(reason) => (self.say)(&format!("{} {reason}; the one before it is looked at", path.display())),
            }
        }
        if some { Err(FlError::NoCheckpoint { folder: self.folder.clone() }) } else { Ok(None) }
    }

    /// Copies from the folder `donor` the newest state of at most `most` whole rounds, as one of the run `self`, and
    /// answers whether there was one. It is for the caller to know that the two runs' first rounds are the same.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn adopt(&self, donor: &Path, most: u32) -> Result<bool> {
        let other = Self { folder: donor.into(), ..self.clone() };
        let whole = other.moments()?.into_iter().filter(|moment| moment.exchanges == 0 && moment.round <= most);
        for moment in whole {
            let (head, params) = match sealed::load::<Head>(&donor.join(moment.file_name())) {
                Ok(whole) => whole,
                // It costs the work to come to it again, and no more.
                Err(NnError::Sealed { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if head.moment == moment && head.record.is_none() {
                make_folder(&self.folder)?;
                let head = Head { run: RunId { config: self.run.config.clone(), ..head.run }, ..head };
                sealed::save(&self.folder.join(moment.file_name()), &head, &params)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn checked(
        &self,
        path: &Path,
        moment: Moment,
        head: Head,
        params: &Params,
    ) -> Result<std::result::Result<Checkpoint, String>> {
        if head.run != self.run {
            let what = if head.run.config == self.run.config { "data" } else { "config" };
            return Err(FlError::ForeignCheckpoint { path: path.into(), what });
        }
        if head.moment != moment {
            return Ok(Err("was renamed: it is another round's".into()));
        }
        let steps = head.steps.into_iter().map(|(client, about)| {
            let losses = params.get(&format!("{LOSSES}.{client}"))?;
            Ok((client, LossHistory::of_array(about, losses)))
        });
        let steps = steps.collect::<Result<_>>()?;
        let Moment { round, exchanges } = moment;
        let state = ServerState { round, exchanges, params: params.under(SERVER) };
        let open = head.record.map(|record| OpenRound { record, steps });
        Ok(Ok(Checkpoint { state, open, notes: head.notes }))
    }

    /// All states, newest first.
    fn moments(&self) -> Result<Vec<Moment>> {
        let mut moments: Vec<Moment> = list(&self.folder)?.iter().filter_map(|path| Moment::of_file(path)).collect();
        moments.sort_unstable_by(|a, b| b.cmp(a));
        Ok(moments)
    }

    /// Keeps the newest of the states up to `now`, and no replies of rounds that are done. Later states are of a future
    /// that was given up.
    fn prune(&self, now: Moment) -> Result<()> {
        let (past, future): (Vec<_>, Vec<_>) = self.moments()?.into_iter().partition(|&moment| moment <= now);
        for moment in past.iter().skip(self.config.keep).chain(&future) {
            remove(fs::remove_file, &self.folder.join(moment.file_name()))?;
        }
        self.let_go_of_rounds(now.round)
    }

    /// Removes the replies of the rounds up to `last`.
    pub(crate) fn let_go_of_rounds(&self, last: u32) -> Result<()> {
        let done = list(&self.folder)?.into_iter().filter(|path| round_of_folder(path).is_some_and(|r| r <= last));
        done.into_iter().try_for_each(|folder| remove(fs::remove_dir_all, &folder))
    }

    /// The earliest state that is kept.
    pub(crate) fn oldest(&self) -> Result<Option<Moment>> {
        Ok(self.moments()?.pop())
    }
}

fn round_of_folder(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("round_")?.parse().ok()
}

fn make_folder(folder: &Path) -> Result<()> {
    make_private_folder(folder).map_err(|source| FlError::Io { path: folder.into(), source })
}

/// What lies in `folder`; nothing when it is not there.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| FlError::Io { path: folder.into(), source };
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Removes what may be gone already.
fn remove(how: fn(PathBuf) -> std::io::Result<()>, path: &Path) -> Result<()> {
    match how(path.into()) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(FlError::Io { path: path.into(), source }),
        _ => Ok(()),
    }
}
