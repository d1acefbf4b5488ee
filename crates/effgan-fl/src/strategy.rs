//! Another aggregation in the place of the averaging: whoever has one is given the trainable parameters of a round.
//!
//! Running statistics are data, and no strategy for gradients knows what they mean: they are averaged as always, and put beside
//! what the strategy makes of the rest. What it remembers from round to round lies in the server's state, so that a run goes on with it.

use std::sync::Arc;

use effgan_data::ClientName;
use effgan_nn::networks::is_running_statistic;
use effgan_nn::{Params, Streams};

use crate::aggregate::{MemberSink, Weights};
use crate::algorithm::Algorithm;
use crate::local::Shard;
use crate::message::{Broadcast, Exchange, ExchangeKind, Replies, Shapes, Update, shapes_of};
use crate::roster::RoundContext;
use crate::state::{ClientState, ServerState};
use crate::step_observer::StepObserver;
use crate::{FlError, Result};

/// An aggregation of trainable parameters.
pub trait Strategy: Send + Sync {
    /// What `current` becomes by the `replies` of round `round`, and what is to be remembered of `memory`.
    ///
    /// # Errors
    /// What ends the run.
    fn aggregate(
        &self,
        round: u32,
        current: Params,
        replies: Vec<StrategyReply>,
        memory: Params,
    ) -> Result<(Params, Params)>;
}

/// A client's trainable parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct StrategyReply {
    /// Whose.
    pub client: ClientName,
    /// n_k
    pub num_examples: u64,
    /// Of both networks.
    pub params: Params,
}

/// An algorithm whose rounds of averaging a strategy aggregates.
pub struct WithStrategy {
    algorithm: Box<dyn Algorithm>,
    strategy: Arc<dyn Strategy>,
}

/// Of its memory in the server's state.
const MEMORY: &str = "strategy";

impl WithStrategy {
    /// `algorithm`, which averages, with `strategy`.
    pub fn new(algorithm: Box<dyn Algorithm>, strategy: Arc<dyn Strategy>) -> Self {
        Self { algorithm, strategy }
    }
}

/// Without what the strategy remembers.
fn bare(state: &ServerState) -> ServerState {
    let networks = state.params.iter().filter(|(name, _)| !name.starts_with(&format!("{MEMORY}.")));
    ServerState { params: networks.map(|(name, array)| (name.clone(), array.clone())).collect(), ..*state }
}

fn trainable(params: &Params) -> Params {
    let trained = params.iter().filter(|(name, _)| !is_running_statistic(name));
    trained.map(|(name, array)| (name.clone(), array.clone())).collect()
}

impl Algorithm for WithStrategy {
    fn init(&self, ctx: &RoundContext) -> Result<ServerState> {
        self.algorithm.init(ctx)
    }

    fn next(&self, state: &ServerState, ctx: &RoundContext) -> Option<Exchange> {
        self.algorithm.next(state, ctx)
    }

    fn broadcast(&self, state: &ServerState, exchange: &Exchange, client: &ClientName) -> Broadcast {
        self.algorithm.broadcast(&bare(state), exchange, client)
    }

    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        self.algorithm.expects(&bare(state), exchange)
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        memory: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        self.algorithm.local_update(broadcast, memory, shard, streams, observer)
    }

    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        members: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        let bare = bare(state);
        if exchange.kind != ExchangeKind::Average {
            return self.algorithm.aggregate(&bare, exchange, replies, members);
        }
        let mut seen = Vec::new();
        let mut watched = replies.inspect(|reply| {
            if let Ok((client, Update { params, num_examples, .. })) = reply {
                let (client, num_examples, params) = (client.clone(), *num_examples, trainable(params));
                seen.push(StrategyReply { client, num_examples, params });
            }
        });
        let averaged = self.algorithm.aggregate(&bare, exchange, &mut watched, members)?;
        let (current, memory) = (trainable(&bare.params), state.params.under(MEMORY));
        let shapes = shapes_of(&current);
        let (params, memory) = self.strategy.aggregate(exchange.round, current, seen, memory)?;
        if shapes_of(&params) != shapes {
            let reason = "federation.strategy gave other tensors than it was given".into();
            return Err(FlError::Config(reason));
        }
        let params = averaged.params.merged_with(params).merged_with(memory.named_under(MEMORY));
        Ok(ServerState { params, ..averaged })
    }

    fn local_steps(&self, exchange: &Exchange, num_examples: u64) -> u64 {
        self.algorithm.local_steps(exchange, num_examples)
    }

    fn weights(&self) -> Weights {
        self.algorithm.weights()
    }
}
