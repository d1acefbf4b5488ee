//! A foreign aggregation, such as a Flower strategy, in place of an algorithm's average.
//!
//! A strategy only sees trainable parameters. Running statistics are data, which strategies made for gradients do not know how to
//! handle, so they are averaged as usual. What a strategy keeps from round to round is in the server's state, so that a resumed
//! run continues with it, bit for bit.

use std::sync::Arc;

use effgan_data::ClientName;
use effgan_nn::model::LossName;
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
    /// Aggregates the `replies` of `round`. Returns the successor of the parameters `current`, and the strategy's own state,
    /// which is its `memory` in the next round.
    ///
    /// # Errors
    /// An error ends the run.
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
    /// The client.
    pub client: ClientName,
    /// n_k, the client's number of images.
    pub num_examples: u64,
    /// The trainable parameters of all networks.
    pub params: Params,
}

/// An algorithm in whose rounds of averaging a strategy aggregates.
pub struct WithStrategy {
    algorithm: Box<dyn Algorithm>,
    strategy: Arc<dyn Strategy>,
}

/// Prefix of the strategy's own state in the server's state.
const MEMORY: &str = "strategy";

impl WithStrategy {
    /// `algorithm`, with `strategy` in place of its average.
    pub fn new(algorithm: Box<dyn Algorithm>, strategy: Arc<dyn Strategy>) -> Self {
        Self { algorithm, strategy }
    }
}

/// The state without the strategy's own tensors.
fn without_memory(state: &ServerState) -> ServerState {
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
        self.algorithm.broadcast(&without_memory(state), exchange, client)
    }

    fn expects(&self, state: &ServerState, exchange: &Exchange) -> Result<Shapes> {
        self.algorithm.expects(&without_memory(state), exchange)
    }

    fn local_update(
        &self,
        broadcast: &Broadcast,
        client_state: &mut ClientState,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        self.algorithm.local_update(broadcast, client_state, shard, streams, observer)
    }

    fn aggregate(
        &self,
        state: &ServerState,
        exchange: &Exchange,
        replies: &mut Replies,
        members: &mut dyn MemberSink,
    ) -> Result<ServerState> {
        let networks = without_memory(state);
        if exchange.kind != ExchangeKind::Average {
            return self.algorithm.aggregate(&networks, exchange, replies, members);
        }
        let mut collected = Vec::new();
        let mut inspected = replies.inspect(|reply| {
            if let Ok((client, Update { params, num_examples, .. })) = reply {
                let (client, num_examples, params) = (client.clone(), *num_examples, trainable(params));
                collected.push(StrategyReply { client, num_examples, params });
            }
        });
        let averaged = self.algorithm.aggregate(&networks, exchange, &mut inspected, members)?;
        let (current, memory) = (trainable(&networks.params), state.params.under(MEMORY));
        let shapes = shapes_of(&current);
        let (params, memory) = self.strategy.aggregate(exchange.round, current, collected, memory)?;
        if shapes_of(&params) != shapes {
            let reason = "federation.strategy returned tensors with other names or shapes than it was given".into();
            return Err(FlError::Config(reason));
        }
        let params = averaged.params.merged_with(params).merged_with(memory.named_under(MEMORY));
        Ok(ServerState { params, ..averaged })
    }

    fn local_steps(&self, exchange: &Exchange, num_examples: u64) -> u64 {
        self.algorithm.local_steps(exchange, num_examples)
    }

    fn losses(&self) -> &'static [LossName] {
        self.algorithm.losses()
    }

    fn weights(&self) -> Weights {
        self.algorithm.weights()
    }
}
