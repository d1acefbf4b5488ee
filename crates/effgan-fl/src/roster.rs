//! The clients of a federation: their names, how many images each has, and how many of them count.

use effgan_data::{ClientName, Partition};

/// What a step of the server may depend on beside its state.
#[derive(Clone, Copy, Debug)]
pub struct RoundContext<'a> {
    /// The run's seed.
    pub seed: u64,
    /// All clients, sorted by name.
    pub roster: &'a [ClientName],
    /// n_k of each of them as it reported it, in the same order: what it trains on, and what its replies must say.
    pub num_examples: &'a [u64],
    /// The n_k that counts for each of them, in the same order.
    pub counts: &'a [u64],
}

impl RoundContext<'_> {
    /// n_k of `client` as it reported it.
    ///
    /// # Panics
    /// When `client` is not on the roster.
    pub fn num_examples_of(&self, client: &ClientName) -> u64 {
        self.num_examples[self.place_of(client)]
    }

    /// The n_k that counts for `client`.
    ///
    /// # Panics
    /// When `client` is not on the roster.
    pub fn counts_of(&self, client: &ClientName) -> u64 {
        self.counts[self.place_of(client)]
    }

    fn place_of(&self, client: &ClientName) -> usize {
        self.roster.binary_search(client).expect("every participant is on the roster")
    }
}

/// Names and sizes of all clients, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    names: Vec<ClientName>,
    num_examples: Vec<u64>,
    counts: Vec<u64>,
}

impl Roster {
    /// A roster of clients with their numbers of training images, given in any order.
    pub fn new(mut clients: Vec<(ClientName, u64)>) -> Self {
        clients.sort();
        let (names, num_examples): (_, Vec<u64>) = clients.into_iter().unzip();
        Self { names, counts: num_examples.clone(), num_examples }
    }

    /// Caps how many images count: a client that reports more images than `max` gives for it (≥ 1) counts as that many.
    #[must_use]
    pub fn at_most(mut self, max: impl Fn(&ClientName) -> Option<u64>) -> Self {
        for (name, count) in self.names.iter().zip(&mut self.counts) {
            *count = max(name).map_or(*count, |max| max.min(*count));
        }
        self
    }

    /// The clients of a partition.
    pub fn of(partition: &Partition) -> Self {
        Self::new(partition.clients.iter().map(|share| (share.name.clone(), share.train.len() as u64)).collect())
    }

    /// Names, sorted.
    pub fn names(&self) -> &[ClientName] {
        &self.names
    }

    /// n_k as each client reported it, in the order of [`names`](Self::names).
    pub fn num_examples(&self) -> &[u64] {
        &self.num_examples
    }

    /// The n_k that counts for each client, in the order of [`names`](Self::names).
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The context of an algorithm's steps.
    pub fn context(&self, seed: u64) -> RoundContext<'_> {
        RoundContext { seed, roster: &self.names, num_examples: &self.num_examples, counts: &self.counts }
    }
}
