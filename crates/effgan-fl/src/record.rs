//! What a run tells while it works: each step to a [`Watch`], each round as a [`RoundRecord`].

use std::ops::ControlFlow;

use effgan_data::ClientName;
use effgan_nn::gan::Losses;
use serde::{Deserialize, Serialize};

use crate::message::{ExchangeKind, Numbers};

/// One training step of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// Who.
    pub client: ClientName,
    /// Round, from 1.
    pub round: u32,
    /// Step, from 1.
    pub step: u64,
    /// Steps that the client does in this round.
    pub steps: u64,
    /// Real images of the step.
    pub batch_size: u64,
    /// Losses of the step.
    pub losses: Losses,
}

/// Is told every training step; progress, checkpoints and Ctrl-C live behind it.
pub trait Watch {
    /// Called after each step; `Break` ends the client's work with [`FlError::Interrupted`](crate::FlError::Interrupted).
    fn step(&mut self, record: &StepRecord) -> ControlFlow<()>;
}

impl<F: FnMut(&StepRecord) -> ControlFlow<()>> Watch for F {
    fn step(&mut self, record: &StepRecord) -> ControlFlow<()> {
        self(record)
    }
}

/// One client's part in a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// Who.
    pub name: ClientName,
    /// n_k.
    pub num_examples: u64,
    /// `loss_d`, `loss_g`, `steps`.
    pub metrics: Numbers,
    /// Wall time of its work.
    pub seconds: f64,
    /// How far its update went, and whither; absent where there is none to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// A client's update, the trainable parameters that it answered with less those that it was sent, among the others' of its round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// L2 norm, ≥ 0.
    pub norm: f64,
    /// Cosine to the weighted mean of the round's updates, −1..1; 1 when all pull the same way.
    pub cosine: f64,
}

/// A client of the cohort whose reply is not in the round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Who.
    pub name: ClientName,
    /// Why, in a few words: `dropped out`, `late by 3.2 s`.
    pub reason: String,
}

/// One exchange of messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Round, from 1.
    pub round: u32,
    /// What it was for.
    pub kind: ExchangeKind,
    /// Who took part, by name.
    pub clients: Vec<ClientRecord>,
    /// Who was asked and is not among them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// Bytes of tensors sent to all clients.
    pub bytes_down: u64,
    /// Bytes of tensors that came back.
    pub bytes_up: u64,
    /// Wall time of the exchange.
    pub seconds: f64,
}
