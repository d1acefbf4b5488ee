//! The table of clients: what each holds, and how its last round went.

use effgan_fl::ClientRecord;
use serde::Serialize;

use super::folder::Folder;
use crate::units::{count, duration};

/// Clients in a table that is open from the start.
const SHORT: usize = 20;

/// All clients of the partition.
#[derive(Serialize)]
pub(super) struct Clients {
    rows: Vec<ClientRow>,
    short: bool,
}

#[derive(Serialize)]
struct ClientRow {
    name: String,
    /// Whether the simulation has it attack.
    attacks: bool,
    num_examples: String,
    /// The last round that the client took part in; the rest is about it, and empty where there is none.
    round: String,
    steps: String,
    loss_d: String,
    loss_g: String,
    seconds: String,
}

/// Clients in order of their names.
pub(super) fn clients(folder: &Folder) -> Clients {
    let partition = &folder.info.partition;
    let rows = partition.clients.iter().zip(&partition.num_examples).map(|(name, &n)| row(folder, name, n)).collect();
    Clients { rows, short: partition.clients.len() <= SHORT }
}

fn row(folder: &Folder, name: &str, num_examples: u64) -> ClientRow {
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
        round: last.as_ref().map_or_else(|| "–".into(), |(round, _)| round.to_string()),
        steps: metric("steps", 0),
        loss_d: metric("loss_d", 3),
        loss_g: metric("loss_g", 3),
        seconds: last.as_ref().map_or_else(String::new, |(_, client)| duration(client.seconds)),
    }
}
