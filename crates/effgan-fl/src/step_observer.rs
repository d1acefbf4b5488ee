//! The hooks of a client's training loop: progress, interruption, checkpoints of unfinished work.

use std::ops::ControlFlow;

use effgan_data::ClientName;
use effgan_nn::Params;
use effgan_nn::model::LossName;

use crate::message::Update;
use crate::{FlError, Result};

/// One training step of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// The client.
    pub client: ClientName,
    /// Round, from 1.
    pub round: u32,
    /// Step, from 1.
    pub step: u64,
    /// Number of steps that the client does in this round.
    pub steps: u64,
    /// Real images that the step saw.
    pub batch_size: u64,
    /// Names of the losses.
    pub names: &'static [LossName],
    /// Losses of the step, one for each name.
    pub losses: Vec<f32>,
}

impl StepRecord {
    /// Checks that all losses are finite.
    ///
    /// # Errors
    /// [`FlError::NonFiniteLoss`] with the first that is not.
    pub(crate) fn check_finite(&self) -> Result<()> {
        match self.names.iter().zip(&self.losses).find(|(_, value)| !value.is_finite()) {
            None => Ok(()),
            Some((name, &value)) => Err(FlError::NonFiniteLoss {
                network: name.of,
                client: self.client.clone(),
                round: self.round,
                step: self.step,
                steps: self.steps,
                value,
            }),
        }
    }
}

/// Is called after every training step of a client. Progress output, checkpoints and Ctrl-C are implemented behind it.
pub trait StepObserver {
    /// Called after each step; `Break` ends the client's work with [`FlError::Interrupted`].
    fn step(&mut self, record: &StepRecord) -> ControlFlow<()>;

    /// The state in which an earlier start of the program left this work of `steps` steps, if it left one; called before the first
    /// step.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn resume_from(&mut self, _steps: u64) -> Result<Option<TrainingState>> {
        Ok(None)
    }

    /// Whether the state after a new step is to be [saved](Self::save), given the number of the step, from 1.
    fn saves(&self, _step: u64) -> bool {
        false
    }

    /// Saves `state`, in which the last step left the training: a step that [`saves`](Self::saves), or the last one of a work that
    /// is interrupted.
    ///
    /// # Errors
    /// When the state cannot be written.
    fn save(&mut self, _state: Params) -> Result<()> {
        Ok(())
    }

    /// Whether the networks after a new step are to be [kept](Self::keep), given the number of the step, from 1, and the number of all.
    fn keeps(&self, _step: u64, _steps: u64) -> bool {
        false
    }

    /// Keeps what the client would send after the last step, but with all networks: the generator as the server collects it, and the others.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep(&mut self, _update: Update) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&StepRecord) -> ControlFlow<()>> StepObserver for F {
    fn step(&mut self, record: &StepRecord) -> ControlFlow<()> {
        self(record)
    }
}

/// Is called after every training step of every client, from the client's thread; `Break` ends the run.
pub type OnStep<'a> = dyn Fn(&StepRecord) -> ControlFlow<()> + Sync + 'a;

/// A training step that is done.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedStep {
    /// Real images that it saw.
    pub batch_size: u64,
    /// Its losses, in the order of the model's names.
    pub losses: Vec<f32>,
}

/// A snapshot of a client's unfinished training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingState {
    /// The finished steps, from the first.
    pub steps: Vec<FinishedStep>,
    /// All tensors that later steps depend on, under the names of the algorithm that saved them.
    pub tensors: Params,
}
