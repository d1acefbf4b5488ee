//! Who is in a federation, and how much each has.

use effgan_data::{ClientName, Partition};

use crate::RoundContext;

/// Names and sizes of all clients, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    names: Vec<ClientName>,
    num_examples: Vec<u64>,
}

impl Roster {
    /// Of clients with so many training images, in any order.
    pub fn new(mut clients: Vec<(ClientName, u64)>) -> Self {
        clients.sort();
        let (names, num_examples) = clients.into_iter().unzip();
        Self { names, num_examples }
    }

    /// Of the clients of a partition.
    pub fn of(partition: &Partition) -> Self {
        Self::new(partition.clients.iter().map(|share| (share.name.clone(), share.train.len() as u64)).collect())
    }

    /// Names, sorted.
    pub fn names(&self) -> &[ClientName] {
        &self.names
    }

    /// n_k of each, in the order of [`names`](Self::names).
    pub fn num_examples(&self) -> &[u64] {
        &self.num_examples
    }

    /// What an algorithm is told of them.
    pub fn context(&self, seed: u64) -> RoundContext<'_> {
        RoundContext { seed, roster: &self.names, num_examples: &self.num_examples }
    }
}
