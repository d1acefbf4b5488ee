//! Who is in a federation, how much each has, and how much of it counts.

use effgan_data::{ClientName, Partition};

use crate::RoundContext;

/// Names and sizes of all clients, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    names: Vec<ClientName>,
    num_examples: Vec<u64>,
    counts: Vec<u64>,
}

impl Roster {
    /// Of clients with so many training images, in any order.
    pub fn new(mut clients: Vec<(ClientName, u64)>) -> Self {
        clients.sort();
        let (names, num_examples): (_, Vec<u64>) = clients.into_iter().unzip();
        Self { names, counts: num_examples.clone(), num_examples }
    }

    /// Where a client that says it has more images than `most` counts as these, ≥ 1.
    #[must_use]
    pub fn at_most(mut self, most: impl Fn(&ClientName) -> Option<u64>) -> Self {
        for (name, count) in self.names.iter().zip(&mut self.counts) {
            *count = most(name).map_or(*count, |most| most.min(*count));
        }
        self
    }

    /// Of the clients of a partition.
    pub fn of(partition: &Partition) -> Self {
        Self::new(partition.clients.iter().map(|share| (share.name.clone(), share.train.len() as u64)).collect())
    }

    /// Names, sorted.
    pub fn names(&self) -> &[ClientName] {
        &self.names
    }

    /// n_k of each, as it was said, in the order of [`names`](Self::names).
    pub fn num_examples(&self) -> &[u64] {
        &self.num_examples
    }

    /// What each counts as, in the order of [`names`](Self::names).
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// What `client` counts as.
    pub(crate) fn counts_of(&self, client: &ClientName) -> u64 {
        self.context(0).num_examples_of(client)
    }

    /// What an algorithm is told of them: n_k as it counts.
    pub fn context(&self, seed: u64) -> RoundContext<'_> {
        RoundContext { seed, roster: &self.names, num_examples: &self.counts }
    }

    /// What their answers must say: n_k as they said it.
    pub(crate) fn as_said(&self, seed: u64) -> RoundContext<'_> {
        RoundContext { seed, roster: &self.names, num_examples: &self.num_examples }
    }
}
