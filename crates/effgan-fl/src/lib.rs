//! Federated algorithms without input or output, and the two drivers that run them.
//!
//! An [`Algorithm`] is a set of pure functions on named tensors. A driver knows no algorithm: it carries [`message`]s between the server and
//! the clients, which are threads of this process ([`simulate`]) or sites of their own ([`message_driver`], whose other half at a site is
//! [`site_client`]). Both share the loop over [`rounds`].

#![forbid(unsafe_code)]

pub mod aggregate;
pub mod algorithm;
pub mod algorithms;
mod attack;
mod bounds;
mod capped_weights;
pub mod checkpoints;
mod client;
mod cohort;
mod counted;
mod decay;
mod drift;
pub mod ensemble;
mod error;
pub mod failure_policy;
pub mod intake;
pub mod local;
mod loss_history;
pub mod message;
pub mod message_driver;
mod one_line;
mod participation;
pub mod policy;
pub mod record;
mod refusal;
mod reply;
pub mod roster;
pub mod rounds;
pub mod sample;
mod server_training;
pub mod simulate;
pub mod site_client;
pub mod state;
pub mod step_observer;
pub mod strategy;
mod update_vector;

pub use aggregate::{AggregationConfig, AggregationKind, ClientNoise, Flagged, Rule};
pub use algorithm::Algorithm;
pub use algorithms::AlgorithmConfig;
pub use attack::{Attack, AttackKind};
pub use bounds::Bounds;
pub use checkpoints::{Checkpoint, CheckpointConfig, Checkpoints, RunId, RunPosition};
pub use decay::Decay;
pub use ensemble::Ensemble;
pub use error::FlError;
pub use failure_policy::{FailurePolicy, OnFailure};
pub use intake::Intake;
pub use local::{LocalConfig, LocalWork, Shard};
pub use message::{Broadcast, Exchange, ExchangeId, ExchangeKind, Shapes, Update};
pub use message_driver::{Carrier, Federation, SiteMessage};
pub use one_line::one_line;
pub use participation::{SimulationConfig, Speed};
pub use policy::{Policy, RunRequest};
pub use record::{ClientRecord, Drift, Missing, RoundRecord};
pub use refusal::Refusal;
pub use reply::Reply;
pub use roster::{Roster, RoundContext};
pub use rounds::{PlannedRound, RoundObserver, planned_rounds, planned_steps};
pub use simulate::Simulation;
pub use site_client::Site;
pub use state::{ClientState, ServerState};
pub use step_observer::{FinishedStep, OnStep, StepObserver, StepRecord, TrainingState};
pub use strategy::{Strategy, StrategyReply, WithStrategy};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, FlError>;
