//! The progress of clients within a round, updated by many threads after every training step.
//!
//! Each client has a lock of its own, and the map of all clients is written only when a client begins: threads do not wait for each other.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};

use effgan_data::ClientName;
use effgan_fl::StepRecord;
use effgan_nn::model::LossName;

use crate::record::events::LossCurve;
use crate::record::loss_key::is_loss;

/// Parts of a round over which losses are averaged.
const PARTS: u64 = 40;
/// Steps over which a recent loss is averaged.
const RECENT: u64 = 50;

/// The clients that have done a step in a round that is not finished yet, by round and name.
#[derive(Default)]
pub struct Clients(RwLock<BTreeMap<u32, BTreeMap<ClientName, Mutex<ClientRound>>>>);

/// How far a client has come in its round.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientProgress {
    /// The client.
    pub client: String,
    /// Training steps done.
    pub step: u64,
    /// Training steps of the client in the round, ≥ 1.
    pub steps: u64,
    /// Images that it has trained on, each as often as it was used.
    pub images: u64,
    /// Each loss of the model under its key: the mean over the last 50 steps, where older ones fade out.
    pub losses: Vec<(&'static str, f64)>,
}

impl ClientProgress {
    /// Whether the client has done all steps of its round.
    pub fn is_done(&self) -> bool {
        self.step >= self.steps
    }
}

impl Clients {
    /// Records a training step.
    pub fn step(&self, record: &StepRecord) {
        if !self.add(record) {
            let mut rounds = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let of_round = rounds.entry(record.round).or_default();
            of_round.entry(record.client.clone()).or_insert_with(|| Mutex::new(ClientRound::begun(record)));
            drop(rounds);
            self.add(record);
        }
    }

    /// Records a step of a client that has begun; `false` for any other client.
    fn add(&self, record: &StepRecord) -> bool {
        let rounds = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let steps = rounds.get(&record.round).and_then(|clients| clients.get(&record.client));
        steps.map(|steps| steps.lock().unwrap_or_else(PoisonError::into_inner).add(record)).is_some()
    }

    /// Removes and returns the loss curves of a round, by client name. Earlier rounds are removed, too.
    pub fn take_losses(&self, round: u32) -> Vec<LossCurve> {
        let mut rounds = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let later = rounds.split_off(&(round + 1));
        let mut done = std::mem::replace(&mut *rounds, later);
        drop(rounds);
        let curve = |(client, steps): (ClientName, Mutex<ClientRound>)| {
            steps.into_inner().unwrap_or_else(PoisonError::into_inner).into_curve(round, client.to_string())
        };
        done.remove(&round).into_iter().flatten().map(curve).collect()
    }

    /// The clients that have done a step in the earliest unfinished round, by name.
    pub fn progress(&self) -> Vec<ClientProgress> {
        let rounds = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let clients = rounds.values().next().into_iter().flatten();
        let progress = |(client, steps): (&ClientName, &Mutex<ClientRound>)| {
            steps.lock().unwrap_or_else(PoisonError::into_inner).progress(client)
        };
        clients.map(progress).collect()
    }
}

/// One client's steps in one round.
struct ClientRound {
    /// Names of the model's losses.
    names: &'static [LossName],
    step: u64,
    steps: u64,
    images: u64,
    /// Recent losses, one for each name.
    recent: Vec<f64>,
    /// Steps of each part of the round so far.
    part_steps: Vec<u64>,
    /// Sums over the steps of each part, one row of all losses after the other.
    sums: Vec<f64>,
}

impl ClientRound {
    /// The work of the client of `record`, its first step, which is not added yet. There is room for all parts, so that
    /// no later step allocates.
    ///
    /// # Panics
    /// When a model has a loss whose key is not that of a loss, which no file of a run would hold.
    fn begun(record: &StepRecord) -> Self {
        let strange = record.names.iter().find(|name| !is_loss(name.key));
        assert_eq!(strange, None, "the key of a loss is `loss_` and 1 to 32 of a-z, 0-9 and `_`");
        let (names, parts) = (record.names, num_parts(record.steps) as usize);
        let (part_steps, sums) = (Vec::with_capacity(parts), Vec::with_capacity(parts * names.len()));
        Self { names, step: 0, steps: 0, images: 0, recent: vec![0.0; names.len()], part_steps, sums }
    }

