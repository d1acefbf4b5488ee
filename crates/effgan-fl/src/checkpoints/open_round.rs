//! Files of the open round: finished replies, and the unfinished training of clients.

use std::fs;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_nn::model::LossName;
use effgan_nn::{NnError, Params, sealed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Checkpoints, RunId, list, make_folder, remove, round_name};
use crate::Result;
use crate::loss_history::LossHistory;
use crate::message::{ExchangeId, Numbers, Update};
use crate::reply::{Place, Reply};
use crate::state::ClientState;
use crate::step_observer::TrainingState;

/// Prefixes of the tensors in a reply's file.
const UPDATE: &str = "update";
const CLIENT_STATE: &str = "memory";
/// Prefixes of the tensors in the file of unfinished training.
const TRAINING: &str = "work";
const LOSSES: &str = "losses";
/// Between a client's name and a number of steps, in the name of the file of what was kept then.
const KEPT: &str = ".kept_";

/// The broadcast that a file belongs to. A file whose head differs in any field belongs to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    run: RunId,
    round: u32,
    /// The [name](crate::message::ExchangeKind::name) of the kind; `iteration` tells the two halves of a swap apart.
    kind: String,
    iteration: u64,
    client: ClientName,
}

#[derive(Serialize, Deserialize)]
struct ReplyHead {
    asked: Asked,
    num_examples: u64,
    metrics: Numbers,
    seconds: f64,
    steps: [u64; 2],
}

#[derive(Serialize, Deserialize)]
struct TrainingHead {
    asked: Asked,
    steps: [u64; 2],
}

#[derive(Serialize, Deserialize)]
struct KeptHead {
    asked: Asked,
    num_examples: u64,
    metrics: Numbers,
}

impl AsRef<Asked> for KeptHead {
    fn as_ref(&self) -> &Asked {
        &self.asked
    }
}

impl AsRef<Asked> for ReplyHead {
    fn as_ref(&self) -> &Asked {
        &self.asked
    }
}

impl AsRef<Asked> for TrainingHead {
    fn as_ref(&self) -> &Asked {
        &self.asked
    }
}

