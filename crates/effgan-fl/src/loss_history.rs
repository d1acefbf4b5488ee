//! The losses of a client's steps in a round. They are saved with its work, so that a resumed run can call its observers again
//! for these steps and they see the same steps as in an uninterrupted run.

use effgan_data::ClientName;
use effgan_nn::Array;
use effgan_nn::model::LossName;

use crate::step_observer::StepRecord;

/// The losses of one client's steps in a round so far, without gaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LossHistory {
    /// Number of steps that the client does in the round.
    pub(crate) total: u64,
    /// Real images per step.
    pub(crate) batch_size: u64,
    /// One row per step, each with all losses of the model.
    pub(crate) losses: Vec<Vec<f32>>,
}

impl LossHistory {
    /// Adds the next step.
    pub(crate) fn add(&mut self, record: &StepRecord) {
        (self.total, self.batch_size) = (record.steps, record.batch_size);
        self.losses.push(record.losses.clone());
    }

    /// Adds the steps of a later exchange.
    pub(crate) fn extend(&mut self, later: Self) {
        (self.total, self.batch_size) = (later.total, later.batch_size);
        self.losses.extend(later.losses);
    }

    /// The records of all steps of `client`, from the first of the round. `names` are those of the losses.
    pub(crate) fn records(
        &self,
        client: &ClientName,
        round: u32,
        names: &'static [LossName],
    ) -> impl Iterator<Item = StepRecord> {
        let Self { total: steps, batch_size, .. } = *self;
        (1..).zip(&self.losses).map(move |(step, losses)| StepRecord {
            client: client.clone(),
            round,
            step,
            steps,
            batch_size,
            names,
            losses: losses.clone(),
        })
    }

    /// The losses as a tensor `[steps, losses]`.
    pub(crate) fn to_array(&self) -> Array {
        let width = self.losses.first().map_or(0, Vec::len);
        Array::new([self.losses.len(), width], self.losses.concat())
    }

    /// The history of a tensor made by [`to_array`](Self::to_array).
    pub(crate) fn of_array([total, batch_size]: [u64; 2], losses: &Array) -> Self {
        // A history without steps has rows of no width.
        let width = losses.shape.last().copied().unwrap_or_default().max(1);
        Self { total, batch_size, losses: losses.values().chunks_exact(width).map(<[f32]>::to_vec).collect() }
    }
}
