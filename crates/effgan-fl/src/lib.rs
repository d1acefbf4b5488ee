//! Federated algorithms without input or output, and what drives them.
//!
//! An [`Algorithm`] is a set of pure steps on named tensors. A driver ([`simulate`], or [`federation`] with [`site`]) carries
//! messages between them and knows no algorithm.

#![forbid(unsafe_code)]

pub mod aggregate;
pub mod algorithm;
pub mod algorithms;
mod attack;
mod bounds;
mod change;
pub mod checkpoints;
mod client;
mod cohort;
mod decay;
mod drift;
pub mod ensemble;
mod error;
pub mod federation;
pub mod intake;
pub mod local;
pub mod message;
mod participation;
pub mod policy;
pub mod record;
mod refusal;
pub mod roster;
pub mod rounds;
pub mod sample;
mod server_training;
mod share;
pub mod simulate;
pub mod site;
mod steps;
pub mod strategy;

pub use aggregate::{AggregationConfig, AggregationKind, Flagged};
pub use algorithm::{Algorithm, RoundContext, ServerState};
pub use algorithms::AlgorithmConfig;
pub use attack::{Attack, AttackKind};
pub use bounds::Bounds;
pub use checkpoints::{Checkpoint, CheckpointConfig, Checkpoints, Moment, RunId};
pub use decay::Decay;
pub use ensemble::Ensemble;
pub use error::FlError;
pub use federation::{Answered, Carrier, Federation, Letter};
pub use intake::{Answer, FailurePolicy, Intake, OnFailure, Shapes, one_line};
pub use local::{LocalConfig, Shard};
pub use message::{Broadcast, Exchange, ExchangeKind, Reply, Update};
pub use participation::{SimulationConfig, Speed};
pub use policy::{Policy, Wishes};
pub use record::{ClientRecord, Drift, LeftOff, Missing, RoundRecord, StepRecord, Watch};
pub use refusal::Refusal;
pub use roster::Roster;
pub use rounds::{Observer, PlannedRound};
pub use simulate::Simulation;
pub use site::Site;
pub use strategy::{Strategy, StrategyReply, WithStrategy};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, FlError>;
