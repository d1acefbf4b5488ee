//! Simulated clients that send poisoned updates, to measure how robust an aggregation is.
//!
//! The attackers are drawn once from the seed and stay the same in all rounds. (They are not the first clients by name, because in some
//! partitions these are the largest.) An attacker trains like every other client and then poisons its update, in every reply, including the
//! generator that the server collects. A tensor that it was not sent, such as a gradient of MD-GAN, is an update from zero. Running
//! statistics are left unchanged: a variance below 0 would give the attacker away.

use effgan_data::ClientName;
use effgan_nn::networks::is_running_statistic;
use effgan_nn::{Array, Params, Purpose, Streams};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::message::{Broadcast, ExchangeKind, Update};
use crate::update_vector::{norm, scale};
use crate::{FlError, Result};

/// The `[simulation.attack]` table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// How attackers falsify their updates.
    pub kind: AttackKind,
    /// Number of attackers, ≥ 1 and fewer than all clients.
    pub clients: usize,
    /// Norm of the poisoned update in units of the honest update's norm, > 0.
    pub factor: f64,
}

/// What an attacker sends in place of its update Δ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackKind {
    /// factor · Δ.
    Scaled,
    /// −factor · Δ.
    SignFlipped,
    /// Gaussian noise of norm factor · ‖Δ‖.
    Random,
}

impl Attack {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { clients, factor, .. } = *self;
        if clients == 0 {
            return Err(FlError::Config("simulation.attack.clients = 0 must be at least 1".into()));
        }
        if !(factor > 0.0 && factor.is_finite()) {
            return Err(FlError::Config(format!("simulation.attack.factor = {factor:?} must be above 0 and finite")));
        }
        Ok(())
    }

    /// The attackers among `clients`, sorted by name.
    pub(crate) fn attackers(&self, seed: u64, clients: &[ClientName]) -> Vec<ClientName> {
        let mut drawn = clients.to_vec();
        drawn.shuffle(&mut Streams::of_run(seed).at(Purpose::Attack, 0));
        drawn.truncate(self.clients);
        drawn.sort();
        drawn
    }

    /// Poisons an attacker's update, the reply to `broadcast`.
    pub(crate) fn poison(&self, broadcast: &Broadcast, streams: &Streams, update: &mut Update) -> Result<()> {
        // In a swap, networks are handed on unchanged: there is no update to poison.
        if matches!(broadcast.kind, ExchangeKind::SwapUp | ExchangeKind::SwapDown) {
            return Ok(());
        }
        let (mut trained, running) = split(&update.params);
        let before = start_of(&trained, &broadcast.params);
        match self.kind {
            AttackKind::Scaled => scale(&before, &mut trained, self.factor)?,
            AttackKind::SignFlipped => scale(&before, &mut trained, -self.factor)?,
            AttackKind::Random => {
                let length = self.factor * norm(&before, &trained)?;
                trained = noisy(&before, broadcast.iteration, streams);
                let drawn = norm(&before, &trained)?;
                scale(&before, &mut trained, length / drawn)?;
            }
        }
        update.params = trained.merged_with(running);
        Ok(())
    }
}

/// The trainable tensors, and the running statistics.
fn split(params: &Params) -> (Params, Params) {
    let part = |running: bool| -> Params {
        let tensors = params.iter().filter(|(name, _)| is_running_statistic(name) == running);
        tensors.map(|(name, array)| (name.clone(), array.clone())).collect()
    };
    (part(false), part(true))
}

/// The start of each tensor's update: the tensor as it was sent, or zero.
fn start_of(trained: &Params, sent: &Params) -> Params {
    let zero = |array: &Array| Array::new(array.shape.clone(), vec![0.0; array.values().len()]);
    let start =
        |(name, array): (&String, &Array)| (name.clone(), sent.get(name).map_or_else(|_| zero(array), Array::clone));
    trained.iter().map(start).collect()
}

/// `before` with a standard normal number added to each value.
fn noisy(before: &Params, iteration: u64, streams: &Streams) -> Params {
    let mut noisy = before.clone();
    for ((_, array), step) in noisy.iter_mut().zip(iteration * before.len() as u64..) {
        let noise = streams.normal(Purpose::Attack, step, array.values().len());
        array.values_mut().iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
    }
    noisy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Numbers;

    fn params(weights: [f32; 2], running: f32) -> Params {
        let tensors = [("fc.weight", weights.to_vec()), ("norm0.running_var", vec![running])];
        tensors.map(|(name, values)| (name.to_owned(), Array::new([values.len()], values))).into_iter().collect()
    }

    /// The reply of an attacker that was sent `sent` and whose honest reply is 4, −3 with a running variance of 7.
    fn poisoned(kind: AttackKind, factor: f64, sent: Params) -> Params {
        let attack = Attack { kind, clients: 1, factor };
        let broadcast = Broadcast { round: 2, kind: ExchangeKind::Average, iteration: 0, iterations: 1, params: sent };
        let mut update = Update { params: params([4.0, -3.0], 7.0), num_examples: 1, metrics: Numbers::new() };
        attack.poison(&broadcast, &Streams::of_client(1, 2, "a"), &mut update).unwrap();
        update.params
    }

    #[test]
    fn updates_are_scaled_or_negated_and_running_statistics_are_unchanged() {
        let sent = || params([1.0, 1.0], 5.0);
        // The update is 3, −4.
        assert_eq!(poisoned(AttackKind::Scaled, 10.0, sent()), params([31.0, -39.0], 7.0));
        assert_eq!(poisoned(AttackKind::SignFlipped, 2.0, sent()), params([-5.0, 9.0], 7.0));
    }

    #[test]
    fn a_tensor_that_was_not_sent_is_an_update_from_zero() {
        assert_eq!(poisoned(AttackKind::SignFlipped, 2.0, Params::new()), params([-8.0, 6.0], 7.0));
    }

    #[test]
    fn noise_has_the_norm_of_the_scaled_update_and_another_direction() {
        let sent = params([1.0, 1.0], 5.0);
        let noise = poisoned(AttackKind::Random, 2.0, sent.clone());
        // 1e-6: two f32 roundings of numbers of size 10.
        assert!((norm(&sent, &noise).unwrap() - 10.0).abs() < 1e-6 * 10.0);
        assert_ne!(noise, poisoned(AttackKind::Scaled, 2.0, sent));
        assert_eq!(noise.get("norm0.running_var").unwrap().values(), [7.0]);
    }

    #[test]
    fn attackers_are_drawn_from_the_seed_and_not_the_first_by_name() {
        let attack = Attack { kind: AttackKind::Scaled, clients: 3, factor: 1.0 };
        let clients: Vec<_> = (0..10).map(|i| ClientName::simulated(i, 10)).collect();
        let drawn: Vec<_> = (1..6).map(|seed| attack.attackers(seed, &clients)).collect();
        assert!(drawn.iter().all(|names| names.len() == 3 && names.is_sorted()));
        assert!(drawn.iter().any(|names| *names != clients[..3]) && drawn.iter().any(|names| names != &drawn[0]));
        assert_eq!(drawn[0], attack.attackers(1, &clients));
    }
}
