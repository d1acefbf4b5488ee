//! The losses of a client's steps in a round. They are saved with its work, so that a resumed run can call its observers again
//! for these steps and they see the same steps as in an uninterrupted run.

use effgan_data::ClientName;
use effgan_nn::Array;
use effgan_nn::model::LossName;

use crate::step_observer::{FinishedStep, StepRecord};

/// The losses of one client's steps in a round so far, without gaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LossHistory {
    /// Number of steps that the client does in the round.
    pub(crate) total: u64,
    pub(crate) steps: Vec<FinishedStep>,
}

impl LossHistory {
    /// Whether the history can be one of losses with these `names`: it may come from a file.
    pub(crate) fn fits(&self, names: &[LossName]) -> bool {
        self.steps.len() as u64 <= self.total && self.steps.iter().all(|step| step.losses.len() == names.len())
    }

    /// Adds the next step.
    pub(crate) fn add(&mut self, record: &StepRecord) {
        self.total = record.steps;
        self.steps.push(FinishedStep { batch_size: record.batch_size, losses: record.losses.clone() });
    }

    /// Adds the steps of a later exchange.
    pub(crate) fn extend(&mut self, later: Self) {
        self.total = later.total;
        self.steps.extend(later.steps);
    }

    /// The records of all steps of `client`, from the first of the round. `names` are those of the losses.
    pub(crate) fn records(
        &self,
        client: &ClientName,
        round: u32,
        names: &'static [LossName],
    ) -> impl Iterator<Item = StepRecord> {
        (1..).zip(&self.steps).map(move |(step, FinishedStep { batch_size, losses })| StepRecord {
            client: client.clone(),
            round,
            step,
            steps: self.total,
            batch_size: *batch_size,
            names,
            losses: losses.clone(),
        })
    }

    /// What a file's head says of the history: the number of steps of the round, and how many images each finished step saw; 0
    /// where these numbers differ, which are then in [`to_array`](Self::to_array).
    pub(crate) fn head(&self) -> [u64; 2] {
        let size = self.steps.last().map_or(0, |step| step.batch_size);
        let is_equal = self.steps.iter().all(|step| step.batch_size == size);
        [self.total, if is_equal { size } else { 0 }]
    }

    /// The losses as a tensor with a row for each step, which ends with its number of images where these numbers differ. They
    /// are exact in f32, since no step has 2²⁴ images.
    pub(crate) fn to_array(&self) -> Array {
        let has_sizes = self.head()[1] == 0;
        let size = |step: &FinishedStep| has_sizes.then_some(step.batch_size as f32);
        let row = |step: &FinishedStep| step.losses.iter().copied().chain(size(step)).collect::<Vec<f32>>();
        let rows: Vec<Vec<f32>> = self.steps.iter().map(row).collect();
        Array::new([rows.len(), rows.first().map_or(0, Vec::len)], rows.concat())
    }

    /// The history of a [`head`](Self::head) and its tensor.
    pub(crate) fn of([total, batch_size]: [u64; 2], array: &Array) -> Self {
        // A history without steps has rows of no width.
        let width = array.shape.last().copied().unwrap_or_default().max(1);
        let step = |row: &[f32]| match row {
            [losses @ .., size] if batch_size == 0 => FinishedStep { batch_size: *size as u64, losses: losses.into() },
            losses => FinishedStep { batch_size, losses: losses.into() },
        };
        Self { total, steps: array.values().chunks_exact(width).map(step).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_back_from_its_head_and_tensor() {
        let step = |batch_size, losses: &[f32]| FinishedStep { batch_size, losses: losses.into() };
        for (steps, head, shape) in [
            (vec![], [9, 0], [0, 0]),
            (vec![step(4, &[0.5, 2.0]), step(4, &[0.25, 3.0])], [9, 4], [2, 2]),
            (vec![step(4, &[0.5]), step(65_535, &[0.25])], [9, 0], [2, 2]),
        ] {
            let history = LossHistory { total: 9, steps };
            let array = history.to_array();
            assert_eq!((history.head(), &array.shape[..]), (head, &shape[..]));
            assert_eq!(LossHistory::of(head, &array), history);
        }
    }

    #[test]
    fn a_history_from_a_file_fits_when_it_has_each_loss_of_at_most_all_steps() {
        let names = [LossName { key: "loss_d", of: "d" }, LossName { key: "loss_g", of: "g" }];
        let history = |total, steps: usize, losses: usize| LossHistory {
            total,
            steps: vec![FinishedStep { batch_size: 4, losses: vec![0.5; losses] }; steps],
        };
        assert!(history(3, 3, 2).fits(&names) && history(3, 0, 0).fits(&names));
        for wrong in [history(3, 4, 2), history(3, 2, 1), history(3, 2, 3)] {
            assert!(!wrong.fits(&names), "{wrong:?}");
        }
    }
}
