//! The contract: a federated algorithm as pure steps. A driver carries the messages and knows no algorithm.

use effgan_data::ClientName;
use effgan_nn::{Params, Streams};

use crate::Result;
use crate::aggregate::{MemberSink, Weights};
use crate::intake::Shapes;
use crate::local::Shard;
use crate::message::{Broadcast, Exchange, Update};
use crate::record::Watch;

/// What a server step may depend on beside its state.
#[derive(Clone, Copy, Debug)]
pub struct RoundContext<'a> {
    /// The run's seed.
    pub seed: u64,
    /// All clients, sorted by name.
    pub roster: &'a [ClientName],
    /// n_k of each of them.
    pub num_examples: &'a [u64],
}

impl RoundContext<'_> {
    /// n_k of `client`.
    ///
    /// # Panics
    /// When it is not on the roster.
    pub fn num_examples_of(&self, client: &ClientName) -> u64 {
        self.num_examples[self.roster.binary_search(client).expect("who takes part is on the roster")]
    }
}

/// What the server carries from round to round; a checkpoint of a run is this.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerState {
    /// Rounds done.
    pub round: u32,
    /// Exchanges done of the round after those; 0 between rounds.
    pub exchanges: u64,
    /// `generator.*` and `discriminator.*`; what else an algorithm remembers has a prefix of its own.
    pub params: Params,
}

impl ServerState {
    /// The state between two rounds, `round` of them done.
    pub fn after_round(round: u32, params: Params) -> Self {
        Self { round, exchanges: 0, params }
    }
}

/// What a client keeps between its rounds, by name; empty at first and for algorithms without memory.
pub type ClientState = Params;

/// Usable replies in the order of the clients' names, one at a time: they have the tensors that the algorithm
/// [`expects`](Algorithm::expects), and all values are finite.
pub type Replies<'a> = dyn Iterator<Item = Result<(ClientName, Update)>> + Send + 'a;

/// A federated algorithm.
///
/// No step reads a clock, a file or a global generator: with equal arguments it gives equal bits, on whichever machine of one
/// kind it runs and however often. This is what makes a simulation and a federation agree, and a run resumable.
pub trait Algorithm: Send + Sync {
    /// The state before round 1.
    fn init(&self, ctx: &RoundContext) -> Result<ServerState>;

    /// What is to be done next and with whom; `None` when the algorithm is done. Depends on `state.round` and
    /// `state.exchanges`, not on its tensors. A driver may leave clients of the cohort out, of all exchanges of a
    /// round alike.
    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange>;

    /// What the server computes once, before it sends.
    fn prepare(&self, state: ServerState, _: &Exchange, _: &RoundContext) -> Result<ServerState> {
        Ok(state)
    }

    /// The message to one client of the exchange.
    fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast;

    /// The tensors that an answer of the exchange must have.
    ///
    /// # Errors
    /// When the state has not what the exchange is about.
    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes>;

    /// One client's work. `watch` is told every training step and may end it.
    fn local_update(
        &self,
        broadcast: &Broadcast,
        memory: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        watch: &mut dyn Watch,
    ) -> Result<Update>;

    /// Folds the replies of the exchange; generators that are collected one by one go to `members`.
    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        members: &mut dyn MemberSink,
    ) -> Result<ServerState>;

    /// Training steps of a client with `num_examples` images in the round of this exchange: for plans and time left.
    fn local_steps(&self, exchange: &Exchange, num_examples: u64) -> u64;

    /// How much a client's update counts.
    fn weights(&self) -> Weights {
        Weights::default()
    }

    /// Whether it wants all images at one client, as no federation can.
    fn pools_data(&self) -> bool {
        false
    }
}
