//! The table of clients: their numbers of images, and their last round.

use std::collections::BTreeSet;

use effgan_fl::ClientRecord;
use effgan_fl::message::STEPS;
use serde::Serialize;

use super::run_folder::Folder;
use crate::record::loss_key;
use crate::units::{count, duration};

/// Longest table that is expanded when the page opens.
const SHORT: usize = 20;

/// The rows of all clients of the partition.
#[derive(Serialize)]
pub(super) struct Clients {
    /// Short names of the losses.
    losses: Vec<String>,
    /// Whether all losses are in nats.
    in_nats: bool,
    /// Whether training was private.
    is_private: bool,
    rows: Vec<ClientRow>,
    short: bool,
}

#[derive(Serialize)]
struct ClientRow {
    name: String,
    /// Whether it attacks in the simulation.
    attacks: bool,
    num_examples: String,
    /// ε of private training; empty where it is not private.
    epsilon: String,
    /// The last round in which the client took part; the fields below are of that round, and empty where there is none.
    round: String,
    steps: String,
    losses: Vec<String>,
    seconds: String,
}

/// The table, in the order of names.
pub(super) fn clients(folder: &Folder) -> Clients {
    let (partition, keys) = (&folder.info.partition, folder.loss_keys());
    let clients = partition.clients.iter().zip(&partition.num_examples);
    Clients {
        losses: keys.iter().map(|key| loss_key::short(key)).collect(),
        in_nats: keys.iter().all(|key| folder.is_in_nats(key)),
        is_private: !folder.info.privacy.is_empty(),
        rows: clients.map(|(name, &n)| row(folder, &keys, name, n)).collect(),
        short: partition.clients.len() <= SHORT,
    }
}

/// ε of a client with so many images, the largest where these may be of different numbers of persons; none where its samples and noise are no secret.
fn epsilon(folder: &Folder, num_examples: u64) -> String {
    let statements = folder.info.privacy.iter().filter(|statement| statement.images == num_examples);
    let largest = statements.max_by(|a, b| a.epsilon.total_cmp(&b.epsilon));
    largest.map_or_else(String::new, |of| if of.insecure { "none".into() } else { of.rounded_epsilon() })
}

fn row(folder: &Folder, losses: &BTreeSet<String>, name: &str, num_examples: u64) -> ClientRow {
    let of_round = |clients: &[ClientRecord]| clients.iter().find(|client| client.name.as_str() == name).cloned();
    let last = folder.rounds.values().rev().find_map(|round| Some((round.round, of_round(&round.clients)?)));
    let metric = |key: &str, digits: usize| {
        let value = last.as_ref().and_then(|(_, client)| client.metrics.get(key));
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    ClientRow {
        name: name.into(),
        attacks: folder.attacks(name),
        num_examples: count(num_examples),
        epsilon: epsilon(folder, num_examples),
        round: last.as_ref().map_or_else(|| "–".into(), |(round, _)| round.to_string()),
        steps: metric(STEPS, 0),
        losses: losses.iter().map(|key| metric(key, 3)).collect(),
        seconds: last.as_ref().map_or_else(String::new, |(_, client)| duration(client.seconds)),
    }
}
