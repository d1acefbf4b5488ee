//! The hooks of a run's loop over rounds: records, events and kept states.

use serde_json::Value;

use crate::record::RoundRecord;
use crate::state::ServerState;
use crate::{FlError, Result};

/// Result of a [`RoundObserver`]'s method; an error ends the run.
pub type ObserverResult = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Saves the current state as a checkpoint, together with the observer's own notes (any JSON value).
pub type SaveState<'a> = dyn FnMut(Value) -> Result<()> + 'a;

/// Is called after each round, and decides when the state is saved as a checkpoint.
pub trait RoundObserver {
    /// Called when a round is done. A run that resumes from the state that `save` writes does not repeat this call.
    ///
    /// # Errors
    /// Any error ends the run.
    fn round(&mut self, record: &RoundRecord, state: &ServerState, save: &mut SaveState) -> ObserverResult;

    /// Called within a round of many exchanges, when its state is due to be saved.
    ///
    /// # Errors
    /// Any error ends the run.
    fn mid_round(&mut self, save: &mut SaveState) -> ObserverResult {
        Ok(save(Value::Null)?)
    }
}

impl<F: FnMut(&RoundRecord, &ServerState) -> ObserverResult> RoundObserver for F {
    fn round(&mut self, record: &RoundRecord, state: &ServerState, save: &mut SaveState) -> ObserverResult {
        self(record, state)?;
        Ok(save(Value::Null)?)
    }
}

/// The error of an observer, as one of this crate.
pub(super) fn driver_error(error: Box<dyn std::error::Error + Send + Sync>) -> FlError {
    match error.downcast::<FlError>() {
        Ok(error) => *error,
        Err(error) => FlError::Driver(error),
    }
}
