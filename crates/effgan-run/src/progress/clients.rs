//! The progress of clients within a round, updated by many threads after every training step.
//!
//! Each client has a lock of its own, and the map of all clients is written only when a client begins: threads do not wait for each other.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};

use effgan_data::ClientName;
use effgan_fl::StepRecord;

use crate::record::events::LossCurve;

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
    /// Discriminator loss, in nats: the mean over the last 50 steps, where older ones fade out.
    pub loss_d: f64,
    /// Generator loss, likewise.
    pub loss_g: f64,
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
            rounds.entry(record.round).or_default().entry(record.client.clone()).or_default();
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
#[derive(Default)]
struct ClientRound {
    step: u64,
    steps: u64,
    images: u64,
    /// Recent losses of discriminator and generator.
    recent: [f64; 2],
    /// For each part of the round: steps, and the sums of discriminator and generator losses.
    sums: Vec<(u64, f64, f64)>,
}

impl ClientRound {
    fn add(&mut self, record: &StepRecord) {
        let losses = [0, 1].map(|loss| f64::from(record.losses[loss]));
        self.step = record.step;
        self.steps = record.steps;
        self.images += record.batch_size;
        let weight = 1.0 / record.step.min(RECENT) as f64;
        self.recent.iter_mut().zip(losses).for_each(|(recent, loss)| *recent += weight * (loss - *recent));

        let part = ((record.step - 1) * PARTS.min(record.steps) / record.steps) as usize;
        if self.sums.len() <= part {
            self.sums.resize(part + 1, (0, 0.0, 0.0));
        }
        let (steps, d, g) = &mut self.sums[part];
        *steps += 1;
        *d += losses[0];
        *g += losses[1];
    }

    fn into_curve(self, round: u32, client: String) -> LossCurve {
        let mean = |sum: fn(&(u64, f64, f64)) -> f64| self.sums.iter().map(|sums| sum(sums) / sums.0 as f64).collect();
        LossCurve { round, client, steps: self.steps, loss_d: mean(|sums| sums.1), loss_g: mean(|sums| sums.2) }
    }

    fn progress(&self, client: &ClientName) -> ClientProgress {
        let Self { step, steps, images, recent: [loss_d, loss_g], .. } = *self;
        ClientProgress { client: client.to_string(), step, steps, images, loss_d, loss_g }
    }
}

#[cfg(test)]
mod tests {
    use effgan_nn::gan::Losses;

    use super::*;

    fn record(client: &str, round: u32, step: u64, steps: u64, discriminator: f32) -> StepRecord {
        let losses = Losses { discriminator, generator: 2.0 * discriminator };
        StepRecord { client: ClientName::new(client).unwrap(), round, step, steps, batch_size: 16, losses }
    }

    #[test]
    fn eighty_steps_are_forty_means_of_two() {
        let clients = Clients::default();
        (1..=80).for_each(|step| clients.step(&record("a", 1, step, 80, step as f32)));
        let [curve] = &clients.take_losses(1)[..] else { panic!("one client, one curve") };
        assert_eq!((curve.loss_d.len(), curve.loss_d[0], curve.loss_d[39]), (40, 1.5, 79.5));
        assert_eq!((curve.loss_g.len(), curve.loss_g[39], curve.steps), (40, 159.0, 80));
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
        assert_eq!(progress(2, 4.0).loss_d, 2.5);
        (3..=1000).for_each(|step| drop(progress(step, 7.0)));
        let last = clients.progress().remove(0);
        // (49/50)^950 of the first losses is left.
        assert!((last.loss_d - 7.0).abs() < 1e-6 && (last.loss_g - 14.0).abs() < 1e-6, "{last:?}");
        assert_eq!((last.step, last.images), (1000, 16_000));
    }
}