impl Checkpoints {
    /// Saves `reply` and the client's state after it, and removes the client's unfinished training. A failed reply is not saved, and
    /// neither is one whose metrics are not finite.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn save_reply(&self, reply: &mut Reply, state: &ClientState) -> Result<()> {
        let Reply { client, exchange, outcome: Ok(update), seconds, steps, .. } = &*reply else { return Ok(()) };
        // A header in JSON cannot hold NaN or infinity; the intake refuses such a reply at its turn.
        if update.metrics.values().any(|value| !value.is_finite()) {
            return Ok(());
        }
        let head = ReplyHead {
            asked: self.asked(*exchange, client),
            num_examples: update.num_examples,
            metrics: update.metrics.clone(),
            seconds: *seconds,
            steps: steps.head(),
        };
        let params = update.params.clone().named_under(UPDATE).merged_with(state.clone().named_under(CLIENT_STATE));
        make_folder(&self.folder_of(*exchange))?;
        sealed::save(&self.reply_file(*exchange, client), &head, &with_losses(params, steps))?;
        remove(fs::remove_file, &self.training_file(*exchange, client))?;
        reply.place = Place::MemoryAndFile;
        Ok(())
    }

    /// The saved reply of `client` to exactly this exchange, if there is one, and the client's state after it.
    ///
    /// # Errors
    /// When the file exists and cannot be read, or is of another version of the arithmetic.
    pub(crate) fn load_reply(&self, exchange: ExchangeId, client: &ClientName) -> Result<Option<(Reply, ClientState)>> {
        let saved = self.read::<ReplyHead>(&self.reply_file(exchange, client), &self.asked(exchange, client))?;
        let Some((head, params)) = saved else { return Ok(None) };
        let ReplyHead { num_examples, metrics, seconds, steps, .. } = head;
        let update = Update { params: params.under(UPDATE), num_examples, metrics };
        let (steps, place) = (LossHistory::of(steps, params.get(LOSSES)?), Place::MemoryAndFile);
        let reply = Reply { seconds, steps, place, ..Reply::new(client.clone(), exchange, Ok(update)) };
        Ok(Some((reply, params.under(CLIENT_STATE))))
    }

    /// Saves what `client` would send after so many steps as `update` says, to be read by the client alone.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save_kept(&self, exchange: ExchangeId, client: &ClientName, update: &Update) -> Result<()> {
        let Update { params, num_examples, metrics } = update;
        let head =
            KeptHead { asked: self.asked(exchange, client), num_examples: *num_examples, metrics: metrics.clone() };
        make_folder(&self.folder_of(exchange))?;
        let file = format!("{client}{KEPT}{:010}.safetensors", update.steps());
        Ok(sealed::save(&self.folder_of(exchange).join(file), &head, params)?)
    }

    /// What was kept of the work of `client` in exactly this exchange, after the most steps first.
    ///
    /// # Errors
    /// When a file cannot be read, or is of another version of the arithmetic.
    pub(crate) fn load_kept(&self, exchange: ExchangeId, client: &ClientName) -> Result<Vec<Update>> {
        let (asked, mut kept) = (self.asked(exchange, client), Vec::new());
        for path in self.kept_files(exchange, client)? {
            if let Some((head, params)) = self.read::<KeptHead>(&path, &asked)? {
                kept.push(Update { params, num_examples: head.num_examples, metrics: head.metrics });
            }
        }
        kept.sort_by_key(|update| std::cmp::Reverse(update.steps()));
        Ok(kept)
    }

    /// Removes what was kept of the work of `client` in this exchange.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub(crate) fn remove_kept(&self, exchange: ExchangeId, client: &ClientName) -> Result<()> {
        self.kept_files(exchange, client)?.iter().try_for_each(|path| remove(fs::remove_file, path))
    }

    fn kept_files(&self, exchange: ExchangeId, client: &ClientName) -> Result<Vec<PathBuf>> {
        let prefix = format!("{client}{KEPT}");
        let is_kept = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix))
        };
        Ok(list(&self.folder_of(exchange))?.into_iter().filter(is_kept).collect())
    }

    /// Saves the unfinished training of `client` after `steps`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save_training(
        &self,
        exchange: ExchangeId,
        client: &ClientName,
        steps: &LossHistory,
        tensors: Params,
    ) -> Result<()> {
        let head = TrainingHead { asked: self.asked(exchange, client), steps: steps.head() };
        make_folder(&self.folder_of(exchange))?;
        Ok(sealed::save(
            &self.training_file(exchange, client),
            &head,
            &with_losses(tensors.named_under(TRAINING), steps),
        )?)
    }

    /// The saved unfinished training of `client` in exactly this exchange, if there is one. Work of another number of steps than
    /// `total` is of other images, and is not used.
    ///
    /// # Errors
    /// When the file exists and cannot be read, or is of another version of the arithmetic.
    pub(crate) fn load_training(
        &self,
        exchange: ExchangeId,
        client: &ClientName,
        total: u64,
        names: &[LossName],
    ) -> Result<Option<TrainingState>> {
        let path = self.training_file(exchange, client);
        let saved = self.read::<TrainingHead>(&path, &self.asked(exchange, client))?;
        let Some((head, params)) = saved else { return Ok(None) };
        let history = LossHistory::of(head.steps, params.get(LOSSES)?);
        if history.total != total || !history.fits(names) {
            let (line, found) = (path.display(), history.total);
            (self.warn)(&format!(
                "{line} is of {found} steps, and there are {total} now; the client's work is done again"
            ));
            return Ok(None);
        }
        Ok(Some(TrainingState { steps: history.steps, tensors: params.under(TRAINING) }))
    }

    /// Reads a sealed file that belongs to the broadcast `asked`; `None` when it does not exist or belongs to another, or is
    /// unusable, of which `warn` is told: the work is then done again.
    fn read<H: DeserializeOwned + AsRef<Asked>>(&self, path: &Path, asked: &Asked) -> Result<Option<(H, Params)>> {
        match sealed::load::<H>(path) {
            Ok((head, params)) => {
                self.run.check_arithmetic(&head.as_ref().run, path)?;
                Ok((head.as_ref() == asked).then_some((head, params)))
            }
            Err(NnError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(NnError::Sealed { path, reason }) => {
                (self.warn)(&format!("{} {reason}; the client's work is done again", path.display()));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn asked(&self, exchange: ExchangeId, client: &ClientName) -> Asked {
        let ExchangeId { round, kind, iteration } = exchange;
        Asked { run: self.run.clone(), round, kind: kind.name().into(), iteration, client: client.clone() }
    }

    fn folder_of(&self, exchange: ExchangeId) -> PathBuf {
        self.folder.join(round_name(exchange.round))
    }

    fn reply_file(&self, exchange: ExchangeId, client: &ClientName) -> PathBuf {
        self.folder_of(exchange).join(format!("{client}.safetensors"))
    }

    fn training_file(&self, exchange: ExchangeId, client: &ClientName) -> PathBuf {
        self.folder_of(exchange).join(format!("{client}.work.safetensors"))
    }
}

fn with_losses(mut params: Params, steps: &LossHistory) -> Params {
    params.insert(LOSSES, steps.to_array());
    params
}
