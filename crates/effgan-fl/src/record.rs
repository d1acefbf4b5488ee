//! The record of a round: who took part, with what metrics, and who is missing.

use effgan_data::ClientName;
use serde::{Deserialize, Serialize};

use crate::message::{ExchangeKind, Numbers, STEPS};

/// One client's part in a round, over all its exchanges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// The client.
    pub name: ClientName,
    /// n_k as the client reported it.
    pub num_examples: u64,
    /// The n_k that counted, where a cap lowered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<u64>,
    /// `loss_d`, `loss_g`, `steps`.
    pub metrics: Numbers,
    /// Wall time of its work, in seconds.
    pub seconds: f64,
    /// Norm and direction of its update; absent where the reply is not an update of what the client was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// A client's update (the trainable parameters that it returned minus those that it was sent) compared with the others of its round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// L2 norm over the trainable parameters of all networks that it returned, ≥ 0; exact. Running statistics are not counted.
    pub norm: f64,
    /// Cosine to the weighted mean of the round's updates, in −1..=1: 1 when all point the same way, 0 for an update of zero. An
    /// estimate from a sketch of 4,096 sums. Its standard error is at most 1/45, and 0 where all updates are equal.
    pub cosine: f64,
}

impl Drift {
    pub(crate) fn is_finite(&self) -> bool {
        self.norm.is_finite() && self.cosine.is_finite()
    }
}

/// A client whose reply is not part of the round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The client.
    pub name: ClientName,
    /// The reason in a few words: `dropped out` or `late: 12.3 s of 10.0 s` (simulated), or how the client failed.
    pub reason: String,
}

/// The record of one round, over all its exchanges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Round, from 1.
    pub round: u32,
    /// What its first exchange was for.
    pub kind: ExchangeKind,
    /// The clients that took part, sorted by name.
    pub clients: Vec<ClientRecord>,
    /// The clients of the cohort that are not among them, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// Senders of replies that were not asked for, and why these were refused; they changed nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Missing>,
    /// Bytes of tensors sent to all clients.
    pub bytes_down: u64,
    /// Bytes of tensors received from all clients.
    pub bytes_up: u64,
    /// Wall time of the round, in seconds.
    pub seconds: f64,
}

impl RoundRecord {
    /// The record of `round` before its first exchange, from which `missing` clients are already known to be absent.
    pub(crate) fn begun(round: u32, kind: ExchangeKind, missing: Vec<Missing>) -> Self {
        Self {
            round,
            kind,
            clients: Vec::new(),
            missing,
            refused: Vec::new(),
            bytes_down: 0,
            bytes_up: 0,
            seconds: 0.0,
        }
    }

    /// Adds clients whose reply is missing, and sorts by name.
    pub(crate) fn add_missing(&mut self, missing: Vec<Missing>) {
        self.missing.extend(missing);
        self.missing.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// The clients of `cohort` that are not missing.
    pub(crate) fn without_missing(&self, mut cohort: Vec<ClientName>) -> Vec<ClientName> {
        cohort.retain(|client| self.missing.iter().all(|missing| missing.name != *client));
        cohort
    }

    /// Adds a client's part in one exchange.
    pub(crate) fn add(&mut self, client: ClientRecord) {
        match self.clients.binary_search_by(|known| known.name.cmp(&client.name)) {
            Ok(index) => self.clients[index].add(client),
            Err(index) => self.clients.insert(index, client),
        }
    }
}

impl ClientRecord {
    fn steps(&self) -> f64 {
        self.metrics.get(STEPS).copied().unwrap_or_default()
    }

    /// Adds a later exchange: steps and seconds are summed, other numbers are means over the steps.
    fn add(&mut self, later: Self) {
        let (before, now) = (self.steps(), later.steps());
        let share = if now > 0.0 { now / (before + now) } else { 0.0 };
        for (name, value) in later.metrics {
            let known = self.metrics.entry(name.clone()).or_insert(value);
            *known = if name == STEPS { before + now } else { *known + (value - *known) * share };
        }
        self.counted = later.counted.or(self.counted);
        self.seconds += later.seconds;
        self.drift = later.drift.or(self.drift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, metrics: &[(&str, f64)], seconds: f64) -> ClientRecord {
        let metrics = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        ClientRecord {
            name: ClientName::new(name).unwrap(),
            num_examples: 5,
            counted: None,
            metrics,
            seconds,
            drift: None,
        }
    }

    #[test]
    fn exchanges_of_a_round_are_added_up_per_client() {
        let mut round = RoundRecord::begun(1, ExchangeKind::Feedback, Vec::new());
        round.add(record("b", &[("loss_d", 1.0), ("steps", 3.0)], 2.0));
        round.add(record("a", &[("loss_d", 8.0), ("steps", 1.0)], 1.0));
        round.add(record("b", &[("loss_d", 5.0), ("steps", 1.0)], 0.5));
        round.add(record("b", &[], 0.25));
        // (3 · 1 + 1 · 5) / 4 = 2.
        let expected = [
            record("a", &[("loss_d", 8.0), ("steps", 1.0)], 1.0),
            record("b", &[("loss_d", 2.0), ("steps", 4.0)], 2.75),
        ];
        assert_eq!(round.clients, expected);
    }
}
