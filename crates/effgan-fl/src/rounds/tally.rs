//! What the record of a round says of the replies of one exchange.

use std::collections::BTreeMap;

use effgan_data::ClientName;

use crate::aggregate::Weights;
use crate::checkpoints::OpenRound;
use crate::drift::{Sketch, drifts};
use crate::loss_history::LossHistory;
use crate::message::{Exchange, Update};
use crate::record::{ClientRecord, Drift, Missing};
use crate::reply::Reply;

/// The replies of one exchange as the round's record describes them.
#[derive(Default)]
pub(crate) struct Tally {
    pub(super) clients: Vec<(ClientRecord, Option<Sketch>)>,
    pub(super) steps: Vec<(ClientName, LossHistory)>,
    pub(super) missing: Vec<Missing>,
    pub(super) refused: Vec<Missing>,
    pub(super) bytes_down: u64,
    pub(super) bytes_up: u64,
}

impl Tally {
    /// Adds a reply, and returns its update if it `is_usable`.
    pub(super) fn add(&mut self, reply: Reply, is_usable: bool) -> Option<Update> {
        let Reply { client: name, outcome, seconds, steps, sketch, bytes_down, .. } = reply;
        self.bytes_down += bytes_down;
        self.steps.push((name.clone(), steps));
        let update = outcome.ok().filter(|_| is_usable)?;
        self.bytes_up += update.params.num_bytes();
        let (num_examples, metrics) = (update.num_examples, update.metrics.clone());
        let record = ClientRecord { name, num_examples, counted: None, metrics, seconds, drift: None };
        self.clients.push((record, sketch));
        Some(update)
    }

    /// Adds the exchange to the record of its round. `counts` are the n_k that counted; `weights` are those of the mean.
    pub(crate) fn add_to(
        mut self,
        open: &mut OpenRound,
        exchange: &Exchange,
        counts: &BTreeMap<ClientName, u64>,
        weights: Weights,
    ) {
        for (client, _) in &mut self.clients {
            client.counted = counts.get(&client.name).copied().filter(|count| *count < client.num_examples);
        }
        let OpenRound { record, steps } = open;
        record.bytes_down += self.bytes_down;
        record.bytes_up += self.bytes_up;
        record.add_missing(self.missing);
        record.refused.extend(self.refused);
        let weight = |client: &ClientRecord| weights.of(client.counted.unwrap_or(client.num_examples));
        let weights: Vec<f64> = self.clients.iter().map(|(client, _)| weight(client)).collect();
        let (clients, sketches): (Vec<_>, Vec<_>) = self.clients.into_iter().unzip();
        let sketches: Option<Vec<Sketch>> = sketches.into_iter().collect();
        let drifts = sketches.map(|all| drifts(&all.into_iter().zip(weights).collect::<Vec<_>>()));
        for (index, client) in clients.into_iter().enumerate() {
            let drift = drifts.as_ref().map(|drifts| drifts[index]).filter(Drift::is_finite);
            record.add(ClientRecord { drift, ..client });
        }
        // The losses of a round of one exchange are saved with its replies.
        if !exchange.kind.trains() {
            for (client, later) in self.steps.into_iter().filter(|(_, steps)| !steps.steps.is_empty()) {
                steps.entry(client).or_default().extend(later);
            }
        }
    }
}
