//! Finished replies of the open round, and what clients at work have come to.

use std::fs;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_nn::{NnError, Params, sealed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Checkpoints, RunId, make_folder, remove, round_name};
use crate::Result;
use crate::loss_history::LossHistory;
use crate::message::{Exchange, ExchangeKind, Numbers, Update};
use crate::state::ClientState;
use crate::step_observer::TrainingState;

/// Tensors of a reply's file.
const UPDATE: &str = "update";
const MEMORY: &str = "memory";
/// Tensors of a work's file.
const WORK: &str = "work";
const LOSSES: &str = "losses";

/// A finished reply with all that goes with it.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) update: Update,
    /// What the client remembers after it.
    pub(crate) memory: ClientState,
    pub(crate) steps: LossHistory,
    /// Wall time of the work.
    pub(crate) seconds: f64,
}

/// What a file answers: a head that differs in one of these is of another message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    run: RunId,
    round: u32,
    kind: ExchangeKind,
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
struct WorkHead {
    asked: Asked,
    steps: [u64; 2],
}

impl Checkpoints {
    /// Keeps the reply of `client`, and lets its work go.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep_reply(&self, exchange: &Exchange, client: &ClientName, kept: &Kept) -> Result<()> {
        let Kept { update, memory, steps, seconds } = kept;
        let head = ReplyHead {
            asked: self.asked(exchange, client),
            num_examples: update.num_examples,
            metrics: update.metrics.clone(),
            seconds: *seconds,
            steps: [steps.total, steps.batch_size],
        };
        let params = update.params.clone().named_under(UPDATE).merged_with(memory.clone().named_under(MEMORY));
        make_folder(&self.folder_of(exchange))?;
        sealed::save(&self.reply_file(exchange, client), &head, &with_losses(params, steps))?;
        remove(fs::remove_file, &self.work_file(exchange, client))
    }

    /// The reply of `client` that was kept for this very exchange.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(crate) fn reply(&self, exchange: &Exchange, client: &ClientName) -> Result<Option<Kept>> {
        let kept = self.read::<ReplyHead>(&self.reply_file(exchange, client))?;
        let Some((head, params)) = kept.filter(|(head, _)| head.asked == self.asked(exchange, client)) else {
            return Ok(None);
        };
        let ReplyHead { num_examples, metrics, seconds, steps, .. } = head;
        let update = Update { params: params.under(UPDATE), num_examples, metrics };
        let steps = LossHistory::of_array(steps, params.get(LOSSES)?);
        Ok(Some(Kept { update, memory: params.under(MEMORY), steps, seconds }))
    }

    /// Keeps what `client` has come to after `steps`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep_work(
        &self,
        exchange: &Exchange,
        client: &ClientName,
        steps: &LossHistory,
        work: Params,
    ) -> Result<()> {
        let head = WorkHead { asked: self.asked(exchange, client), steps: [steps.total, steps.batch_size] };
        make_folder(&self.folder_of(exchange))?;
        Ok(sealed::save(&self.work_file(exchange, client), &head, &with_losses(work.named_under(WORK), steps))?)
    }

    /// Where `client` left off in this very exchange.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(crate) fn work(&self, exchange: &Exchange, client: &ClientName) -> Result<Option<TrainingState>> {
        let work = self.read::<WorkHead>(&self.work_file(exchange, client))?;
        let Some((head, params)) = work.filter(|(head, _)| head.asked == self.asked(exchange, client)) else {
            return Ok(None);
        };
        let LossHistory { losses, .. } = LossHistory::of_array(head.steps, params.get(LOSSES)?);
        Ok(Some(TrainingState { losses, tensors: params.under(WORK) }))
    }

    /// A sealed file; nothing when there is none or it is unusable, which is told: its work is done again.
    fn read<H: DeserializeOwned>(&self, path: &Path) -> Result<Option<(H, Params)>> {
        match sealed::load(path) {
            Ok(file) => Ok(Some(file)),
            Err(NnError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(NnError::Sealed { path, reason }) => {
                (self.say)(&format!("{} {reason}; its client's work is done again", path.display()));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn asked(&self, exchange: &Exchange, client: &ClientName) -> Asked {
        let Exchange { round, kind, iteration, .. } = *exchange;
        Asked { run: self.run.clone(), round, kind, iteration, client: client.clone() }
    }

    fn folder_of(&self, exchange: &Exchange) -> PathBuf {
        self.folder.join(round_name(exchange.round))
    }

    fn reply_file(&self, exchange: &Exchange, client: &ClientName) -> PathBuf {
        self.folder_of(exchange).join(format!("{client}.safetensors"))
    }

    fn work_file(&self, exchange: &Exchange, client: &ClientName) -> PathBuf {
        self.folder_of(exchange).join(format!("{client}.work.safetensors"))
    }
}

fn with_losses(mut params: Params, steps: &LossHistory) -> Params {
    params.insert(LOSSES, steps.to_array());
    params
}
