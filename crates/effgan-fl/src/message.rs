//! What travels between the server and its clients: named tensors and named numbers, nothing else.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_nn::Params;
use serde::{Deserialize, Serialize};

/// Numbers by name, such as mean losses.
pub type Numbers = BTreeMap<String, f64>;

/// What an exchange of messages is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeKind {
    /// Clients train, the server folds their networks into one.
    Average,
    /// Clients fine-tune their own copies, the server keeps each generator.
    Collect,
}

/// The next thing that a driver has to do: send to `cohort`, in the order of names, and fold the replies.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Round, from 1: one more than the exchanges that are done.
    pub round: u32,
    /// What for.
    pub kind: ExchangeKind,
    /// With whom, sorted by name.
    pub cohort: Vec<ClientName>,
}

/// Server to client.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// Round, from 1.
    pub round: u32,
    /// What the client's reply is for.
    pub kind: ExchangeKind,
    /// `generator.*`, `discriminator.*`, and what else the algorithm sends.
    pub params: Params,
}

/// Client to server.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Both networks for [`ExchangeKind::Average`], `generator.*` alone for [`ExchangeKind::Collect`].
    pub params: Params,
    /// n_k: the images that the client trained on.
    pub num_examples: u64,
    /// `loss_d`, `loss_g` (means over the steps), `steps`.
    pub metrics: Numbers,
}

/// An update, or the client's reason why there is none: a failure is a value that the record can name.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The work is done.
    Update(Update),
    /// One line, in the client's words.
    Failed(String),
}
