//! What clients at work tell of their steps. Many threads call it after every step, so each client has a lock of its own, and what all share is
//! only read.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};

use effgan_data::ClientName;
use effgan_fl::StepRecord;

use crate::record::events::LossCurve;

/// Stretches of a round over which losses are averaged.
const STRETCHES: u64 = 40;
/// Course over which a recent loss is averaged.
const RECENT: u64 = 50;

/// All clients that did a step in a round that is not yet written down, by round and name.
#[derive(Default)]
pub struct Clients(RwLock<BTreeMap<u32, BTreeMap<ClientName, Mutex<Course>>>>);

/// How far a client is within a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub client: String,
    /// Course done.
    pub step: u64,
    /// Course of its round, ≥ 1.
    pub steps: u64,
    /// Images of all its steps.
    pub images: u64,
    /// Means over its last steps.
    pub loss_d: f64,
    pub loss_g: f64,
}

impl Standing {
    /// Whether the client has done all steps of its round.
    pub fn is_done(&self) -> bool {
        self.step >= self.steps
    }
}

impl Clients {
    /// A training step was done.
    pub fn step(&self, record: &StepRecord) {
        if !self.add(record) {
            let mut rounds = self.0.write().unwrap_or_else(PoisonError::into_inner);
            rounds.entry(record.round).or_default().entry(record.client.clone()).or_default();
            drop(rounds);
            self.add(record);
        }
    }

    /// Adds a step of a client that is known.
    fn add(&self, record: &StepRecord) -> bool {
        let rounds = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let steps = rounds.get(&record.round).and_then(|clients| clients.get(&record.client));
        steps.map(|steps| steps.lock().unwrap_or_else(PoisonError::into_inner).add(record)).is_some()
    }

    /// The loss curves of a round, by client. They are forgotten, and whatever came before them.
    pub fn take_losses(&self, round: u32) -> Vec<LossCurve> {
        let mut rounds = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let later = rounds.split_off(&(round + 1));
        let mut done = std::mem::replace(&mut *rounds, later);
        drop(rounds);
        let curve = |(client, steps): (ClientName, Mutex<Course>)| {
            steps.into_inner().unwrap_or_else(PoisonError::into_inner).into_curve(round, client.to_string())
        };
        done.remove(&round).into_iter().flatten().map(curve).collect()
    }

    /// Everyone who did a step in the earliest round that is not yet written down, by name.
    pub fn standings(&self) -> Vec<Standing> {
        let rounds = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let clients = rounds.values().next().into_iter().flatten();
        let standing = |(client, steps): (&ClientName, &Mutex<Course>)| {
            steps.lock().unwrap_or_else(PoisonError::into_inner).standing(client)
        };
        clients.map(standing).collect()
    }
}

/// How one client's round goes.
#[derive(Default)]
struct Course {
    step: u64,
    steps: u64,
    images: u64,
    /// Discriminator, generator.
    recent: [f64; 2],
    /// Of each stretch: steps, discriminator, generator.
    sums: Vec<(u64, f64, f64)>,
}

impl Course {
    fn add(&mut self, record: &StepRecord) {
        let losses = [record.losses.discriminator, record.losses.generator].map(f64::from);
        self.step = record.step;
        self.steps = record.steps;
        self.images += record.batch_size;
        let weight = 1.0 / record.step.min(RECENT) as f64;
        self.recent.iter_mut().zip(losses).for_each(|(recent, loss)| *recent += weight * (loss - *recent));

        let stretch = ((record.step - 1) * STRETCHES.min(record.steps) / record.steps) as usize;
        if self.sums.len() <= stretch {
            self.sums.resize(stretch + 1, (0, 0.0, 0.0));
        }
        let (steps, d, g) = &mut self.sums[stretch];
        *steps += 1;
        *d += losses[0];
        *g += losses[1];
    }

    fn into_curve(self, round: u32, client: String) -> LossCurve {
        let mean = |sum: fn(&(u64, f64, f64)) -> f64| self.sums.iter().map(|sums| sum(sums) / sums.0 as f64).collect();
        LossCurve { round, client, steps: self.steps, loss_d: mean(|sums| sums.1), loss_g: mean(|sums| sums.2) }
    }

    fn standing(&self, client: &ClientName) -> Standing {
        let Self { step, steps, images, recent: [loss_d, loss_g], .. } = *self;
        Standing { client: client.to_string(), step, steps, images, loss_d, loss_g }
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
    fn losses_are_taken_once_by_round_and_client() {
        let clients = Clients::default();
        for (client, round) in [("b", 1), ("a", 1), ("a", 2)] {
            clients.step(&record(client, round, 1, 1, 3.0));
        }
        let names =
            |round| -> Vec<String> { clients.take_losses(round).into_iter().map(|curve| curve.client).collect() };
        assert_eq!([names(1), names(1), names(2)], [vec!["a".to_owned(), "b".into()], vec![], vec!["a".into()]]);
    }

    #[test]
    fn a_recent_loss_is_the_mean_at_first_and_forgets_later() {
        let clients = Clients::default();
        let standing = |step, loss| {
            clients.step(&record("a", 1, step, 1000, loss));
            clients.standings().remove(0)
        };
        standing(1, 1.0);
        assert_eq!(standing(2, 4.0).loss_d, 2.5);
        (3..=1000).for_each(|step| drop(standing(step, 7.0)));
        let last = clients.standings().remove(0);
        // (49/50)^950 of what came first is left.
        assert!((last.loss_d - 7.0).abs() < 1e-6 && (last.loss_g - 14.0).abs() < 1e-6, "{last:?}");
        assert_eq!((last.step, last.images), (1000, 16_000));
    }
}
