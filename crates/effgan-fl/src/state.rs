//! What the server and each client carry from round to round.

use effgan_nn::Params;

/// What the server carries from round to round; a checkpoint of a run holds exactly this.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerState {
    /// Number of finished rounds.
    pub round: u32,
    /// Number of finished exchanges of the round that follows them; 0 between rounds.
    pub exchanges: u64,
    /// The model's tensors with their networks' names: `generator.*` and `discriminator.*`. Whatever else an algorithm keeps has a
    /// prefix of its own.
    pub params: Params,
}

impl ServerState {
    /// The state between two rounds, after `round` of them.
    pub fn after_round(round: u32, params: Params) -> Self {
        Self { round, exchanges: 0, params }
    }
}

/// Tensors that a client keeps between its exchanges, by name; empty at first, and always empty for algorithms without client state.
pub type ClientState = Params;
