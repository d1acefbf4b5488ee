//! What a federated algorithm is: pure functions. A driver carries the messages between them, and works with any algorithm.

use effgan_data::ClientName;
use effgan_nn::Streams;
use effgan_nn::model::LossName;

use crate::Result;
use crate::aggregate::{MemberSink, Weights};
use crate::local::Shard;
use crate::message::{Broadcast, Exchange, Replies, Shapes, Update};
use crate::roster::RoundContext;
use crate::state::{ClientState, ServerState};
use crate::step_observer::StepObserver;

/// A federated algorithm.
///
/// No method reads a clock, a file or a global random generator: equal arguments give equal bits, on every machine of one kind and however
/// often the method is called. This is why a simulation and a federation agree, and why a run can be resumed.
pub trait Algorithm: Send + Sync {
    /// The state before round 1.
    fn init(&self, ctx: &RoundContext) -> Result<ServerState>;

    /// The next exchange and its cohort; `None` when the algorithm is done. Depends on `state.round` and `state.exchanges`, not on the
    /// tensors. A driver that leaves a client out of an exchange leaves it out of the rest of the round.
    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange>;

    /// The state after the work that the server does once per exchange, before it sends anything.
    fn prepare(&self, state: ServerState, _: &Exchange, _: &RoundContext) -> Result<ServerState> {
        Ok(state)
    }

    /// The server's message to one client of the exchange.
    fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast;

    /// Names and shapes of the tensors that a reply of the exchange must have.
    ///
    /// # Errors
    /// When `state` lacks the tensors that the exchange is about.
    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes>;

    /// One client's work on the images of `shard`. `client_state` is what the client keeps between exchanges, and `streams` are its random
    /// numbers in this round. `observer` is called after every training step and may end the work.
    fn local_update(
        &self,
        broadcast: &Broadcast,
        client_state: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update>;

    /// Folds the replies of the exchange into the next state. Generators that the server collects go to `members`, one at a time.
    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        members: &mut dyn MemberSink,
    ) -> Result<ServerState>;

    /// Number of training steps of a client with `num_examples` images in the round of this exchange, for plans and estimates of time.
    fn local_steps(&self, exchange: &Exchange, num_examples: u64) -> u64;

    /// The losses of a client's training step: the names of the metrics that a reply may have.
    fn losses(&self) -> &'static [LossName] {
        &[]
    }

    /// How clients are weighted in a mean and as members of the ensemble: the answer of its settings.
    fn weights(&self) -> Weights {
        Weights::default()
    }

    /// Whether all images have to be at one client: the answer of its settings.
    fn pools_data(&self) -> bool {
        false
    }
}