    fn add(&mut self, record: &StepRecord) {
        let losses = || record.losses.iter().copied().map(f64::from);
        self.step = record.step;
        self.steps = record.steps;
        self.images += record.batch_size;
        let weight = 1.0 / record.step.min(RECENT) as f64;
        self.recent.iter_mut().zip(losses()).for_each(|(recent, loss)| *recent += weight * (loss - *recent));

        let part = ((record.step - 1) * num_parts(record.steps) / record.steps) as usize;
        let row = part * self.names.len()..(part + 1) * self.names.len();
        if self.part_steps.len() <= part {
            self.part_steps.resize(part + 1, 0);
            self.sums.resize(row.end, 0.0);
        }
        self.part_steps[part] += 1;
        self.sums[row].iter_mut().zip(losses()).for_each(|(sum, loss)| *sum += loss);
    }

    fn into_curve(self, round: u32, client: String) -> LossCurve {
        let rows = || self.part_steps.iter().zip(self.sums.chunks(self.names.len()));
        let means = |loss: usize| rows().map(|(&steps, sums)| sums[loss] / steps as f64).collect();
        let losses = self.names.iter().enumerate().map(|(loss, name)| (name.key.to_owned(), means(loss))).collect();
        LossCurve { round, client, steps: self.steps, losses }
    }

    fn progress(&self, client: &ClientName) -> ClientProgress {
        let Self { step, steps, images, .. } = *self;
        let losses = self.names.iter().map(|name| name.key).zip(self.recent.iter().copied()).collect();
        ClientProgress { client: client.to_string(), step, steps, images, losses }
    }
}

/// Parts of a round of `steps` steps.
fn num_parts(steps: u64) -> u64 {
    PARTS.min(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[LossName] = &[
        LossName { key: "loss_pixels", of: "pixels" },
        LossName { key: "loss_kl", of: "kl" },
        LossName { key: "loss_z", of: "z" },
    ];

    /// A step with the losses `loss`, twice and three times that.
    fn record(client: &str, round: u32, step: u64, steps: u64, loss: f32) -> StepRecord {
        let (client, losses) = (ClientName::new(client).unwrap(), vec![loss, 2.0 * loss, 3.0 * loss]);
        StepRecord { client, round, step, steps, batch_size: 16, names: NAMES, losses }
    }

    #[test]
    fn eighty_steps_are_forty_means_of_two() {
        let clients = Clients::default();
        (1..=80).for_each(|step| clients.step(&record("a", 1, step, 80, step as f32)));
        let [curve] = &clients.take_losses(1)[..] else { panic!("one client, one curve") };
        let ends = curve.losses.iter().map(|(key, means)| (key.as_str(), means.len(), means[0], means[39]));
        let expected = [("loss_kl", 40, 3.0, 159.0), ("loss_pixels", 40, 1.5, 79.5), ("loss_z", 40, 4.5, 238.5)];
        assert_eq!(ends.collect::<Vec<_>>(), expected);
        assert_eq!(curve.steps, 80);
    }

    #[test]
    fn a_step_after_the_first_makes_no_buffer_grow() {
        for steps in [1, 39, 40, 41, 1000] {
            let mut round = ClientRound::begun(&record("a", 1, 1, steps, 1.0));
            let room = |round: &ClientRound| [round.part_steps.capacity(), round.sums.capacity()];
            let before = room(&round);
            (1..=steps).for_each(|step| round.add(&record("a", 1, step, steps, 1.0)));
            assert_eq!(room(&round), before, "{steps} steps");
        }
    }

    #[test]
    fn losses_of_a_round_are_returned_once_by_client_name() {
        let clients = Clients::default();
        for (client, round) in [("b", 1), ("a", 1), ("a", 2)] {
            clients.step(&record(client, round, 1, 1, 3.0));
        }
        let names =
            |round| -> Vec<String> { clients.take_losses(round).into_iter().map(|curve| curve.client).collect() };
        assert_eq!([names(1), names(1), names(2)], [vec!["a".to_owned(), "b".into()], vec![], vec!["a".into()]]);
    }

    #[test]
    fn a_recent_loss_is_a_mean_at_first_and_forgets_old_steps_later() {
        let clients = Clients::default();
        let progress = |step, loss| {
            clients.step(&record("a", 1, step, 1000, loss));
            clients.progress().remove(0)
        };
        progress(1, 1.0);
        assert_eq!(progress(2, 4.0).losses, [("loss_pixels", 2.5), ("loss_kl", 5.0), ("loss_z", 7.5)]);
        (3..=1000).for_each(|step| drop(progress(step, 7.0)));
        let last = clients.progress().remove(0);
        // (49/50)^950 of the first losses is left.
        let is_near = |((_, loss), expected): (&(&str, f64), f64)| (loss - expected).abs() < 1e-6;
        assert!(last.losses.iter().zip([7.0, 14.0, 21.0]).all(is_near), "{last:?}");
        assert_eq!((last.step, last.images), (1000, 16_000));
    }
}
