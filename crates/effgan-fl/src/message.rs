//! What travels between the server and its clients: named tensors and named numbers, nothing else.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_nn::Params;
use serde::{Deserialize, Serialize};

use crate::Result;

/// Numbers by name, such as mean losses.
pub type Numbers = BTreeMap<String, f64>;

/// Mean loss of a client's discriminator over its steps, in nats.
pub const LOSS_D: &str = "loss_d";
/// Mean loss of its generator, in nats.
pub const LOSS_G: &str = "loss_g";
/// The training steps that it did.
pub const STEPS: &str = "steps";
/// All metrics that an answer may have. They head the columns of `clients.csv`, so no client makes up its own.
pub const METRICS: [&str; 3] = [LOSS_D, LOSS_G, STEPS];

/// The metrics of an answer after `steps` with these mean losses.
pub(crate) fn metrics(loss_d: f64, loss_g: f64, steps: u64) -> Numbers {
    [(LOSS_D, loss_d), (LOSS_G, loss_g), (STEPS, steps as f64)].map(|(name, value)| (name.to_owned(), value)).into()
}

/// What an exchange of messages is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeKind {
    /// Clients train, the server folds their networks into one.
    Average,
    /// Clients fine-tune their own copies, the server keeps each generator.
    Collect,
    /// Clients answer with the gradient of the generator's loss at images that the server sends, the server steps its
    /// generator.
    Feedback,
    /// Clients train their discriminators on images that the server sends, and answer with the logits of these.
    Logits,
    /// Clients are given each other's discriminators.
    Swap,
}

impl ExchangeKind {
    /// Whether clients train what they are sent, all of a round's work in one exchange.
    pub(crate) fn trains(self) -> bool {
        matches!(self, Self::Average | Self::Collect)
    }

    /// The kind with this [`name`](Self::name).
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Average, Self::Collect, Self::Feedback, Self::Logits, Self::Swap]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Collect => "collect",
            Self::Feedback => "feedback",
            Self::Logits => "logits",
            Self::Swap => "swap",
        }
    }
}

/// The next thing that a driver has to do: send to `cohort`, in the order of names, and fold the replies.
///
/// Most rounds are one exchange. Where the generator is at the server, each of its steps is one or two.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Round, from 1: one more than the rounds that are done.
    pub round: u32,
    /// What for.
    pub kind: ExchangeKind,
    /// Which of the server's steps in the round, from 0.
    pub iteration: u64,
    /// The server's steps in the round.
    pub iterations: u64,
    /// With whom, sorted by name.
    pub cohort: Vec<ClientName>,
}

impl Exchange {
    /// A round that is one exchange.
    pub fn of_round(round: u32, kind: ExchangeKind, cohort: Vec<ClientName>) -> Self {
        Self { round, kind, iteration: 0, iterations: 1, cohort }
    }

    /// Its message that says `params`.
    pub fn message(&self, params: Params) -> Broadcast {
        let Self { round, kind, iteration, iterations, .. } = *self;
        Broadcast { round, kind, iteration, iterations, params }
    }
}

/// Server to client.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// Round, from 1.
    pub round: u32,
    /// What the client's reply is for.
    pub kind: ExchangeKind,
    /// Which of the server's steps in the round, from 0.
    pub iteration: u64,
    /// The server's steps in the round.
    pub iterations: u64,
    /// `generator.*`, `discriminator.*`, and what else the algorithm sends.
    pub params: Params,
}

/// Client to server.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Both networks for [`ExchangeKind::Average`], `generator.*` alone for [`ExchangeKind::Collect`], else what the
    /// algorithm says.
    pub params: Params,
    /// n_k: the images that the client trained on.
    pub num_examples: u64,
    /// `loss_d`, `loss_g` (means over the steps), `steps`; empty where nothing was trained.
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

/// Usable replies in the order of the clients' names, one at a time: their tensors have the names and shapes that the algorithm
/// [expects](crate::Algorithm::expects), and all values are finite.
pub type Replies<'a> = dyn Iterator<Item = Result<(ClientName, Update)>> + Send + 'a;

/// Names and shapes of the tensors of an update.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Names and shapes of `params`.
pub(crate) fn shapes_of(params: &Params) -> Shapes {
    params.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect()
}
